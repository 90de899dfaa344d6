"""`QATNetwork`: quantization-aware training in the integer arithmetic of the chip.

The spiking pass runs a `DeployedNetwork` exactly: integer weights on the grid, 12-bit decays,
integer thresholds and biases, wrapping and saturation. It needs no gradients; the rate pass uses
its recorded rates and gains, and passes gradients straight through the rounding to float master
weights. Scores are those of the chip, in float units.

Source: equations in `chip.neurons` and `chip.grid`; the rule is that of Yu et al., NeurIPS 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeport.errors import InputError, TrainingError
from spikeport.network import (
    LOIHI,
    Coding,
    DeployedNetwork,
    Input,
    Population,
    ReadoutKind,
    WeightedConnection,
    require_lif_populations,
    require_loihi,
)
from spikeport.runs import same_range
from spikeport.trainer.chip.connections import torch_kind
from spikeport.trainer.chip.grid import Grid, Integers, bias_integers
from spikeport.trainer.chip.limits import TargetLimits, fit_sums
from spikeport.trainer.chip.neurons import ChipSteps, run_population
from spikeport.trainer.chip.sums import received, weighted_sum
from spikeport.trainer.network import PassRecord, SpikingNetwork, check_input, time_major
from spikeport.trainer.network.operations import with_value
from spikeport.trainer.neurons import rate_rule
from spikeport.trainer.rules import GradientRule

Reals = Mapping[str, NDArray[np.floating[Any]]]


class QATNetwork(nn.Module):
    """A deployed network whose weights and biases are trained, as an ordinary module.

    Like a `SpikingNetwork` it maps samples to scores (B, N) in float units; in training as in
    evaluation these are the scores of the chip. Layers have the names of the populations.

    Attributes:
        quantization_warnings: warnings of the quantization in `prepare_qat`, if made by it.
        limits: what it keeps to in training.

    Args:
        deployed: the starting point. Scales, thresholds, decays and the signs of matrices are kept.
        weights, biases: real-valued masters by connection and population, of which `deployed` is
            the rounding; by default its own values.
        frozen: connections whose weights are not trained.
        mean_scores: whether the score of a membrane without leak is its mean over time.
        limits: of a target; `deployed` must keep to them already.

    Raises:
        InputError: the network cannot be trained; the message lists all reasons.
    """

    rule = GradientRule.RATE_M
    quantization_warnings: tuple[str, ...] = ()

    def __init__(
        self,
        deployed: DeployedNetwork,
        weights: Reals | None = None,
        biases: Reals | None = None,
        *,
        frozen: Collection[str] = (),
        mean_scores: bool = True,
        limits: TargetLimits | None = None,
    ) -> None:
        super().__init__()
        require_loihi(deployed, "training")
        if complaints := list(_complaints(deployed)):
            raise TrainingError(
                "network: cannot be trained on the chip's arithmetic:",
                *(f"- {reason}" for reason in complaints),
            )
        self.template = deployed
        self.populations = {
            part.name: part for part in require_lif_populations(deployed.populations)
        }
        self.frozen, self.mean_scores, self.limits = frozenset(frozen), mean_scores, limits
        scales = {part.name: part.scale for part in deployed.inputs}
        self.grids = {
            part.name: Grid.of(part, scales.get(part.source, 1.0), self.populations[part.target])
            for part in deployed.weighted_connections
        }
        given = weights or {}
        self.weights = nn.ParameterDict(
            {
                part.name: nn.Parameter(
                    _tensor(given.get(part.name, part.weight * self.grids[part.name].unit)),
                    requires_grad=part.name not in self.frozen,
                )
                for part in deployed.weighted_connections
            }
        )
        self.biases = nn.ParameterDict(
            {
                part.name: nn.Parameter(_shared(deployed, part, (biases or {}).get(part.name)))
                for part in self.populations.values()
            }
        )

    @property
    def input(self) -> Input:
        """The one input."""
        return self.template.inputs[0]

    @property
    def steps(self) -> int:
        """T."""
        return self.template.steps

    @property
    def output(self) -> str:
        """Name of the population whose scores are those of the network."""
        return self.template.readouts[0].population

    @property
    def classes(self) -> int:
        """N, the number of outputs with scores."""
        return self.template.by_name[self.output].size

    @property
    def reads_membrane(self) -> bool:
        """Whether scores are the membrane of the readout rather than its spikes."""
        return self.template.readouts[0].kind is ReadoutKind.MEMBRANE

    @property
    def counts_per_step(self) -> bool:
        """Whether a membrane readout is a mean over time."""
        return self.mean_scores and self.populations[self.output].decay_v == 0

    def incoming(self, population: str) -> tuple[WeightedConnection, ...]:
        """Connections into a population."""
        return self.template.weighted_into(population)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Populations, in the order of computation."""
        return self.template.order

    def parameters_of(self, layer: str) -> list[Tensor]:
        """Bias of a population, and the weights of its incoming connections."""
        return [self.biases[layer], *(self.weights[c.name] for c in self.incoming(layer))]

    def weight_parameters(self) -> list[Tensor]:
        """Parameters subject to weight decay."""
        return list(self.weights.values())

    @property
    def gradient_scale(self) -> float:
        """Factor by which to multiply a loss before `backward()`."""
        return self.rule.gradient_scale(self.steps)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, N) of x (B, *shape) or (T, B, *shape); differentiable in training mode.

        Raises:
            InputError: x has another shape, or values that the declared input does not accept.
        """
        check_input(self.input, self.steps, x)
        return self.training_pass(x)[0] if self.training else self.inference(x)

    def training_pass(self, x: Tensor) -> tuple[Tensor, PassRecord]:
        """Scores (B, N), differentiable, and the record of the pass."""
        whole = self.integers()
        messages = self.messages(x)
        record = spiking_pass(self, whole, messages)
        scores, rates = rate_scores(self, whole, messages, record)
        return with_value(scores, record.scores), replace(record, rates=rates)

    def inference(self, x: Tensor) -> Tensor:
        """Scores (B, N) of the chip, without gradients."""
        return spiking_pass(self, self.integers(), self.messages(x)).scores

    def integers(self) -> Integers:
        """The masters rounded to integers.

        Raises:
            InputError: a weight is NaN.
        """
        weights, reach = {}, {}
        for name, grid in self.grids.items():
            try:
                weights[name], reach[name] = grid.integers(self.weights[name])
            except InputError as error:
                raise TrainingError(f"connection '{name}': {error}") from None
        limits = self.limits
        if limits is not None and limits.sum_max is not None:
            for name in self.populations:
                parts = self.incoming(name)
                masters = {part.name: self.weights[part.name] for part in parts}
                most = limits.sum_max
                reach |= fit_sums(self.template, parts, self.grids, masters, weights, most)
        least = LOIHI.bias_mantissa_min if limits is None else limits.bias_min
        biases = {
            part.name: bias_integers(self.biases[part.name], part.scale, least)
            for part in self.populations.values()
        }
        return Integers(self.grids, weights, reach, biases)

    def messages(self, x: Tensor) -> Tensor:
        """The integers sent to the chip for x, (1 or T, B, *shape), in floating point.

        Raises:
            InputError: x has another shape.
        """
        x = time_major(self.input, self.steps, x)
        # in float64 like `encode_samples`, so that ties are rounded to the same side
        whole = (x.double() * self.input.scale).round_().clamp_(self.input.low, self.input.high)
        return whole.float()

    @torch.no_grad()
    def deployed(self) -> DeployedNetwork:
        """The network to be run on a chip: equal, spike for spike, to this one."""
        whole = self.integers()
        populations = []
        for part in self.populations.values():
            mantissa, exponent = whole.biases[part.name]
            bias = mantissa.expand(part.shape).cpu().numpy().astype(np.int32)
            populations.append(replace(part, bias=bias, bias_exponent=exponent))
        connections = [
            replace(part, weight=whole.weights[part.name].cpu().contiguous().numpy())
            for part in self.template.weighted_connections
        ]
        return self.template.replace(populations=tuple(populations), connections=tuple(connections))


StepObserver = Callable[[str, ChipSteps], None]
"""Called with the name and the results of each population, in the order of computation."""


@torch.no_grad()
def spiking_pass(
    network: QATNetwork,
    whole: Integers,
    messages: Tensor,
    watch: StepObserver = lambda name, ran: None,
) -> PassRecord:
    """Run the network exactly as on the chip, on messages (1 or T, B, *shape).

    Raises:
        InputError: a weighted sum could leave the range in which it is exact.
    """
    template, sent = network.template, {network.input.name: messages}
    rates, gains, updates = {}, {}, {}
    scores: Tensor | None = None
    with torch.autocast(messages.device.type, enabled=False):
        for name in template.order:
            part = network.populations[name]
            current = received(template, part, whole, sent)
            mantissa, exponent = whole.biases[name]
            bias = (mantissa * 2**exponent).expand(part.shape)
            ran = run_population(part, bias, current, template.steps)
            updates[name] = ran.updates
            watch(name, ran)
            if name == network.output and network.reads_membrane:
                scores = (ran.last.double() * _score_unit(network, part)).flatten(1).float()
                continue
            sent[name], rates[name], gains[name] = ran.spikes, ran.rate, ran.gain
    scores = rates[network.output].flatten(1) if scores is None else scores
    return PassRecord(scores, rates, gains, {}, {}, {}, updates)


def rate_scores(
    network: QATNetwork, whole: Integers, messages: Tensor, record: PassRecord
) -> tuple[Tensor, dict[str, Tensor]]:
    """Scores (B, N) and rates (B, *shape) of one pass on mean messages, differentiable.

    c = W r + b with the dequantized integers, and neurons by the rate rule. The scores equal those
    of the chip except for floating-point rounding, unless a readout is leaky or saturates.
    """
    template = network.template
    sent = {network.input.name: messages.mean(0) / network.input.scale}
    rates: dict[str, Tensor] = {}
    for name in template.order:
        part = network.populations[name]
        mantissa, exponent = whole.biases[name]
        value = mantissa * (2**exponent / (part.scale * LOIHI.weight_unit))
        total = with_value(network.biases[name], value)
        for connection in network.incoming(name):
            value = whole.weights[connection.name] * network.grids[connection.name].unit
            weight = with_value(network.weights[connection.name], value)
            total = total + weighted_sum(connection, weight, sent[connection.source]).view(
                -1, *part.shape
            )
        if name == network.output and network.reads_membrane:
            kept = 1 - part.decay_v / LOIHI.decay_unity
            steps = 1 if network.counts_per_step else sum(kept**k for k in range(template.steps))
            return (total * steps).flatten(1), rates
        sent[name] = rates[name] = rate_rule(total, record.rates[name], record.gains[name])
    return rates[network.output].flatten(1), rates


def _score_unit(network: QATNetwork, part: Population) -> float:
    """Float units of the score per unit of the readout's v."""
    steps = network.steps if network.counts_per_step else 1
    return 1 / (part.scale * LOIHI.weight_unit * steps)


AnyNetwork: TypeAlias = SpikingNetwork | QATNetwork
"""Networks that the training loop accepts."""


def takes(network: AnyNetwork, input: Input) -> bool:
    """Whether the network accepts samples of `input`; a chip may round them further."""
    own = network.input
    if isinstance(network, SpikingNetwork):
        return own == input
    coding = Coding.GRADED if own.coding is Coding.BINARY else own.coding
    alike = (own.name, own.shape, coding) == (input.name, input.shape, input.coding)
    return alike and same_range(own, input)


def _complaints(network: DeployedNetwork) -> Iterator[str]:
    if len(network.inputs) != 1 or len(network.readouts) != 1:
        yield (
            f"network: {len(network.inputs)} inputs and {len(network.readouts)} readouts, "
            "must be one of each"
        )
    for injection in network.injections:
        yield (f"connection '{injection.name}': an input of coding 'bias' has no weights to train")
    for part in network.weighted_connections:
        subject = f"connection '{part.name}'"
        if not torch_kind(part).trained:
            yield f"{subject}: is {type(part).__name__}, whose weights cannot be trained"
        if part.delay:
            yield f"{subject}: delay is {part.delay}, must be 0 (no recurrence)"
        if part.exponent < 0:
            yield f"{subject}: exponent is {part.exponent}, must be at least 0"
    for population in network.populations:
        subject = f"population '{population.name}'"
        if not isinstance(population, Population):
            yield f"{subject}: neurons are {population.MODEL}, must be LIF"
            continue
        if population.decay_u != LOIHI.decay_unity:
            need = LOIHI.decay_unity
            yield f"{subject}: decay_u is {population.decay_u}, must be {need} (no CUBA)"
        if population.refractory:
            yield f"{subject}: refractory is {population.refractory}, must be 0"


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)


def _shared(network: DeployedNetwork, part: Population, given: NDArray[Any] | None) -> Tensor:
    """The bias in real units: one per channel after convolutions only, else one per neuron."""
    unit = part.scale * LOIHI.weight_unit
    values = np.asarray(part.bias_current / unit if given is None else given, np.float64)
    incoming = network.weighted_into(part.name)
    per_channel = values.reshape(len(values), -1)[:, :1].reshape(-1, *[1] * (values.ndim - 1))
    kernels = bool(incoming) and all(connection.spatial for connection in incoming)
    if kernels and np.array_equal(np.broadcast_to(per_channel, values.shape), values):
        values = per_channel
    return _tensor(values)
