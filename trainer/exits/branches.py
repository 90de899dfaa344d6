"""`Exits`: a small classifier on the firing rates of each stage of a network but the last.

An exit sees the rates of the last neurons of its stage. For every stage that follows, it has a
residual block of depthwise-separable convolutions, which halves the positions and has as many
channels as that stage:

    h = ReLU(BN(P1 D1 x))        y = ReLU(ReLU(BN(P2 D2 h)) + BN(S x))

D1 and D2 are depthwise convolutions of 3 (D1 with stride 2), P1 and P2 pointwise ones, S a
pointwise one with stride 2. The mean over all positions and a linear layer give its scores.

A stage is all hidden neurons of about the same number of positions: more than two thirds of the
largest one among them. If a network has fewer than two stages, every hidden layer without positions
is another one; an exit there is a linear layer.

Exits exist in training only. Their batch norms always use the statistics of the batch and keep
none.

Source: Zhao et al., NeurIPS 2025, arXiv 2510.06254, and their code for ResNet-18, for which these
exits are theirs. Their exits of PreAct-ResNet-34 differ: they see the sums between blocks instead
of the rates of the neurons that follow, and have an ordinary residual block after each of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from spikeport.errors import TrainingError
from spikeport.network import Shape
from spikeport.trainer.exits.config import ExitConfig
from spikeport.trainer.exits.loss import exit_loss
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.network.layers import Convolution
from spikeport.trainer.network.operations import stateless
from spikeport.trainer.neurons import LIF
from spikeport.trainer.neurons.batch_norm import BatchNorm, normalize_batch


class Exits(nn.Module):
    """The exits of a network.

    Args:
        network: its graph decides where the exits are; its weights are not used.
        options: weights of the loss.
        seed: decides their initial weights, which have torch's default distributions.

    Attributes:
        branches: the exits, by the name of the neurons whose rates they see.

    Raises:
        InputError: the network has no neurons before those of its last stage.
    """

    def __init__(self, network: SpikingNetwork, options: ExitConfig, seed: int = 0) -> None:
        super().__init__()
        stages = _stages(network)
        if len(stages) < 2:
            found = f"those of '{stages[0]}' only" if stages else "none"
            raise TrainingError(
                "training: exits need hidden neurons before those of the last stage, the network "
                f"has {found}"
            )
        shapes = [network.shapes[name] for name in stages]
        self.options = options
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.default_rng((seed, 1)).integers(2**32)))
            self.branches = nn.ModuleDict(
                {
                    name: _Branch(shapes[place:], network.classes)
                    for place, name in enumerate(stages[:-1])
                }
            )

    def forward(self, rates: Mapping[str, Tensor]) -> list[Tensor]:
        """Scores (B, N) of each exit for the rates (B, ...) of the neurons, by name."""
        return [branch(rates[name]) for name, branch in self.branches.items()]

    def loss(
        self, rates: Mapping[str, Tensor], scores: Tensor, labels: Tensor, size: int | None = None
    ) -> Tensor:
        """`exit_loss` for the rates (B, ...) and scores (B, N) of the network."""
        return exit_loss([*self(rates), scores], labels, self.options, size)

    def weight_parameters(self) -> list[Tensor]:
        """Parameters subject to weight decay: the weights of convolutions and linear layers."""
        layers = (nn.Conv1d, nn.Conv2d, nn.Linear)
        return [part.weight for part in self.modules() if isinstance(part, layers)]


def _stages(network: SpikingNetwork) -> list[str]:
    """The last neurons of each stage, by name."""
    hidden = {
        node.name: network.shapes[node.name]
        for node in network.nodes
        if isinstance(node.op, LIF) and node.name != network.output
    }
    positions = {name: _positions(shape) for name, shape in hidden.items() if len(shape) > 1}
    largest: list[int] = []
    for count in sorted(set(positions.values()), reverse=True):
        if not largest or 3 * count <= 2 * largest[-1]:
            largest.append(count)
    last = {
        next(stage for stage in reversed(largest) if count <= stage): name
        for name, count in positions.items()
    }
    found = [last[count] for count in largest]
    if len(found) < 2:
        found += [name for name in hidden if name not in positions]
    return found


def _positions(shape: Shape) -> int:
    return math.prod(shape[1:])


class _Branch(nn.Module):
    """One exit.

    Args:
        shapes: of its own stage and of those that follow.
    """

    def __init__(self, shapes: Sequence[Shape], classes: int) -> None:
        super().__init__()
        axes = len(shapes[0]) - 1
        channels = [shape[0] for shape in shapes if len(shape) > 1] or [shapes[0][0]]
        self.blocks = nn.Sequential(*(_Block(axes, *pair) for pair in pairwise(channels)))
        self.readout = nn.Linear(channels[-1], classes)

    def forward(self, rate: Tensor) -> Tensor:
        x: Tensor = self.blocks(rate)
        scores: Tensor = self.readout(x.flatten(2).mean(2) if x.ndim > 2 else x)
        return scores


class _Block(nn.Module):
    """A residual block of depthwise-separable convolutions, along one or two axes."""

    def __init__(self, axes: int, given: int, channels: int) -> None:
        super().__init__()
        self.depthwise1 = _convolution(axes, given, given, 3, stride=2, groups=given)
        self.pointwise1 = _convolution(axes, given, given, 1)
        self.norm1 = _norm(axes, given)
        self.depthwise2 = _convolution(axes, given, given, 3, groups=given)
        self.pointwise2 = _convolution(axes, given, channels, 1)
        self.norm2 = _norm(axes, channels)
        self.skip = _convolution(axes, given, channels, 1, stride=2)
        self.skip_norm = _norm(axes, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = _normalized(self.norm1, self.pointwise1(self.depthwise1(x))).relu()
        y = _normalized(self.norm2, self.pointwise2(self.depthwise2(y))).relu()
        return (y + _normalized(self.skip_norm, stateless(self.skip, x))).relu()


def _convolution(
    axes: int, given: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> Convolution:
    kind = nn.Conv1d if axes == 1 else nn.Conv2d
    return kind(given, channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


def _norm(axes: int, channels: int) -> BatchNorm:
    kind = nn.BatchNorm1d if axes == 1 else nn.BatchNorm2d
    return kind(channels, track_running_stats=False)


def _normalized(norm: BatchNorm, x: Tensor) -> Tensor:
    """By the statistics of the batch, of all processes together."""
    return normalize_batch(norm, x[None])[0][0]
