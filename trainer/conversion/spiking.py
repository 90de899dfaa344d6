"""From an ANN with thresholds to a network of integrate-and-fire neurons.

An activation with threshold theta becomes neurons

    u_t = v_{t-1} + x_t      s_t = 1[u_t >= theta]      v_t = u_t - theta s_t      v_0 = c theta

whose output stands for theta s_t. Spikes are 0 and 1, so the weights that receive them are
multiplied by theta; an edge without weights becomes a one-to-one connection of weight theta.

With x the mean of x_t, N spikes are sent with theta N / T = x + (v_0 - v_T) / T exactly; for a
constant x, N = clip(floor((T x + v_0) / theta), 0, T).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

from spikeport.errors import ConversionError
from spikeport.network import Reset, Shape
from spikeport.trainer.conversion.graph import folded
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.network.layers import Channels, Dropout, Map, Norm
from spikeport.trainer.neurons import LIF, Activation
from spikeport.trainer.rules import GradientRule

_STEEPNESS = 4.0
"""Of the surrogate at a threshold of 1, as that of other neurons."""
_PASSING = nn.AvgPool1d | nn.AvgPool2d | nn.Flatten | Channels | Dropout
"""Layers whose output is proportional to their input."""


def if_neurons(v_threshold: float, v_init: float) -> LIF:
    """Integrate-and-fire neurons that subtract theta and fire at u >= theta.

    In training further, gradients go through the reset, and their surrogate is as wide as theta:
    the gain of a rate is then about 1 / theta, the slope of the activation. Without the reset, the
    response of u to a constant input would grow with every step, and gradients with every layer.
    """
    return LIF(
        1.0,
        v_threshold,
        Reset.SUBTRACT,
        detach_reset=False,
        alpha=_STEEPNESS / v_threshold,
        strict=False,
        v_init=v_init,
    )


@torch.no_grad()
def to_spiking(
    network: SpikingNetwork,
    thresholds: Mapping[str, float],
    steps: int,
    *,
    initial: float = 0.5,
) -> SpikingNetwork:
    """The spiking network of an ANN, in evaluation mode; its input and readout stay as they are.

    Args:
        network: an ANN; its batch norms are folded where a map precedes them.
        thresholds: theta of each activation.
        steps: T.
        initial: c, the initial potential as a share of theta.

    Raises:
        InputError: a layer is called several times, with spikes of different sizes.
    """
    build = _Build(folded(network), thresholds, initial)
    for node in build.network.nodes:
        build.add(node)
    made = SpikingNetwork(network.input, build.nodes, steps, GradientRule.RATE_M)
    return made.eval()


class _Build:
    """Adds the layers one by one; `size` is what a spike of each value stands for."""

    def __init__(
        self, network: SpikingNetwork, thresholds: Mapping[str, float], initial: float
    ) -> None:
        self.network = network
        self.like = next(network.parameters()).detach()
        self.thresholds = thresholds
        self.initial = initial
        self.nodes: list[Node] = []
        self.size: dict[str, float] = {network.input.name: 1.0}
        self.scaled: dict[str, str] = {}
        self.changed: dict[int, tuple[float, nn.Module]] = {}

    def add(self, node: Node) -> None:
        """Add the counterpart of one layer of the ANN."""
        name, op = node.name, node.op
        sizes = {self.size[source] for source in node.inputs}
        common = sizes.pop() if len(sizes) == 1 else None
        self.size[name] = 1.0
        if isinstance(op, Activation):
            theta = self.thresholds[name]
            self._place(node, self._full_size(node), if_neurons(theta, self.initial * theta))
            self.size[name] = theta
        elif isinstance(op, _PASSING) and common is not None:
            self._place(node, node.inputs, op)
            self.size[name] = common
        elif isinstance(op, Map | Norm) and common is not None:
            self._place(node, node.inputs, self._for_spikes(node, op, common))
        else:
            self._place(node, self._full_size(node), op)

    def _place(self, node: Node, inputs: tuple[str, ...], op: nn.Module) -> None:
        self.nodes.append(Node(node.name, inputs, op))  # type: ignore[arg-type]  # layers of an ANN

    def _for_spikes(self, node: Node, op: Map | Norm, size: float) -> nn.Module:
        """The layer for inputs of 0 and 1 in place of 0 and `size`; the same function."""
        if id(op) in self.changed:
            before, made = self.changed[id(op)]
            if before != size:
                raise ConversionError(
                    f"layer '{node.name}': is called several times, after activations of "
                    f"thresholds {before:g} and {size:g}; give each call a layer of its own"
                )
            return made
        made = copy.deepcopy(op)
        if isinstance(made, Map):
            made.weight.mul_(size)
        else:
            assert made.running_mean is not None  # see `unsupported`
            assert made.running_var is not None
            made.running_mean.div_(size)
            made.running_var.div_(size**2)
            made.eps /= size**2
        self.changed[id(op)] = size, made
        return made

    def _full_size(self, node: Node) -> tuple[str, ...]:
        """The inputs of a layer, with a one-to-one connection after those that are spikes."""
        return tuple(
            source if self.size[source] == 1 else self._weighted(source) for source in node.inputs
        )

    def _weighted(self, source: str) -> str:
        if source not in self.scaled:
            name = f"{source}_size"
            while name in self.network.shapes:
                name += "_"
            shape = self.network.shapes[source]
            self.nodes.append(
                Node(name, (source,), _one_to_one(shape, self.size[source]).to(self.like))
            )
            self.scaled[source] = name
        return self.scaled[source]


def _one_to_one(shape: Shape, weight: float) -> nn.Conv2d | nn.Conv1d | nn.Linear:
    """y = weight x, with one trained weight for each channel."""
    op: nn.Conv2d | nn.Conv1d | nn.Linear
    match len(shape):
        case 3:
            op = nn.Conv2d(shape[0], shape[0], 1, groups=shape[0], bias=False)
        case 2:
            op = nn.Conv1d(shape[0], shape[0], 1, groups=shape[0], bias=False)
        case _:
            op = nn.Linear(shape[0], shape[0], bias=False)
            nn.init.eye_(op.weight)
            op.weight.mul_(weight)
            return op
    nn.init.constant_(op.weight, weight)
    return op
