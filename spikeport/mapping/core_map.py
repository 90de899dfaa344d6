"""`CoreMap`: which core holds which neurons, and how full each core is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.energy import Placement
from spikeport.mapping.limits import RESOURCES, CoreLimits, Resource
from spikeport.mapping.placement import DENSE, Places, least_hops
from spikeport.mapping.plan import Plan
from spikeport.mapping.tiling import Box, Tiling
from spikeport.mapping.traffic import Traffic, core_messages, spikes_of, tally, ways
from spikeport.runs import EventCounts, Run

SCHEMA = "spikeport.map/1"
"""Version of the JSON form."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Neurons of a population that are on one core.

    Attributes:
        box: first and last + 1 index along each axis of the population, or of all of its neurons
            in C order if there is one axis only.
        demand: what it needs of each resource.
    """

    population: str
    box: Box
    demand: Mapping[Resource, int]

    @property
    def neurons(self) -> int:
        """Number of its neurons."""
        return math.prod(end - first for first, end in self.box)


@dataclass(frozen=True, slots=True)
class Core:
    """One core that is used.

    Attributes:
        chip: number of its chip.
        column, row: its tile on the mesh of that chip.
        pieces: numbers of its pieces.
        usage: what these need of each resource.
        work: share of the network's work that it does.
    """

    chip: int
    column: int
    row: int
    pieces: tuple[int, ...]
    usage: Mapping[Resource, int]
    work: float


@dataclass(frozen=True)
class CoreMap:
    """A network on the cores of a target.

    Attributes:
        network_hash: content hash of the network.
        limits: of the target's cores.
        share_cores: whether a core may hold pieces of several populations.
        pieces: of all populations, in the order of the network.
        cores: those used, in the order of their first piece.
        lower_bounds: the fewest cores that each resource allows.
    """

    network_hash: str
    limits: CoreLimits
    share_cores: bool
    pieces: tuple[Piece, ...]
    cores: tuple[Core, ...]
    lower_bounds: Mapping[Resource, int]
    _plan: Plan = field(repr=False)
    _tilings: Mapping[str, Tiling] = field(repr=False)
    _places: Places = field(repr=False)

    @property
    def chips(self) -> int:
        """Number of chips."""
        return 1 + max(core.chip for core in self.cores)

    @property
    def lower_bound(self) -> int:
        """The fewest cores that any map needs whose pieces are boxes of neurons."""
        return max(self.lower_bounds.values())

    @property
    def gap(self) -> float:
        """Cores beyond the lower bound, as a share of it."""
        return len(self.cores) / self.lower_bound - 1

    @property
    def busiest(self) -> float:
        """Share of the network's work on the core that has most to do, which sets the pace."""
        return max(core.work for core in self.cores)

    @property
    def imbalance(self) -> float:
        """Work of the busiest core beyond that of evenly divided work, as a share of it."""
        return self.busiest * len(self.cores) - 1

    def utilisation(self, resource: Resource) -> float | None:
        """Mean share of the used cores' resource that is needed; None if it is not limited."""
        if (limit := self.limits.capacity.get(resource)) is None:
            return None
        needed = sum(core.usage[resource] for core in self.cores)
        return needed / (limit.value * len(self.cores))

    def share(self, needed: Mapping[Resource, int]) -> float:
        """Share of the scarcest resource of a core, numbers of pieces apart.

        Args:
            needed: the demand of a piece, or the usage of a core.
        """
        return max(
            needed[one] / limit.value
            for one, limit in self.limits.capacity.items()
            if one is not Resource.PIECES
        )

    def traffic(self, activity: EventCounts | Run | None = None) -> Traffic:
        """Packets and hops of a run, or of one spike of each neuron and input.

        A packet is a message that crosses a connection to one piece. Event counts say only how
        many messages a population sends; they are then spread evenly over its neurons.

        Raises:
            InputError: the activity is that of another network, or lacks a part.
        """
        basis, spikes = "one spike of each neuron", None
        if activity is not None:
            basis, spikes = spikes_of(self._plan.network, activity)
        counted = tally(self._plan, self._tilings, self._piece_places, spikes, basis)
        if len(self.cores) > DENSE:
            return counted
        messages = core_messages(self._plan, self._tilings, self._core_of, len(self.cores), spikes)
        least = least_hops(messages, self.limits.mesh.cores_per_tile)
        return replace(counted, least_hops=least)

    def placement(self, activity: EventCounts | Run | None = None) -> Placement:
        """The map as `spikeport.estimate_energy` takes it.

        Args:
            activity: whose messages decide which packets are sent; by default one of each neuron.

        Raises:
            InputError: the activity is that of another network, or lacks a part.
        """
        spikes = None if activity is None else spikes_of(self._plan.network, activity)[1]
        found = list(ways(self._plan, self._tilings, self._piece_places, spikes))
        sizes = {part.name: part.size for part in self._plan.network.populations}
        return Placement(
            cores=tuple(self._shares(core, sizes) for core in self.cores),
            chips=self.chips,
            packets={name: packets for name, packets, _ in found},
            hops={name: way for name, _, way in found},
        )

    def _shares(self, core: Core, sizes: Mapping[str, int]) -> dict[str, float]:
        shares: dict[str, float] = {}
        for piece in (self.pieces[number] for number in core.pieces):
            share = piece.neurons / sizes[piece.population]
            shares[piece.population] = shares.get(piece.population, 0.0) + share
        return shares

    @property
    def _core_of(self) -> NDArray[np.int64]:
        """The core of each piece."""
        core_of = np.empty(len(self.pieces), np.int64)
        for number, core in enumerate(self.cores):
            core_of[list(core.pieces)] = number
        return core_of

    @property
    def _piece_places(self) -> Places:
        return self._places.of(self._core_of)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "schema": SCHEMA,
            "network": self.network_hash,
            "target": self.limits.target,
            "share_cores": self.share_cores,
            "cores_used": len(self.cores),
            "cores_per_chip": self.limits.cores.value,
            "chips": self.chips,
            "lower_bound": self.lower_bound,
            "lower_bounds": {str(one): number for one, number in self.lower_bounds.items()},
            "gap": self.gap,
            "busiest": self.busiest,
            "imbalance": self.imbalance,
            "limits": {
                name: {
                    "value": limit.value, "verified": limit.verified, "source": limit.citation,
                }
                for name, limit in self.limits.stated.items()
            },
            "utilisation": {str(one): self.utilisation(one) for one in RESOURCES},
            "cores": [self._core_form(core) for core in self.cores],
        }  # fmt: skip

    def _core_form(self, core: Core) -> dict[str, Any]:
        return {
            "chip": core.chip,
            "column": core.column,
            "row": core.row,
            "usage": {str(one): core.usage[one] for one in RESOURCES},
            "work": core.work,
            "pieces": [
                {
                    "population": self.pieces[k].population,
                    "box": [list(part) for part in self.pieces[k].box],
                    "usage": {str(one): self.pieces[k].demand[one] for one in RESOURCES},
                }
                for k in core.pieces
            ],
        }
