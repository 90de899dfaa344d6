"""`Traffic`: packets between cores, and their hops on the mesh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.energy import Hops
from spikeport.errors import EnergyError
from spikeport.mapping.placement import Places, Table
from spikeport.mapping.plan import Plan
from spikeport.mapping.tiling import Tiling
from spikeport.network import DeployedNetwork, WeightedConnection
from spikeport.runs import EventCounts, Run

Spikes = Mapping[str, NDArray[Any]]
"""Number of spikes of each neuron, by the name of its input or population."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Packets of a run: one for each message, connection and piece that it reaches.

    Attributes:
        basis: whose messages these are.
        packets: sent by neurons.
        input_packets: sent to cores by inputs, which have no place on the mesh.
        within_core, within_tile, between_tiles: packets by how far they travel.
        between_chips: of those between tiles, packets to another chip.
        hops_east_west, hops_north_south: tile hops of all packets.
        least_hops: hops that no placement of these cores can do without; None for too many cores.
    """

    basis: str
    packets: float
    input_packets: float
    within_core: float
    within_tile: float
    between_tiles: float
    between_chips: float
    hops_east_west: float
    hops_north_south: float
    least_hops: float | None = None

    @property
    def hops(self) -> float:
        """All tile hops."""
        return self.hops_east_west + self.hops_north_south

    @property
    def hops_per_packet(self) -> float:
        """Mean number of hops; 0 without packets."""
        return self.hops / self.packets if self.packets else 0.0


class Tally:
    """Packets between places, summed up connection by connection."""

    def __init__(self) -> None:
        self._sums = dict.fromkeys(
            ("packets", "input_packets", "within_core", "within_tile", "between_tiles",
             "between_chips", "hops_east_west", "hops_north_south"),
            0.0,
        )  # fmt: skip

    def add_input(self, packets: Table) -> None:
        """Add packets of an input."""
        self._sums["input_packets"] += float(packets.sum())

    def add(self, packets: Table, sources: Places, targets: Places, same_core: Any) -> None:
        """Add packets between the places of pieces, (source pieces, target pieces)."""
        columns = np.abs(sources.column[:, None] - targets.column)
        rows = np.abs(sources.row[:, None] - targets.row)
        apart = columns + rows > 0
        total, between = float(packets.sum()), float(packets[apart].sum())
        within = float(packets[same_core].sum())
        for name, number in {
            "packets": total,
            "within_core": within,
            "within_tile": total - between - within,
            "between_tiles": between,
            "between_chips": float(packets[sources.chip[:, None] != targets.chip].sum()),
            "hops_east_west": float((packets * columns).sum()),
            "hops_north_south": float((packets * rows).sum()),
        }.items():
            self._sums[name] += number

    def total(self, basis: str) -> Traffic:
        """The sums."""
        return Traffic(basis, **self._sums)


def tally(
    plan: Plan, tilings: Mapping[str, Tiling], places: Places, spikes: Spikes | None, basis: str
) -> Traffic:
    """Packets of all connections.

    Args:
        places: of each piece, in the order of the network.
        spikes: by default one of each neuron and input.
    """
    first = first_pieces(plan, tilings)
    found = Tally()
    for part, packets in _links(plan, tilings, spikes):
        if part.source not in first:
            found.add_input(packets)
            continue
        sources, targets = (
            first[name] + np.arange(tilings[name].count) for name in (part.source, part.target)
        )
        same = places.core[sources][:, None] == places.core[targets]
        found.add(packets, places.of(sources), places.of(targets), same)
    return found.total(basis)


def ways(
    plan: Plan, tilings: Mapping[str, Tiling], places: Places, spikes: Spikes | None
) -> Iterator[tuple[str, float, Hops]]:
    """Of each connection, packets per message, and hops per packet; those of inputs have no way.

    Args:
        places: of each piece, in the order of the network.
        spikes: by default one of each neuron and input; those of a silent source are taken as such.
    """
    first = first_pieces(plan, tilings)
    for part in plan.network.weighted_connections:
        source = plan.network.sources[part.source]
        given = None if spikes is None or not spikes[part.source].any() else spikes[part.source]
        messages = source.size if given is None else float(given.sum())
        packets = plan.encodings[part.name].links(tilings[part.source], tilings[part.target], given)
        total = float(packets.sum())
        way = Hops()
        if part.source in first and total:
            ends = [
                places.of(first[n] + np.arange(tilings[n].count))
                for n in (part.source, part.target)
            ]
            columns = np.abs(ends[0].column[:, None] - ends[1].column)
            rows = np.abs(ends[0].row[:, None] - ends[1].row)
            way = Hops(
                float((packets * columns).sum()) / total, float((packets * rows).sum()) / total
            )
        yield part.name, total / messages, way


def core_messages(
    plan: Plan,
    tilings: Mapping[str, Tiling],
    core_of: NDArray[np.int64],
    cores: int,
    spikes: Spikes | None = None,
) -> Table:
    """Messages between cores, (cores, cores).

    Args:
        spikes: by default one of each neuron.
    """
    first = first_pieces(plan, tilings)
    between = np.zeros((cores, cores))
    for part, packets in _links(plan, tilings, spikes):
        if part.source in first:
            sources, targets = (
                core_of[first[name] : first[name] + tilings[name].count]
                for name in (part.source, part.target)
            )
            np.add.at(between, (sources[:, None], targets), packets)
    return between


def _links(
    plan: Plan, tilings: Mapping[str, Tiling], spikes: Spikes | None
) -> Iterator[tuple[WeightedConnection, Table]]:
    """Each connection, with packets from pieces of its source to pieces of its target."""
    for part in plan.network.weighted_connections:
        given = None if spikes is None else spikes[part.source]
        yield (
            part,
            plan.encodings[part.name].links(tilings[part.source], tilings[part.target], given),
        )


def first_pieces(plan: Plan, tilings: Mapping[str, Tiling]) -> dict[str, int]:
    """Number of the first piece of each population."""
    first, total = {}, 0
    for name in plan.network.order:
        first[name] = total
        total += tilings[name].count
    return first


def spikes_of(network: DeployedNetwork, activity: EventCounts | Run) -> tuple[str, Spikes]:
    """Messages of each neuron in a run, and what they are based on.

    Event counts are spread evenly over the neurons of a part; a run knows those of each neuron of
    a population, and its counts those of inputs.

    Raises:
        InputError: the activity is that of another network, or lacks a part.
    """
    if isinstance(activity, Run):
        if activity.network_hash != network.content_hash:
            raise EnergyError(
                f"map: the run is of network {activity.network_hash[:12] or 'of floats'}, must be "
                f"of {network.content_hash[:12]}"
            )
        counts, own = activity.counts, dict(activity.spike_counts)
    else:
        counts, own = activity, {}
    found: dict[str, NDArray[Any]] = {}
    for name, part in network.sources.items():
        if name in own:
            found[name] = np.asarray(own[name]).reshape(part.shape)
            continue
        table = {} if counts is None else {**counts.spikes, **counts.input_events}
        if name not in table:
            raise EnergyError(f"map: the activity has no count for '{name}'")
        found[name] = np.full(part.shape, table[name] / part.size)
    samples = activity.samples
    return f"{samples} sample{'s' if samples > 1 else ''} of {activity.steps} steps", found
