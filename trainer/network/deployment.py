"""Rewrite a network as neurons and weighted connections only, as a chip needs it.

Sums and dropouts are removed, unweighted neuron-to-neuron edges become one-to-one connections, and
a max-pool of spikes becomes neurons that fire if any neuron in their window does.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from spikeport.errors import InputError
from spikeport.network import Reset, normalized_map
from spikeport.trainer.network.graph import Node
from spikeport.trainer.network.layers import CONVOLUTIONS, Map, Norm, pair
from spikeport.trainer.network.network import SpikingNetwork
from spikeport.trainer.neurons import LI, LIF

MAX_GROUPS = 64
"""Lava allows at most 127 groups; with more channels, one-to-one kernels are diagonal per group."""


def deployable(network: SpikingNetwork) -> SpikingNetwork:
    """An equivalent network in which every connection has weights; layers are shared, not copied.

    Raises:
        InputError: lists every layer that cannot be expressed as neurons and weighted connections.
    """
    complaints = list(_complaints(network))
    if complaints:
        raise InputError(
            f"network: cannot be deployed, {len(complaints)} rule(s) broken:",
            *(f"- {reason}" for reason in complaints),
        )
    neurons = [node.op for node in network.nodes if isinstance(node.op, LIF)]
    reset = neurons[0].reset if neurons else Reset.ZERO
    strict = neurons[0].strict if neurons else True
    stands_for: dict[str, tuple[str, ...]] = {network.input.name: (network.input.name,)}
    nodes: list[Node] = []
    for node in network.nodes:
        inputs = tuple(end for name in node.inputs for end in stands_for[name])
        stands_for[node.name] = (node.name,)
        match node.op:
            case nn.Identity() | nn.Dropout() | nn.Dropout2d():
                stands_for[node.name] = inputs
            case nn.MaxPool2d():
                any_of = Node(f"{node.name}_any", inputs, _ones(network, node))
                # Half a spike is between none and one for either comparison.
                fires = LIF(0.0, 0.5, reset, strict=strict)
                nodes += [any_of, Node(node.name, (any_of.name,), fires)]
            case LIF() | LI():
                nodes += [*_connected(network, node, inputs)]
            case _:
                nodes.append(Node(node.name, inputs, node.op))
    same = SpikingNetwork(network.input, nodes, network.steps, network.rule)
    return same.train(network.training)


def one_to_one(source: str, target: str) -> str:
    """Name of the one-to-one connection between two layers of neurons."""
    return f"{source}_to_{target}"


def _complaints(network: SpikingNetwork) -> Iterator[str]:
    ops = {node.name: node.op for node in network.nodes}
    maps = {name for name, op in ops.items() if isinstance(op, Map)}
    if not isinstance(network.nodes[-1].op, Map | Norm | LIF | LI):
        yield (
            f"layer '{network.output}': scores must be read from neurons or a weighted sum, "
            f"not from {type(network.nodes[-1].op).__name__}"
        )
    for node in network.nodes:
        subject = f"layer '{node.name}'"
        if len(set(node.inputs)) < len(node.inputs):
            yield (
                f"{subject}: receives {_listed(node.inputs)}, the same input twice; double the "
                "weights"
            )
        if isinstance(node.op, nn.MaxPool2d):
            if len(node.inputs) != 1 or not isinstance(ops.get(node.inputs[0]), LIF):
                yield (
                    f"{subject}: takes the maximum of {_listed(node.inputs)}, but only a max-pool "
                    "directly after one LIF layer can be built from neurons (which fire if any "
                    "neuron in their window does)"
                )
        elif isinstance(node.op, Norm):
            if normalized_map(node.inputs, maps) is None:
                yield f"{subject}: a batch norm must follow one convolution or linear layer"
        elif _carries(node) and (analog := _analog(network, node)):
            yield (
                f"{subject}: receives analog values from {_listed(analog)}, but connections carry "
                "spikes only; put neurons in between"
            )


def _carries(node: Node) -> bool:
    return isinstance(node.op, Map | nn.AvgPool2d)


def _analog(network: SpikingNetwork, node: Node) -> tuple[str, ...]:
    """Layers whose weighted sums or means reach `node` without neurons in between."""
    nodes = {n.name: n for n in network.nodes}
    found: list[str] = []
    waiting = list(reversed(node.inputs))
    while waiting:
        name = waiting.pop()
        before = nodes.get(name)
        if before is None or isinstance(before.op, LIF | nn.MaxPool2d):
            continue
        if isinstance(before.op, Map | Norm):
            found.append(name)
        elif not isinstance(before.op, nn.AvgPool2d):
            waiting += reversed(before.inputs)
        elif isinstance(node.op, nn.AvgPool2d):
            found.append(name)  # one sum-pool can be merged into a connection, not two
    return tuple(dict.fromkeys(found))


def _connected(network: SpikingNetwork, node: Node, inputs: tuple[str, ...]) -> Iterator[Node]:
    """Neurons, preceded by a one-to-one connection for each input that is not a weighted sum."""
    ops = {n.name: n.op for n in network.nodes}
    sources = []
    for name in inputs:
        if isinstance(ops.get(name), Map | Norm):
            sources.append(name)
            continue
        joined = Node(one_to_one(name, node.name), (name,), _identity(network, name))
        sources.append(joined.name)
        yield joined
    yield Node(node.name, tuple(sources), node.op)


def _identity(network: SpikingNetwork, name: str) -> Map:
    shape = network.shapes[name]
    if len(shape) == 1:
        linear = nn.Linear(shape[0], shape[0], bias=False)
        return _filled(network, linear, torch.eye(shape[0]))
    channels = shape[0]
    groups = _groups(channels)
    conv = CONVOLUTIONS[len(shape) - 1](channels, channels, 1, groups=groups, bias=False)
    return _filled(network, conv, _diagonals(channels, groups).view_as(conv.weight))


def _ones(network: SpikingNetwork, node: Node) -> nn.Conv2d:
    """A convolution that sums each window of each channel."""
    assert isinstance(node.op, nn.MaxPool2d)
    channels = network.shapes[node.name][0]
    size, groups = pair(node.op.kernel_size), _groups(channels)
    conv = nn.Conv2d(
        channels,
        channels,
        size,
        stride=node.op.stride,
        padding=node.op.padding,
        dilation=node.op.dilation,
        groups=groups,
        bias=False,
    )
    weight = _diagonals(channels, groups)[:, :, None, None].expand(-1, -1, *size)
    _filled(network, conv, weight)
    return conv


def _groups(channels: int) -> int:
    return max(n for n in range(1, min(channels, MAX_GROUPS) + 1) if channels % n == 0)


def _diagonals(channels: int, groups: int) -> torch.Tensor:
    return torch.eye(channels // groups).repeat(groups, 1)


def _filled(network: SpikingNetwork, op: Map, weight: torch.Tensor) -> Map:
    like = next(network.parameters(), torch.zeros(()))
    op.weight = nn.Parameter(weight.to(like, copy=True), requires_grad=False)
    return op


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)
