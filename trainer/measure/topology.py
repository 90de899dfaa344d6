"""Topology of the deployed form of a network in training, for counting and pricing its events."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeport.energy import ConnectionInfo, SynapseKind, Topology
from spikeport.network import Shape
from spikeport.trainer.measure.events import FanOut, fan_out
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.network.layers import Map, Norm
from spikeport.trainer.network.operations import convolved
from spikeport.trainer.neurons import LIF


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A path from neurons or an input through pools to a convolution or linear layer."""

    source: str
    connection: Node
    pools: tuple[nn.AvgPool2d, ...]

    def reached(self, source: Shape) -> FanOut:
        """Synapses per neuron of the source, which has shape `source`, for the current weights."""
        op = self.connection.op
        assert isinstance(op, Map)  # routes() ends at no other
        groups = 1 if isinstance(op, nn.Linear) else op.groups
        weight = op.weight.detach()

        def unit_map(synapses: Tensor, x: Tensor) -> Tensor:
            for pool in self.pools:
                x = functional.avg_pool2d(
                    x, pool.kernel_size, pool.stride, pool.padding, divisor_override=1
                )
            if isinstance(op, nn.Linear):
                return functional.linear(x.flatten(1), synapses)
            return convolved(op, x, synapses)

        def per_group(present: Tensor) -> Tensor:
            """Sum the outputs of each group, because only sums over all outputs matter."""
            outputs = present.view(groups, -1, *present.shape[1:])
            return outputs.sum(1, dtype=torch.float64)

        weight = weight.contiguous()
        present = weight != 0, torch.ones_like(weight, dtype=torch.bool)
        maps = (partial(unit_map, per_group(mask)) for mask in present)
        return FanOut(*(fan_out(synapses, source, weight.device) for synapses in maps))


def paths(network: SpikingNetwork) -> tuple[Path, ...]:
    """All paths from neurons or the input of a deployable network to a connection."""
    nodes = {node.name: node for node in network.nodes}
    found: list[Path] = []

    def trace(connection: Node, name: str, pools: tuple[nn.AvgPool2d, ...]) -> None:
        if name in nodes and isinstance(pool := nodes[name].op, nn.AvgPool2d):
            for source in nodes[name].inputs:
                trace(connection, source, (pool, *pools))
        else:
            found.append(Path(name, connection, pools))

    for node in network.nodes:
        if isinstance(node.op, Map):
            for source in node.inputs:
                trace(node, source, ())
    return tuple(found)


def float_topology(network: SpikingNetwork) -> Topology:
    """Connections between the neurons of a deployable network, named after the layers."""
    sources = {route.connection.name: route.source for route in paths(network)}
    targets: dict[str, str] = {}
    for node in reversed(network.nodes):
        ends = node.name if isinstance(node.op, LIF) else targets.get(node.name, network.output)
        targets |= dict.fromkeys(node.inputs, ends)
    connections = {
        node.name: ConnectionInfo(
            SynapseKind.DENSE if isinstance(node.op, nn.Linear) else SynapseKind.CONV,
            sources[node.name],
            targets.get(node.name, network.output),
        )
        for node in network.nodes
        if isinstance(node.op, Map)
    }
    graded = (network.input.name,) if network.input.graded else ()
    return Topology(connections, graded_inputs=graded)


def populations(network: SpikingNetwork) -> dict[str, Shape]:
    """Neurons of a deployable network by layer: LIF layers, and those of a linear readout."""
    neurons = [node.name for node in network.nodes if isinstance(node.op, LIF)]
    return {name: network.shapes[name] for name in dict.fromkeys([*neurons, network.output])}


def unbiased(network: SpikingNetwork) -> tuple[str, ...]:
    """LIF layers of a deployable network that stay idle without messages.

    No bias reaches them, and they do not keep a v_init: without a leak, v stays there.
    """
    biased = {
        node.name
        for node in network.nodes
        if isinstance(node.op, Norm) or getattr(node.op, "bias", None) is not None
    }
    return tuple(
        node.name
        for node in network.nodes
        if isinstance(node.op, LIF)
        and not biased.intersection(node.inputs)
        and not (node.op.v_init and node.op.decay == 1)
    )
