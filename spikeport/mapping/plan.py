"""`Plan`: the encodings of a network's connections, and what pieces of populations demand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spikeport.mapping.encodings import Encoding, encoding_of
from spikeport.mapping.limits import RESOURCES, CoreLimits, Resource
from spikeport.mapping.storage import Integers
from spikeport.mapping.tiling import Tiling
from spikeport.network import DeployedNetwork, Shape, WeightedConnection, depths, waits

Tilings = Mapping[str, Tiling]
"""Of every input and population; an input is a single piece, which no core holds."""
Demands = NDArray[np.int64]
"""What pieces need of each resource, (pieces, resources)."""
UNLIMITED = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Plan:
    """How a network is stored on the cores of a target, before it is cut into pieces.

    Attributes:
        encodings: of each connection with weights, by name.
        shapes: of each input and population, flattened where no connection uses its axes.
        most: most neurons of a piece, for populations of which pieces must be smaller than a core.
    """

    network: DeployedNetwork
    limits: CoreLimits
    encodings: Mapping[str, Encoding]
    shapes: Mapping[str, Shape]
    most: Mapping[str, int] = field(default_factory=dict)

    def most_neurons(self, name: str) -> int:
        """Most neurons of a piece of a population."""
        limit = self.limits.capacity[Resource.NEURONS].value
        return min(limit, self.most.get(name, limit))

    @cached_property
    def _into(self) -> Mapping[str, Counter[Encoding]]:
        return {
            part.name: Counter(
                self.encodings[one.name] for one in self.network.weighted_into(part.name)
            )
            for part in self.network.populations
        }

    def into(self, name: str) -> Counter[Encoding]:
        """Encodings of the connections into a population, and how many connections have each."""
        return self._into[name]

    @property
    def capacity(self) -> Demands:
        """Limits of a core in the order of the resources."""
        limits = self.limits.capacity
        return np.array([limits[one].value if one in limits else UNLIMITED for one in RESOURCES])

    def demands(
        self, name: str, tiling: Tiling, tilings: Tilings, own: Tiling | None = None
    ) -> Demands:
        """What the pieces of a population need.

        Args:
            tilings: of the populations after it, which determine its output axons.
            own: of the population itself as a target of its own; by default `tiling`.
        """
        found = np.zeros((tiling.count, len(RESOURCES)), np.int64)
        found[:, RESOURCES.index(Resource.NEURONS)] = tiling.sizes
        found[:, RESOURCES.index(Resource.PIECES)] = 1
        axons, memory = RESOURCES.index(Resource.INPUT_AXONS), RESOURCES.index(Resource.MEMORY)
        for encoding, count in self.into(name).items():
            into, bits = encoding.stored(tiling)
            found[:, axons] += count * into
            found[:, memory] += count * bits
        found[:, RESOURCES.index(Resource.OUTPUT_AXONS)] = self.slots(
            name, tiling, {**tilings, name: own or tiling}
        )
        return found

    def slots(self, name: str, tiling: Tiling, tilings: Tilings) -> Integers:
        """Output axons of the pieces of a population.

        Args:
            tilings: of all populations that it sends to.
        """
        total = np.zeros(tiling.count, np.int64)
        ways = Counter(
            (self.encodings[part.name], tilings[part.target])
            for part in self.network.weighted_from(name)
        )
        for (encoding, targets), count in ways.items():
            total += count * encoding.slots(tiling, targets)
        return total

    def events_of_neuron(self, name: str) -> float:
        """Its visit, and events on its synapses if every source neuron sends one message."""
        size = self.network.by_name[name].size
        return 1 + sum(part.macs(size) for part in self.network.weighted_into(name)) / size

    def packets(self, name: str, tiling: Tiling) -> float:
        """Packets to the pieces of a population if every source neuron sends one message."""
        sources = Counter(
            (self.encodings[part.name], self.shapes[part.source])
            for part in self.network.weighted_into(name)
        )
        return sum(
            count * float(encoding.links(Tiling.whole(shape), tiling).sum())
            for (encoding, shape), count in sources.items()
        )

    def is_spatial(self, name: str) -> bool:
        """Whether lists of synapses of a population are moved by position."""
        return any(encoding.spatial for encoding in self.into(name))

    def positions(self, name: str, tiling: Tiling) -> int:
        """The most positions of a piece, if its lists of synapses are moved by position."""
        if not self.is_spatial(name):
            return 0
        return math.prod(int(np.diff(edges).max()) for edges in tiling.edges[1:])


def plan(network: DeployedNetwork, limits: CoreLimits) -> Plan:
    """Choose an encoding for every connection.

    A dense connection has one axon per neuron of its source, or, where these are too many for a
    core, one per position of a feature map.

    Raises:
        InputError: a connection of a kind that cannot be mapped.
    """
    depth, _ = depths(network, _one)
    wait = waits(network, depth, _one)
    encodings: dict[str, Encoding] = {}
    known: dict[Hashable, Encoding] = {}
    for population in network.populations:
        parts = network.weighted_into(population.name)
        single = {
            part.name: _encoding(network, part, wait, limits, known, positional=False)
            for part in parts
        }
        whole = Tiling.whole((population.size,))
        kept = Tiling.whole(population.shape)
        axons = sum(
            int(one.stored(kept if one.spatial else whole)[0].sum()) for one in single.values()
        )
        most = limits.capacity.get(Resource.INPUT_AXONS)
        if most is not None and axons > most.value:
            for part in parts:
                if len(network.sources[part.source].shape) > 1:
                    single[part.name] = _encoding(
                        network, part, wait, limits, known, positional=True
                    )
        encodings |= single
    return Plan(network, limits, encodings, _shapes(network, encodings))


def _one(_: WeightedConnection) -> int:
    """Chip steps of a connection; a sum-pool is part of its weights."""
    return 1


def _encoding(
    network: DeployedNetwork,
    part: WeightedConnection,
    wait: Mapping[str, int],
    limits: CoreLimits,
    known: dict[Hashable, Encoding],
    *,
    positional: bool,
) -> Encoding:
    return encoding_of(
        part,
        network.sources[part.source].shape,
        network.by_name[part.target].shape,
        wait[part.name],
        limits.storage,
        lines=network.lines(part.source),
        positional=positional,
        known=known,
    )


def _shapes(network: DeployedNetwork, encodings: Mapping[str, Encoding]) -> dict[str, Shape]:
    kept = set()
    for part in network.weighted_connections:
        encoding = encodings[part.name]
        if encoding.positional or part.pool is not None:
            kept.add(part.source)
        if encoding.spatial:
            kept.add(part.target)
    return {
        name: part.shape if name in kept else (part.size,) for name, part in network.sources.items()
    }
