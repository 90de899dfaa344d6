"""`Boxes`: pieces of a population by their size alone, wherever they lie.

What such a piece needs at least is less than what any real one does, so that bounds follow from
it, and estimates of how many pieces a population needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spikeport.mapping.limits import Resource
from spikeport.mapping.plan import UNLIMITED, Plan
from spikeport.mapping.storage import Integers
from spikeport.mapping.tiling import part_counts
from spikeport.network import Shape


@dataclass(frozen=True)
class Boxes:
    """Sizes of pieces that a core may hold.

    Attributes:
        sizes: along each axis of the population, one number for each piece.
        bits: of synapse memory, at least.
        pieces: how many of them cover the population.
    """

    sizes: tuple[Integers, ...]
    bits: Integers
    pieces: Integers

    @cached_property
    def neurons(self) -> Integers:
        """Neurons of each."""
        return _product(self.sizes)

    @cached_property
    def positions(self) -> Integers:
        """Positions of each on its feature map; neurons without one."""
        return _product(self.sizes[1:] if len(self.sizes) > 1 else self.sizes)

    @cached_property
    def _by_positions(self) -> tuple[Integers, Integers]:
        """Positions in rising order, and the fewest pieces with at most so many."""
        order = np.argsort(self.positions, kind="stable")
        fewest: Integers = np.minimum.accumulate(self.pieces[order])
        return self.positions[order], fewest

    def fewest_pieces(self, most_positions: float = math.inf) -> int:
        """Pieces that cover the population if each has at most so many positions.

        Those of the fewest positions if none has so few; 0 if no piece fits a core.
        """
        positions, fewest = self._by_positions
        if not len(fewest):
            return 0
        place = int(np.searchsorted(positions, most_positions, side="right"))
        return int(fewest[max(place - 1, 0)])


def all_boxes(plan: Plan, name: str) -> Boxes:
    """Every size that a core may hold."""
    return _allowed(plan, name, _sizes(plan.shapes[name], plan.most_neurons(name)))


def even_boxes(plan: Plan, name: str) -> Boxes:
    """The sizes of the largest parts if each axis is cut into parts of nearly equal size."""
    parts = [
        np.array([-(-size // count) for count in part_counts(size)]) for size in plan.shapes[name]
    ]
    return _allowed(plan, name, tuple(one.ravel() for one in np.meshgrid(*parts, indexing="ij")))


def _allowed(plan: Plan, name: str, sizes: tuple[Integers, ...]) -> Boxes:
    shape, limits = plan.shapes[name], plan.limits
    most = limits.capacity.get(Resource.MEMORY)
    fits = _product(sizes) <= plan.most_neurons(name)
    bases = limits.storage.bases
    if bases is not None and plan.is_spatial(name):
        fits &= _product(sizes[1:]) <= bases
    sizes = tuple(one[fits] for one in sizes)
    bits = np.zeros(len(sizes[0]), np.int64)
    for encoding, count in plan.into(name).items():
        bits += count * encoding.fewest_bits(sizes)
    fits = bits <= (UNLIMITED if most is None else most.value)
    sizes, bits = tuple(one[fits] for one in sizes), bits[fits]
    pieces = _product(tuple(-(-n // one) for n, one in zip(shape, sizes, strict=True)))
    return Boxes(sizes, bits, pieces)


def _product(factors: tuple[Integers, ...]) -> Integers:
    total: NDArray[np.int64] = np.ones(1, np.int64)
    for factor in factors:
        total = total * factor
    return total


def _sizes(shape: Shape, most: int) -> tuple[Integers, ...]:
    """All sizes of boxes of at most so many neurons."""
    rows = list(_rows(shape, most))
    last = np.array([row[-1] for row in rows])
    ends = np.cumsum(last)
    first = [
        np.repeat(np.array(column), last)
        for column in zip(*(row[:-1] for row in rows), strict=True)
    ]
    return (*first, np.arange(1, ends[-1] + 1) - np.repeat(ends - last, last))


def _rows(shape: Shape, most: int) -> Iterator[tuple[int, ...]]:
    """Sizes along all axes but the last, and the largest along that."""
    first, *rest = shape
    if not rest:
        yield (min(first, most),)
        return
    for size in range(1, min(first, most) + 1):
        for others in _rows(tuple(rest), most // size):
            yield (size, *others)
