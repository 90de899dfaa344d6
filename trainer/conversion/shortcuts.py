"""Residual blocks whose shortcuts carry spikes, so that every neuron receives a bounded current.

In a block with an analog shortcut, the sum of one block passes to the next without neurons in
between: the per-step variance of the current then adds up over depth, and with it the deviation
error (see `simulators.if_errors`). Both remedies change the function, so batch norms have to be
estimated anew and the network trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from torch import nn

from spikeport.trainer.conversion.graph import ann
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.network.layers import Dropout, Norm
from spikeport.trainer.neurons import Activation


class Shortcuts(StrEnum):
    """What the shortcuts of residual blocks carry.

    ANALOG: sums, as the network was built.
    ACTIVATED: the spikes of the activation that follows the sum; the next block then adds these
        instead of the sum. No neurons are added.
    FIRED: the spikes of neurons added after the sum, for all that receive it.
    """

    ANALOG = "analog"
    ACTIVATED = "activated"
    FIRED = "fired"


def analog_sums(network: SpikingNetwork) -> tuple[str, ...]:
    """Sums that reach another sum without an activation in between, in order."""
    graph = _Graph(network)
    return tuple(node.name for node in network.nodes if graph.is_analog(node))


def restructure(network: SpikingNetwork, shortcuts: Shortcuts) -> SpikingNetwork:
    """An ANN with other shortcuts; layers are shared with `network`.

    The same network if it has no analog shortcuts. With ACTIVATED, a sum that no activation follows
    is treated as with FIRED.
    """
    graph = _Graph(network)
    sums = [node for node in network.nodes if graph.is_analog(node)]
    if shortcuts is Shortcuts.ANALOG or not sums:
        return network
    nodes = list(network.nodes)
    for node in sums:
        follower = graph.activation_of(node) if shortcuts is Shortcuts.ACTIVATED else None
        if follower is not None:
            taken = graph.before(follower)
            nodes = [
                each if each.name in taken else _rewired(each, node.name, follower)
                for each in nodes
            ]
            continue
        name = f"{node.name}_fired"
        while name in network.shapes:
            name += "_"
        nodes = [_rewired(each, node.name, name) for each in nodes]
        place = next(i for i, each in enumerate(nodes) if each.name == node.name)
        nodes.insert(place + 1, Node(name, (node.name,), nn.ReLU()))
    return ann(network, _in_order(network.input.name, nodes))


def _rewired(node: Node, old: str, new: str) -> Node:
    return replace(node, inputs=tuple(new if name == old else name for name in node.inputs))


def _in_order(input: str, nodes: list[Node]) -> list[Node]:
    """The nodes in an order in which each comes after its inputs."""
    waiting, done, ordered = list(nodes), {input}, []
    while waiting:
        ready = next(node for node in waiting if done.issuperset(node.inputs))
        waiting.remove(ready)
        done.add(ready.name)
        ordered.append(ready)
    return ordered


class _Graph:
    """Who receives the output of which layer."""

    def __init__(self, network: SpikingNetwork) -> None:
        self.nodes: Mapping[str, Node] = {node.name: node for node in network.nodes}
        self.readers: dict[str, list[Node]] = {name: [] for name in network.shapes}
        for node in network.nodes:
            for name in node.inputs:
                self.readers[name].append(node)

    def is_analog(self, node: Node) -> bool:
        """Whether a sum reaches another sum without a weighted layer or activation in between."""
        return len(node.inputs) > 1 and not isinstance(node.op, Activation) and self._sums(node)

    def _sums(self, node: Node) -> bool:
        return any(
            len(reader.inputs) > 1 or (isinstance(reader.op, _LINEAR) and self._sums(reader))
            for reader in self.readers[node.name]
        )

    def activation_of(self, node: Node) -> str | None:
        """The first activation that receives this value alone, maybe through batch norm."""
        for reader in self.readers[node.name]:
            if len(reader.inputs) == 1:
                if isinstance(reader.op, Activation):
                    return reader.name
                if isinstance(reader.op, _LINEAR) and (found := self.activation_of(reader)):
                    return found
        return None

    def before(self, name: str) -> set[str]:
        """A layer and all between a sum and it: single inputs only."""
        found = {name}
        while len(self.nodes[name].inputs) == 1 and (name := self.nodes[name].inputs[0]):
            if name not in self.nodes or name in found:
                break
            found.add(name)
        return found


_LINEAR = Norm | nn.Identity | Dropout
"""Layers that pass a sum on without mixing it."""
