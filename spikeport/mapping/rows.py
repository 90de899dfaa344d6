"""Dense and sparse connections: a list of synapses for each neuron of the source."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.mapping.limits import StorageRules
from spikeport.mapping.storage import Integers, index_bits, list_bits
from spikeport.mapping.tiling import Tiling

Reach = list[NDArray[np.float64]]
"""For each axis of a source, the parts of the target that an index reaches, (size, parts)."""


class Rows:
    """A list for each neuron of the source, and an axon.

    After a sum-pool, the neurons of a window share the list of their sum.
    """

    positional = False
    spatial = False

    def __init__(self, ends: Any, rules: StorageRules) -> None:
        self._ends, self._rules = ends, rules
        self._indexed = rules.dense_indexed

    @cached_property
    def _seen(self) -> list[NDArray[np.bool_]]:
        """For each axis of the source, whether a window of the pool covers an index."""
        seen = [np.ones(size, np.bool_) for size in self._ends.source]
        if (pool := self._ends.connection.pool) is not None:
            seen[1:] = [windows >= 0 for windows in pool.windows_of(self._ends.source)]
        return seen

    @property
    def _axons(self) -> int:
        return math.prod(int(seen.sum()) for seen in self._seen)

    @property
    def _lists(self) -> int:
        """Lists of synapses, and how many synapses each has for a target neuron."""
        return int(self._ends.connection.weight.shape[1])

    def stored(self, targets: Tiling) -> tuple[Integers, Integers]:
        """See `Encoding`."""
        sizes, place = np.unique(targets.sizes, return_inverse=True)
        bits = np.array([self._bits(int(size)) for size in sizes])
        return np.full(targets.count, self._axons), bits[place]

    def _bits(self, neurons: int) -> int:
        index = index_bits(self._rules, neurons) if self._indexed else 0
        each = list_bits(self._rules, neurons, self._ends.synapse_bits + index)
        return self._lists * int(each)

    def fewest_bits(self, sizes: tuple[Integers, ...]) -> Integers:
        """See `Encoding`."""
        neurons, place = np.unique(np.prod(sizes, axis=0), return_inverse=True)
        return np.array([self._bits(int(size)) for size in neurons], np.int64)[place]

    def slots(self, sources: Tiling, targets: Tiling) -> Integers:
        """See `Encoding`."""
        return self._from(sources).astype(np.int64) * targets.count

    def links(
        self, sources: Tiling, targets: Tiling, spikes: NDArray[Any] | None = None
    ) -> NDArray[np.float64]:
        """See `Encoding`."""
        sent = self._from(sources, spikes)
        return np.repeat(sent[:, None], targets.count, axis=1)

    def _from(self, sources: Tiling, spikes: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Messages that leave each piece of the source for any target."""
        if len(sources.shape) != len(self._ends.source):  # flattened, so without a pool
            seen = [np.ones((sources.shape[0], 1))]
        else:
            seen = [part[:, None].astype(np.float64) for part in self._seen]
        return spread(sources, seen, spikes).ravel()

    def least_bits(self) -> int:
        """See `Encoding`."""
        return least_list_bits(self._ends, self._rules, indexed=self._indexed)


class PositionRows(Rows):
    """A list for each position of the source, of the synapses of all its channels, and an axon."""

    positional = True

    def __init__(self, ends: Any, rules: StorageRules) -> None:
        super().__init__(ends, rules)
        self._indexed = True
        self._channels = int(ends.source[0])

    @property
    def _axons(self) -> int:
        return math.prod(int(seen.sum()) for seen in self._seen[1:])

    def _bits(self, neurons: int) -> int:
        per_synapse = self._ends.synapse_bits + index_bits(self._rules, neurons)
        each = list_bits(self._rules, self._channels * neurons, per_synapse)
        return self._lists // self._channels * int(each)

    def slots(self, sources: Tiling, targets: Tiling) -> Integers:
        """See `Encoding`."""
        seen = zip(self._seen[1:], sources.edges[1:], strict=True)
        counts = [np.add.reduceat(part.astype(np.int64), edges[:-1]) for part, edges in seen]
        positions = sources.product([np.ones(sources.parts[0], np.int64), *counts])
        return positions * targets.count * self._rules.position_slots


class IndexedRows:
    """A list with indices for each neuron of the source that has synapses on a core."""

    positional = False
    spatial = False

    def __init__(self, ends: Any, rules: StorageRules) -> None:
        self._ends, self._rules = ends, rules
        connection = ends.connection
        self._columns = int(connection.columns)
        self._sources = connection.indices.astype(np.int64)
        self._targets = connection.rows

    def stored(self, targets: Tiling) -> tuple[Integers, Integers]:
        """See `Encoding`."""
        pairs, synapses = self._pairs(targets, counted=True)
        piece = pairs // self._columns
        axons = np.bincount(piece, minlength=targets.count)
        sizes = np.unique(targets.sizes)
        index = dict(zip(sizes, (index_bits(self._rules, int(n)) for n in sizes), strict=True))
        width = np.array([index[size] for size in targets.sizes])
        each = list_bits(self._rules, synapses, self._ends.synapse_bits + width[piece])
        bits = np.zeros(targets.count, np.int64)
        np.add.at(bits, piece, each)
        return axons, bits

    def _pairs(self, targets: Tiling, *, counted: bool = False) -> tuple[Integers, Integers]:
        """Every (piece of the target, source neuron) with synapses, as one number; how many."""
        place = targets.piece_of[self._targets] * self._columns + self._sources
        if counted:
            pairs, synapses = np.unique(place, return_counts=True)
            return pairs, synapses.astype(np.int64)
        return np.unique(place), np.empty(0, np.int64)

    def slots(self, sources: Tiling, targets: Tiling) -> Integers:
        """See `Encoding`."""
        pairs, _ = self._pairs(targets)
        return np.bincount(sources.piece_of[pairs % self._columns], minlength=sources.count)

    def links(
        self, sources: Tiling, targets: Tiling, spikes: NDArray[Any] | None = None
    ) -> NDArray[np.float64]:
        """See `Encoding`."""
        pairs, _ = self._pairs(targets)
        piece, source = np.divmod(pairs, self._columns)
        sent = np.ones(len(pairs)) if spikes is None else spikes.ravel()[source]
        found = np.zeros((sources.count, targets.count))
        np.add.at(found, (sources.piece_of[source], piece), sent)
        return found

    def least_bits(self) -> int:
        """See `Encoding`."""
        return least_list_bits(self._ends, self._rules, indexed=True)

    def fewest_bits(self, sizes: tuple[Integers, ...]) -> Integers:
        """See `Encoding`. Neurons may have no synapses."""
        return np.zeros(len(sizes[0]), np.int64)


def least_list_bits(ends: Any, rules: StorageRules, *, indexed: bool) -> int:
    """Bits of all weights, with indices if their width is fixed."""
    index = rules.index_bits or 0 if indexed else 0
    return int(ends.connection.weight.size) * int(ends.synapse_bits + index)


def spread(
    sources: Tiling, reach: Reach, spikes: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """Messages from each piece of a source to each piece of a target, (pieces, pieces).

    Args:
        reach: for each axis, whether an index of the source reaches a part of the target.
        spikes: number of spikes of each source neuron; by default one.
    """
    if spikes is None:
        total = np.ones((1, 1))
        for edges, reached in zip(sources.edges, reach, strict=True):
            total = np.kron(total, np.add.reduceat(reached, edges[:-1])).astype(np.float64)
        return total
    members = [sources.membership(axis) for axis in range(len(reach))]
    found = spikes.reshape(sources.shape).astype(np.float64)
    for member, reached in zip(members, reach, strict=True):
        joint = member[:, :, None] * reached[:, None, :]
        found = np.tensordot(found, joint.reshape(len(joint), -1), axes=(0, 0))
    sizes = [size for m, r in zip(members, reach, strict=True) for size in (m.shape[1], r.shape[1])]
    found = found.reshape(sizes)
    axes = len(reach)
    order = [*range(0, 2 * axes, 2), *range(1, 2 * axes, 2)]
    return found.transpose(order).reshape(sources.count, -1)
