"""Figures of a report as plain data; `figures.html.j2` draws them in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, ClassVar

SINGLE = 100
"""Up to so many steps, a raster shows the spikes of consecutive steps one by one."""
SPACE = 0.4
"""Between tiles of cores, in cores."""
COLOURS = 9
"""Colours of the style sheet."""
SHADES = 5
"""Number of shades of a matrix."""
COARSE = 12
"""Up to so many classes, a matrix is a table of numbers."""


@dataclass(frozen=True, slots=True)
class Raster:
    """Spikes of some neurons over time: one row per neuron, time to the right.

    Attributes:
        neurons, of_neurons: those shown, in flat C order, and how many the population has.
        steps, of_steps: the first steps, which are shown, and T.
        spikes: per neuron, the steps in which it fired, as in `0-2,5`.
    """

    kind: ClassVar[str] = "raster"

    title: str
    neurons: tuple[int, ...]
    of_neurons: int
    steps: int
    of_steps: int
    spikes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"kind": self.kind, **asdict(self)}

    @property
    def shown(self) -> str:
        """Which part of the population and of the sample is shown."""
        some, every = len(self.neurons), self.of_neurons
        neurons = f"all {every:,} neurons" if some == every else f"{some} of {every:,} neurons"
        if self.steps == self.of_steps:
            return f"{neurons}, {self.steps:,} steps"
        return f"{neurons}, the first {self.steps:,} of {self.of_steps:,} steps"

    @property
    def path(self) -> str:
        """A cell per spike, in units of steps and rows; over many steps, one per run of them."""
        return "".join(
            f"M{first} {row}h{width:g}v.8h-{width:g}z"
            for row, text in enumerate(self.spikes)
            for first, width in self._cells(text)
        )

    def _cells(self, text: str) -> Iterator[tuple[int, float]]:
        for first, last in runs_in(text):
            if self.steps > SINGLE:
                yield first, last - first + 1
            else:
                yield from ((step, 0.9) for step in range(first, min(last + 1, self.steps)))

    @property
    def count(self) -> int:
        """Number of spikes shown."""
        return sum(last - first + 1 for text in self.spikes for first, last in runs_in(text))


@dataclass(frozen=True, slots=True)
class Mark:
    """A named value on the axis of a histogram."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often values occur, in bins from `low` on.

    Attributes:
        high: the last value of the range.
        width: of each bin.
        marks: such as a threshold.
    """

    kind: ClassVar[str] = "histogram"

    title: str
    low: float
    high: float
    width: float
    counts: tuple[int, ...]
    marks: tuple[Mark, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"kind": self.kind, **asdict(self)}

    @property
    def path(self) -> str:
        """Bars in a box of 100 by 40 units; heights are square roots: rare values stay visible."""
        largest = max((*self.counts, 1))
        width = 100 / max(len(self.counts), 1)
        return "".join(
            f"M{k * width:.4g} 40v-{max(40 * (count / largest) ** 0.5, 0.7):.3g}h{width:.4g}V40z"
            for k, count in enumerate(self.counts)
            if count
        )

    @property
    def places(self) -> tuple[tuple[str, float, float], ...]:
        """(name, value, place in percent of the width) of the marks that lie on the axis."""
        span = self.width * len(self.counts) or 1.0
        return tuple(
            (mark.name, mark.value, round(100 * (mark.value - self.low) / span, 2))
            for mark in self.marks
            if self.low <= mark.value <= self.high
        )


@dataclass(frozen=True, slots=True)
class Matrix:
    """Counts by row and column, most of which may be zero.

    Attributes:
        row, column: what the indices are.
        size: number of rows, and of columns.
        cells: (row, column, count) of the counts above zero.
    """

    kind: ClassVar[str] = "matrix"

    title: str
    row: str
    column: str
    size: int
    cells: tuple[tuple[int, int, int], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"kind": self.kind, **asdict(self)}

    @property
    def coarse(self) -> bool:
        """Whether it is small enough for a table of numbers."""
        return self.size <= COARSE

    @property
    def table(self) -> list[list[tuple[int, int]]]:
        """(count, shade 0..SHADES) of each cell; a row's largest count has the darkest shade."""
        grid = [[(0, 0)] * self.size for _ in range(self.size)]
        for row, column, count, shade in self._shaded():
            grid[row][column] = count, shade
        return grid

    @property
    def paths(self) -> list[tuple[int, str]]:
        """Per shade, a unit square per cell."""
        cells = sorted(self._shaded(), key=lambda cell: cell[3])
        return [
            (shade, "".join(f"M{column} {row}h1v1h-1z" for row, column, _, _ in some))
            for shade, some in groupby(cells, key=lambda cell: cell[3])
        ]

    def _shaded(self) -> Iterator[tuple[int, int, int, int]]:
        largest: dict[int, int] = {}
        for row, _, count in self.cells:
            largest[row] = max(count, largest.get(row, 1))
        for row, column, count in self.cells:
            if max(row, column) < self.size:
                yield row, column, count, 1 + (SHADES - 1) * count // largest[row]


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of a chip, as tiles on a mesh.

    Attributes:
        cores: of the chip.
        per_tile: cores of a tile.
        columns: tiles of a row.
        names: of populations.
        cells: (column and row of the tile, number of the core in it, index of a name, percent
            filled) of each core that is used.
    """

    kind: ClassVar[str] = "cores"

    title: str
    cores: int
    per_tile: int
    columns: int
    names: tuple[str, ...]
    cells: tuple[tuple[int, int, int, int, int], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"kind": self.kind, **asdict(self)}

    @property
    def across(self) -> int:
        """Cores of a tile next to each other."""
        return math.isqrt(self.per_tile - 1) + 1

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, in cores."""
        rows = -(-self.cores // (self.per_tile * self.columns))
        down = -(-self.per_tile // self.across)
        return self.columns * (self.across + SPACE) - SPACE, rows * (down + SPACE) - SPACE

    @property
    def outline(self) -> str:
        """A square for each core, used or not."""
        tiles, last = divmod(self.cores, self.per_tile)
        corners = [(k % self.columns, k // self.columns, self.per_tile) for k in range(tiles)]
        corners += [(tiles % self.columns, tiles // self.columns, last)] if last else []
        return "".join(
            self._bar(column, row, slot, 100)
            for column, row, count in corners
            for slot in range(count)
        )

    @property
    def paths(self) -> list[tuple[int, str, str]]:
        """(colour, name, path) of the populations on this chip."""
        parts: dict[int, str] = {}
        for column, row, slot, name, full in self.cells:
            parts[name] = parts.get(name, "") + self._bar(column, row, slot, full)
        known = ((k, path) for k, path in sorted(parts.items()) if k < len(self.names))
        return [(1 + k % COLOURS, self.names[k], path) for k, path in known]

    def _bar(self, column: int, row: int, slot: int, full: int) -> str:
        down = -(-self.per_tile // self.across)
        x = column * (self.across + SPACE) + slot % self.across
        y = row * (down + SPACE) + slot // self.across
        height = 0.9 * full / 100
        return f"M{x:.4g} {y + 0.9:.4g}v-{height:.2g}h.9v{height:.2g}z"


Figure = Raster | Histogram | Matrix | Cores
FIGURES: dict[str, type[Figure]] = {kind.kind: kind for kind in (Raster, Histogram, Matrix, Cores)}


def steps_text(steps: Sequence[int]) -> str:
    """Ascending steps as text: 0, 1, 2, 5 is `0-2,5`."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and runs[-1][1] == step - 1:
            runs[-1][1] = step
        else:
            runs.append([step, step])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def runs_in(text: str) -> Iterator[tuple[int, int]]:
    """First and last step of each run of steps in what `steps_text` returned."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield int(first), int(last or first)
