"""Convolutions: every position of the source has an axon, and positions share lists of synapses."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cache, cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.mapping.limits import StorageRules
from spikeport.mapping.rows import spread
from spikeport.mapping.storage import Integers, index_bits, list_bits
from spikeport.mapping.tiling import Edges, Tiling

MOST_TAPS, MOST_COMPARED = 12, 50_000_000
"""Taps, and source indices x target indices x sizes, for which lists are counted for bounds."""


class Axis:
    """One spatial axis of a convolution, after its pool."""

    def __init__(self, source: int, target: int, taps: NDArray[np.int64]) -> None:
        self.source, self.target, self._taps = source, target, taps
        self._kernel = np.arange(taps.max(initial=0) + 1)
        self.met = cache(self._met)
        self.reach = cache(self._reach)
        self.lists = cache(self._lists)

    def _met(self, first: int, end: int) -> NDArray[np.bool_]:
        """The taps by which each source index reaches targets first..end - 1, (source, kernel)."""
        met: NDArray[np.bool_] = (self._taps[:, first:end, None] == self._kernel).any(axis=1)
        return met

    def _reach(self, edges: Edges) -> NDArray[np.float64]:
        """Whether each source index reaches a part of the target, (source, parts)."""
        hit = [self.met(*part).any(axis=1) for part in pairwise(edges)]
        return np.stack(hit, axis=1).astype(np.float64)

    def _lists(self, first: int, end: int) -> tuple[int, ...]:
        """Lengths of the different lists of taps by which source indices reach the targets."""
        different = np.unique(self.met(first, end), axis=0).sum(axis=1)
        return tuple(int(taps) for taps in different if taps)

    @cached_property
    def fewest_lists(self) -> NDArray[np.int64]:
        """How many lists of 1, 2, ... taps any piece has at least, by its size, from 1 on.

        All 0, which is too few, where counting takes too long.
        """
        sources, targets = self._taps.shape
        kernel = len(self._kernel)
        fewest = np.zeros((targets, kernel), np.int64)
        if kernel > MOST_TAPS or sources * targets * targets > MOST_COMPARED:
            return fewest
        taps = np.where(self._taps < 0, 0, 1 << np.maximum(self._taps, 0))
        sets = np.arange(1 << kernel)
        count = np.array([int(one).bit_count() for one in sets])
        by_count = (count[:, None] == np.arange(1, kernel + 1)).astype(np.int64)
        met = np.zeros_like(taps)
        for size in range(1, targets + 1):
            met = met[:, : targets - size + 1] | taps[:, size - 1 :]
            listed = np.zeros((met.shape[1], len(sets)), np.int64)
            listed[np.arange(met.shape[1]), met] = 1
            fewest[size - 1] = (listed @ by_count).min(axis=0)
        return fewest

    def used(self, first: int, end: int) -> int:
        """Taps by which any source index reaches the targets."""
        return int(self.met(first, end).any(axis=0).sum())


class _Kernel(ABC):
    """What both ways to store a kernel share."""

    positional = True
    spatial = True

    def __init__(self, ends: Any, rules: StorageRules) -> None:
        self._ends, self._rules = ends, rules
        connection = ends.connection
        self._groups = int(connection.groups)
        self._out, self._in = (int(size) for size in connection.weight.shape[:2])
        self._axes = _axes(connection, ends.source, ends.target)
        self._channels = cache(self._channels_of)
        self._sent = cache(self._sent_along)
        self._bits = cache(self._bits_of)

    def _channels_of(self, edges: Edges) -> NDArray[np.float64]:
        """Whether each channel of the source reaches a part of the target's channels."""
        groups = np.repeat(np.arange(self._groups), self._out // self._groups)
        touched = np.zeros((self._groups, len(edges) - 1))
        for part, (first, end) in enumerate(_parts(edges)):
            touched[groups[first:end], part] = 1
        return np.repeat(touched, self._in, axis=0)

    def _reach_along(self, axis: int, edges: Edges) -> NDArray[np.float64]:
        return self._axes[axis - 1].reach(edges) if axis else self._channels(edges)

    def _reach(self, targets: Tiling) -> list[NDArray[np.float64]]:
        return [self._reach_along(axis, edges) for axis, edges in enumerate(targets.edges)]

    def _sent_along(self, axis: int, sources: Edges, targets: Edges, once: bool) -> Integers:
        """For each part of an axis of the source, the pairs of an index and a target part reached.

        Args:
            once: count a target part once, not for each index.
        """
        reached = np.add.reduceat(self._reach_along(axis, targets), sources[:-1], axis=0)
        counts: Integers = (reached > 0 if once else reached).sum(axis=1).astype(np.int64)
        return counts

    def links(
        self, sources: Tiling, targets: Tiling, spikes: NDArray[Any] | None = None
    ) -> NDArray[np.float64]:
        """See `Encoding`."""
        return spread(sources, self._reach(targets), spikes)

    def _by_parts(self, targets: Tiling, kinds: list[list[Any]], bits: Any) -> Integers:
        """`bits` of every piece, computed once for each combination of different parts."""
        places, different = [], []
        for of_axis in kinds:
            order = {kind: k for k, kind in enumerate(dict.fromkeys(of_axis))}
            different.append(list(order))
            places.append(np.array([order[kind] for kind in of_axis]))
        table = np.zeros([len(kinds) for kinds in different], np.int64)
        for index in np.ndindex(*table.shape):
            table[index] = bits(*(kinds[k] for kinds, k in zip(different, index, strict=True)))
        made: Integers = table[np.ix_(*places)].ravel()
        return made

    @abstractmethod
    def _bits_of(self, *of_axes: Any) -> int:
        """Bits of a piece, given what matters of its part along each axis."""

    def least_bits(self) -> int:
        """See `Encoding`."""
        taps = [axis.used(0, axis.target) for axis in self._axes]
        return self._out * self._in * int(np.prod(taps)) * int(self._ends.synapse_bits)


class KernelLists(_Kernel):
    """An axon for each position of the source, which points to a list of synapses with indices.

    Positions that reach the same taps share a list; its synapses are those of all channels of the
    position (nengo-loihi, `conv2d_loihi_weights` of conv.py).
    """

    def stored(self, targets: Tiling) -> tuple[Integers, Integers]:
        """See `Encoding`."""
        positions = [part.sum(axis=0).astype(np.int64) for part in self._reach(targets)[1:]]
        axons = targets.product([np.ones(targets.parts[0], np.int64), *positions])
        kinds: list[list[Any]] = [[end - first for first, end in _parts(targets.edges[0])]]
        for axis, edges in zip(self._axes, targets.edges[1:], strict=True):
            kinds.append([(end - first, axis.lists(first, end)) for first, end in _parts(edges)])
        return axons, self._by_parts(targets, kinds, self._bits)

    def _bits_of(self, channels: int, *axes: tuple[int, tuple[int, ...]]) -> int:
        lengths: NDArray[np.int64] = np.ones(1, np.int64)
        neurons = channels
        for size, taps in axes:
            lengths = np.multiply.outer(lengths, np.array(taps, np.int64)).ravel()
            neurons *= size
        per_synapse = self._ends.synapse_bits + index_bits(self._rules, neurons)
        return int(list_bits(self._rules, self._in * channels * lengths, per_synapse).sum())

    def fewest_bits(self, sizes: tuple[Integers, ...]) -> Integers:
        """See `Encoding`. Along each axis, the fewest lists of any place."""
        channels, *sides = sizes
        neurons, place = np.unique(np.prod(sizes, axis=0), return_inverse=True)
        index = np.array([index_bits(self._rules, int(size)) for size in neurons])[place]
        counts = [axis.fewest_lists[side - 1] for axis, side in zip(self._axes, sides, strict=True)]
        bits = np.zeros(len(channels), np.int64)
        for taps in np.ndindex(*(one.shape[1] for one in counts)):
            lists = np.prod([one[:, k] for one, k in zip(counts, taps, strict=True)], axis=0)
            synapses = self._in * channels * math.prod(k + 1 for k in taps)
            bits += lists * list_bits(self._rules, synapses, self._ends.synapse_bits + index)
        return bits

    def slots(self, sources: Tiling, targets: Tiling) -> Integers:
        """See `Encoding`."""
        counts = [
            self._sent(axis, edges, targets.edges[axis], axis == 0)
            for axis, edges in enumerate(sources.edges)
        ]
        return sources.product(counts) * self._rules.position_slots


class KernelOnce(_Kernel):
    """One copy of the kernel: a list of output channels for each input channel and tap.

    A piece of the source has one axon for each piece of the target that it reaches.
    """

    def stored(self, targets: Tiling) -> tuple[Integers, Integers]:
        """See `Encoding`."""
        per_group = self._out // self._groups
        kinds: list[list[Any]] = [[]]
        for first, end in _parts(targets.edges[0]):
            cuts = range(first // per_group, (end - 1) // per_group + 1)
            kinds[0].append(
                tuple(min(end, (g + 1) * per_group) - max(first, g * per_group) for g in cuts)
            )
        for axis, edges in zip(self._axes, targets.edges[1:], strict=True):
            kinds.append([axis.used(first, end) for first, end in _parts(edges)])
        bits = self._by_parts(targets, kinds, self._bits)
        return (bits > 0).astype(np.int64), bits

    def _bits_of(self, rows: tuple[int, ...], *taps: int) -> int:
        each = list_bits(self._rules, np.array(rows), self._ends.synapse_bits)
        return self._in * int(np.prod(taps)) * int(each.sum())

    def fewest_bits(self, sizes: tuple[Integers, ...]) -> Integers:
        """See `Encoding`. A larger piece needs no fewer taps than one position.

        The channels of several groups are in lists of their own, whose blocks may fill words better
        than those of one list; then words are taken as full.
        """
        taps = [min(axis.used(k, k + 1) for k in range(axis.target)) for axis in self._axes]
        channels, width, block = sizes[0], self._ends.synapse_bits, self._rules.block
        if block is None or self._groups == 1:
            each = list_bits(self._rules, channels, width)
        else:
            each = channels * width - (-channels // block) * self._rules.header_bits
        return self._in * int(np.prod(taps)) * each

    def slots(self, sources: Tiling, targets: Tiling) -> Integers:
        """See `Encoding`."""
        counts = [
            self._sent(axis, edges, targets.edges[axis], True)
            for axis, edges in enumerate(sources.edges)
        ]
        return sources.product(counts)


def _parts(edges: Edges) -> list[tuple[int, int]]:
    return list(pairwise(edges))


def _axes(connection: Any, source: tuple[int, ...], target: tuple[int, ...]) -> list[Axis]:
    """The spatial axes of a convolution, with the tap by which each pair of indices meets."""
    count = len(source) - 1
    kernel = connection.weight.shape[2:]
    stride, padding, dilation = (
        np.broadcast_to(np.atleast_1d(getattr(connection, name)), count).tolist()
        for name in ("stride", "padding", "dilation")
    )
    pool = connection.pool
    windows = [np.arange(size) for size in source[1:]] if pool is None else pool.windows_of(source)
    axes = []
    for k in range(count):
        window = np.asarray(windows[k])
        places = window[:, None] + padding[k] - np.arange(target[1 + k]) * stride[k]
        tap, rest = np.divmod(places, dilation[k])
        meets = (rest == 0) & (tap >= 0) & (tap < kernel[k]) & (window[:, None] >= 0)
        axes.append(Axis(source[1 + k], target[1 + k], np.where(meets, tap, -1)))
    return axes
