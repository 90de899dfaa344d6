"""Network properties that pricing needs besides event counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeport.energy.terms import SynapseKind
from spikeport.errors import InputError
from spikeport.network import (
    LOIHI,
    DeployedNetwork,
    ReadoutKind,
    WeightedConnection,
)
from spikeport.runs import EventCounts


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """A connection that carries weights.

    Attributes:
        weight_bits: memory for its weights alone, if they are divided among the cores of the
            target: dense and sparse rows. A kernel is needed on every core and counts 0.
    """

    kind: SynapseKind
    source: str
    target: str
    weight_bits: int = 0


@dataclass(frozen=True, slots=True)
class Topology:
    """Made by `topology_of` from a deployed network, or by hand for a float one.

    Attributes:
        connections: those with weights, by name.
        injections: connections that write biases.
        graded_inputs: those with other values than 0 and 1.
        membrane_readouts: names.
        arithmetic: name of the network's arithmetic; a float network is quantized to Loihi's.
        macs: multiply-accumulates of one pass through the same layers as an ordinary network.
    """

    connections: Mapping[str, ConnectionInfo]
    injections: tuple[str, ...] = ()
    graded_inputs: tuple[str, ...] = ()
    membrane_readouts: tuple[str, ...] = ()
    macs: int = 0
    arithmetic: str = LOIHI.name

    def check(self, counts: EventCounts) -> None:
        """Check that counts are those of a run of this network.

        Raises:
            InputError: they cover no samples or no steps, or their connections and populations
                are not those of the network.
        """
        if counts.samples < 1 or counts.steps < 1:
            raise InputError(
                f"energy: the counts cover {counts.samples} samples and {counts.steps} steps, "
                "must cover at least one of each"
            )
        for name in counts.messages:
            if name not in self.connections and name not in self.injections:
                raise InputError(
                    f"energy: connection '{name}' has counts but is not in the network"
                )
        for name, connection in self.connections.items():
            if name not in counts.messages:
                raise InputError(f"energy: connection '{name}' has no counts")
            if not counts.visits.get(connection.target):
                raise InputError(f"energy: population '{connection.target}' has no counts")


def topology_of(network: DeployedNetwork) -> Topology:
    """The topology of a deployed network."""
    sizes = {part.name: part.size for part in network.populations}
    return Topology(
        connections={
            part.name: ConnectionInfo(
                SynapseKind(part.storage),
                part.source,
                part.target,
                network.lines(part.source) * _divided_bits(part),
            )
            for part in network.weighted_connections
        },
        injections=tuple(part.name for part in network.injections),
        graded_inputs=tuple(i.name for i in network.inputs if i.graded),
        membrane_readouts=tuple(
            r.population for r in network.readouts if r.kind is ReadoutKind.MEMBRANE
        ),
        macs=sum(part.macs(sizes[part.target]) for part in network.weighted_connections),
        arithmetic=network.arithmetic.name,
    )


def _divided_bits(part: WeightedConnection) -> int:
    kernel = part.storage == SynapseKind.CONV
    return 0 if kernel else int(part.weight.size) * part.weight_bits
