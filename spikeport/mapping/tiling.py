"""`Tiling`: a population cut along each of its axes into the pieces that cores hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from spikeport.network import Shape

Box = tuple[tuple[int, int], ...]
"""First and last + 1 index of a piece along each axis."""
Edges = tuple[int, ...]
"""Where the parts of an axis begin, and the end of the last."""


@dataclass(frozen=True)
class Tiling:
    """The pieces of a population, in C order of their parts along each axis."""

    shape: Shape
    edges: tuple[Edges, ...]

    @classmethod
    def whole(cls, shape: Shape) -> Tiling:
        """A single piece."""
        return cls(shape, tuple((0, size) for size in shape))

    @classmethod
    def finest(cls, shape: Shape) -> Tiling:
        """A piece for each neuron."""
        return cls(shape, tuple(tuple(range(size + 1)) for size in shape))

    @cached_property
    def parts(self) -> Shape:
        """Number of parts along each axis."""
        return tuple(len(edges) - 1 for edges in self.edges)

    @property
    def count(self) -> int:
        """Number of pieces."""
        return math.prod(self.parts)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Neurons of each piece."""
        return self.product([np.diff(edges) for edges in self.edges])

    @cached_property
    def largest(self) -> int:
        """Neurons of the largest piece."""
        return math.prod(int(np.diff(edges).max()) for edges in self.edges)

    @property
    def boxes(self) -> Iterator[Box]:
        """The pieces."""
        return product(*(pairwise(edges) for edges in self.edges))

    def product(self, per_part: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        """Products of one number for each part of each axis, for every piece."""
        total: NDArray[np.int64] = np.ones(1, np.int64)
        for numbers in per_part:
            total = np.multiply.outer(total, numbers).ravel()
        return total

    def membership(self, axis: int) -> NDArray[np.float64]:
        """1 where an index along an axis belongs to a part, (size, parts)."""
        places = np.arange(self.shape[axis])
        edges = np.asarray(self.edges[axis])
        inside = (places[:, None] >= edges[:-1]) & (places[:, None] < edges[1:])
        return inside.astype(np.float64)

    @cached_property
    def piece_of(self) -> NDArray[np.int64]:
        """The piece of each neuron, in C order."""
        index: NDArray[np.int64] = np.zeros(1, np.int64)
        for edges in self.edges:
            part = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
            index = (index[:, None] * (len(edges) - 1) + part).ravel()
        return index


def tilings(shape: Shape, *, columns_power_of_two: bool = False) -> Iterator[Tiling]:
    """All tilings into parts of nearly equal size along each axis.

    Of those with equally large parts along an axis, only that with the fewest.

    Args:
        columns_power_of_two: parts of the last axis of a feature map have a power of two of
            columns, except for the last part.
    """
    options = [[_even(size, parts) for parts in part_counts(size)] for size in shape]
    if columns_power_of_two and len(shape) > 1:
        options[-1] = _powers_of_two(shape[-1])
    for edges in product(*options):
        yield Tiling(shape, edges)


def part_counts(size: int) -> list[int]:
    """The fewest parts of nearly equal size for each size of the largest of them."""
    largest = sorted({-(-size // parts) for parts in range(1, size + 1)}, reverse=True)
    return [-(-size // most) for most in largest]


def _even(size: int, parts: int) -> Edges:
    return tuple(part * size // parts for part in range(parts + 1))


def _powers_of_two(size: int) -> list[Edges]:
    widths = [1 << k for k in range(size.bit_length())]
    return [(*range(0, size, width), size) for width in reversed(widths)]
