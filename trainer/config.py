"""`TrainConfig`: everything that determines a training run, except its data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

import torch
from torch import nn

from spikeport.checks import choice, integer, one_of
from spikeport.energy import DEFAULT_PROFILE
from spikeport.errors import TrainingError, ValueRangeError
from spikeport.network import LOIHI, Input, Reset
from spikeport.text import quoted
from spikeport.trainer.data import Augment
from spikeport.trainer.exits import ExitConfig
from spikeport.trainer.models import ARCHITECTURES
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.neurons import LIF, QuantizedReLU
from spikeport.trainer.rules import GradientRule


class Precision(StrEnum):
    """Number format of convolutions, linear layers and the layers after them.

    In bfloat16, membranes also have 8 bits of precision; weights, statistics and the loss stay
    float32, as does inference, except for a teacher's outputs.
    """

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Activation(StrEnum):
    """What the layers end in: neurons, or the activations of an ANN that will be converted.

    LIF: leaky integrate-and-fire neurons.
    RELU: max(0, x).
    QUANTIZED_RELU: clipped at a trained threshold and quantized (see `QuantizedReLU`).
    """

    LIF = "lif"
    RELU = "relu"
    QUANTIZED_RELU = "quantized_relu"


class Optimizer(StrEnum):
    """The optimizer: SGD with momentum, or AdamW."""

    SGD = "sgd"
    ADAMW = "adamw"


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Network, neurons and optimizer (cosine learning rate from `lr` to 0, set per epoch).

    The defaults are the demo's recipe for scikit-learn's digits.

    Attributes:
        architecture: a name in `spikeport.trainer.models.ARCHITECTURES`; or FILE.py:CLASS, a torch
            module of your own, which only `run_recipe` and the command line execute; or a
            checkpoint (.safetensors), whose network is trained further. `train` takes the last two
            from `network`, and loading a checkpoint executes nothing.
        widths: channels per convolution (conv), hidden sizes (mlp), or for all other networks the
            channels of the first convolution, which determine the others.
        steps: T.
        activation: neurons, or the activations of an ANN, which has one step and is trained by
            backpropagation (rule `bptt_m`).
        levels: L of `QuantizedReLU`.
        decay, v_threshold, reset, detach_reset, strict: see `LIF`; the paper fires on
            v >= v_threshold, i.e. `strict = false`.
        rule: the gradient (see `GradientRule`).
        momentum: of SGD.
        weight_decay: on the weights of convolutions and linear layers only.
        weight_bits: 2 to 8: train in chip arithmetic with this number of bits per weight (see
            `QATNetwork`); needs a trained network to start from. None: train in floats.
        augment: random changes of training samples.
        validation: share of the training samples of each class that is held out to select the
            best epoch; test samples are never used for selection.
        seed: determines initial weights, sample order, augmentation and held-out samples; the same
            seed and number of threads give the same weights, bit for bit.
        threads: number of torch threads. Small networks gain nothing from more, and lose much on a
            busy machine.
        device: where torch computes: cpu, cuda.
        channels_last: keep images with the channels innermost.
        energy_penalty: weight of energy in the loss, as a share of what the network would spend
            if every neuron fired at every step; 0.1 is little, 10 is much.
        energy_budget_uj: dynamic energy per sample, µJ, that the network must not exceed; None
            for no budget.
        energy_profile: source of the energy prices: name of a built-in profile, or path of a file.
        distillation: share of the loss, 0 to 1, in which the outputs of a teacher replace the
            labels in the cross-entropy (see `distillation`).
        exits: train with small classifiers on the rates of hidden neurons (see `Exits`), whose
            weights these are; None for none. The trained network has no exits.
        compile: let torch compile the passes; takes a minute or more, and needs a C++ compiler.

    Raises:
        InputError: a value is out of its range.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    architecture: str = "conv"
    widths: tuple[int, ...] = (24, 48)
    steps: int = 8
    activation: Activation = Activation.LIF
    levels: int = 8
    decay: float = 0.5
    v_threshold: float = 1.0
    reset: Reset = Reset.ZERO
    detach_reset: bool = True
    strict: bool = True
    rule: GradientRule = GradientRule.RATE_M
    epochs: int = 30
    batch_size: int = 64
    lr: float = 0.3
    optimizer: Optimizer = Optimizer.SGD
    momentum: float = 0.9
    weight_decay: float = 2e-3
    seed: int = 0
    threads: int = 1
    augment: Augment = field(default_factory=Augment)
    validation: float = 0.0
    device: str = "cpu"
    precision: Precision = Precision.FLOAT32
    channels_last: bool = False
    energy_penalty: float = 0.0
    energy_budget_uj: float | None = None
    energy_profile: str = DEFAULT_PROFILE
    distillation: float = 0.0
    compile: bool = False
    weight_bits: int | None = None
    exits: ExitConfig | None = None

    def __post_init__(self) -> None:
        if not self.own_network:
            one_of("training: architecture", ARCHITECTURES, self.architecture)
        kinds: dict[str, type[StrEnum]] = {
            "activation": Activation,
            "reset": Reset,
            "rule": GradientRule,
            "optimizer": Optimizer,
            "precision": Precision,
        }
        for name, kind in kinds.items():
            object.__setattr__(self, name, choice(f"training: {name}", kind, getattr(self, name)))
        object.__setattr__(self, "widths", tuple(self.widths))
        if isinstance(self.augment, Mapping):
            object.__setattr__(self, "augment", Augment(**self.augment))
        if isinstance(self.exits, Mapping):
            object.__setattr__(self, "exits", ExitConfig(**self.exits))
        if not self.widths:
            raise TrainingError("training: widths is empty, needs at least one layer")
        built_in = ARCHITECTURES.get(self.architecture)
        if built_in is not None and not built_in.layered and len(self.widths) != 1:
            raise TrainingError(
                f"training: widths is {list(self.widths)}, {self.architecture} takes one number, "
                "the channels of its first convolution"
            )
        for width in self.widths:
            integer("training: width of a layer", width, 1, 2**20)
        integer("training: steps (T)", self.steps, 1, 2**16)
        integer("training: levels", self.levels, 1, 2**16)
        self._check_ann()
        integer("training: epochs", self.epochs, 1, 2**20)
        integer("training: batch_size", self.batch_size, 1, 2**20)
        integer("training: seed", self.seed, 0, 2**32 - 1)
        integer("training: threads", self.threads, 1, 2**10)
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueRangeError(f"training: lr is {self.lr}, must be positive and finite")
        if not 0 <= self.momentum < 1:
            raise ValueRangeError(
                f"training: momentum is {self.momentum}, must lie in 0..1, below 1"
            )
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueRangeError(
                f"training: weight_decay is {self.weight_decay}, must be at least 0"
            )
        if not (math.isfinite(self.energy_penalty) and self.energy_penalty >= 0):
            raise ValueRangeError(
                f"training: energy_penalty is {self.energy_penalty}, must be at least 0"
            )
        budget = self.energy_budget_uj
        if budget is not None and not (math.isfinite(budget) and budget > 0):
            raise ValueRangeError(
                f"training: energy_budget_uj is {budget}, must be positive and finite"
            )
        if not (math.isfinite(self.validation) and 0 <= self.validation < 1):
            raise ValueRangeError(
                f"training: validation is {self.validation}, must lie in 0..1, below 1"
            )
        if not 0 <= self.distillation <= 1:
            raise ValueRangeError(
                f"training: distillation is {self.distillation}, must lie in 0..1"
            )
        if self.weight_bits is not None:
            integer("training: weight_bits", self.weight_bits, 2, LOIHI.weight_bits)
            if self.rule is not GradientRule.RATE_M:
                raise TrainingError(
                    f"training: rule is '{self.rule}', with weight_bits it must be 'rate_m'"
                )
            if self.compile:
                raise TrainingError("training: compile is true, with weight_bits it must be false")
            if self.exits is not None:
                raise TrainingError("training: exits are set, with weight_bits they must not be")
        self.lif()

    @property
    def own_network(self) -> bool:
        """Whether the architecture is a file: FILE.py:CLASS or a checkpoint."""
        return own_network(self.architecture)

    @property
    def is_ann(self) -> bool:
        """Whether the network is an ANN, with activations instead of neurons."""
        return self.activation is not Activation.LIF

    def _check_ann(self) -> None:
        """An ANN has one step, and no arithmetic of a chip."""
        if not self.is_ann:
            return
        ann = f"training: activation is '{self.activation}', an ANN"
        if self.steps != 1:
            raise TrainingError(f"{ann}: steps is {self.steps}, must be 1")
        if self.rule is not GradientRule.BPTT_M:
            raise TrainingError(f"{ann}: rule is '{self.rule}', must be 'bptt_m'")
        if self.weight_bits is not None:
            raise TrainingError(f"{ann}: it has no weight_bits; convert it first")
        if self.energy_penalty or self.energy_budget_uj is not None:
            raise TrainingError(f"{ann}: it sends no spikes, so it has no energy to limit")
        if self.exits is not None:
            raise TrainingError(f"{ann}: it has no firing rates for exits")

    def neurons(self) -> LIF | nn.Module:
        """The neurons or the activation of every layer."""
        match self.activation:
            case Activation.RELU:
                return nn.ReLU()
            case Activation.QUANTIZED_RELU:
                return QuantizedReLU(self.levels)
        return self.lif()

    def lif(self) -> LIF:
        """The neurons of every layer."""
        options = self.reset, self.detach_reset
        return LIF(self.decay, self.v_threshold, *options, strict=self.strict)

    def learning_rate(self, epoch: int) -> float:
        """Learning rate of an epoch counted from 0: lr (1 + cos(pi epoch / epochs)) / 2."""
        return self.lr * (1 + math.cos(math.pi * epoch / self.epochs)) / 2


def own_module(architecture: object) -> bool:
    """Whether an architecture is FILE.py:CLASS, a module of the user's own."""
    file, _, name = str(architecture).rpartition(":")
    return file.endswith(".py") and name.isidentifier()


def trained_network(architecture: object) -> bool:
    """Whether an architecture is the network of a checkpoint."""
    return str(architecture).endswith(".safetensors")


def own_network(architecture: object) -> bool:
    """Whether an architecture is a file of the user's own."""
    return own_module(architecture) or trained_network(architecture)


def build_network(config: TrainConfig, input: Input, classes: int) -> SpikingNetwork:
    """Build the untrained network of `config`; initial weights depend only on its seed.

    Raises:
        InputError: the architecture is a file of the user's own, or does not fit the input.
    """
    if config.own_network:
        raise TrainingError(
            f"training: architecture is {quoted(config.architecture)}, a file of your own: give "
            "`train` its network, or use `spikeport train` or `run_recipe`"
        )
    neurons = config.neurons()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        chosen = ARCHITECTURES[config.architecture]
        if chosen.layered:
            network = chosen.build(input, classes, config.widths, config.steps, neurons)
        else:
            network = chosen.build(input, classes, config.steps, neurons, width=config.widths[0])
    network.rule = config.rule
    return network
