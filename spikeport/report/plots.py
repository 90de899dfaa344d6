"""Plot geometry as plain data; `plots.html.j2` draws it as SVG in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from spikeport.parity import Accuracy

Values = Sequence[float | None]
"""One value for each place on the horizontal axis; None if there is none."""

WIDTH, HEIGHT = 760.0, 250.0
LEFT, RIGHT, TOP = 52.0, 16.0, 12.0
RADIUS = 3.6
LABELS = 24
"""Maximum number of labels on the horizontal axis."""
COLOURS = ("c1", "c3", "c5", "c2", "c6", "c4", "c7")


@dataclass(frozen=True, slots=True)
class Line:
    """One series: dots connected by a line."""

    name: str
    colour: str
    path: str
    dots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over named places, in SVG units; y points downwards.

    Attributes:
        summary: description of the chart in words.
        ticks: (y, text) of the vertical axis.
        labels: (x, text) of the horizontal axis.
        radius: of the dots, smaller where they are close together.
        level: y of a horizontal reference line, if there is one.
    """

    summary: str
    width: float
    height: float
    bottom: float
    tilted: bool
    ticks: tuple[tuple[float, str], ...]
    labels: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    level: float | None
    radius: float

    @property
    def dense(self) -> bool:
        """Whether the dots would cover the lines, if they had borders."""
        return self.radius < RADIUS


def line_chart(
    what: str,
    places: Sequence[str],
    series: Mapping[str, Values],
    *,
    include: Iterable[float] = (),
    level: float | None = None,
    kind: str = "layers",
) -> Chart:
    """A chart of `series` over `places`.

    Args:
        what: name of the quantity, for screen readers.
        include: values that the vertical axis must include.
        kind: what `places` are, for screen readers.
    """
    known = [value for values in series.values() for value in values if value is not None]
    edges = [*known, *include, *([] if level is None else [level])] or [0.0, 1.0]
    marks = nice_ticks(round(min(edges), 5), round(max(edges), 5))
    tilted = sum(map(len, places)) > 90
    bottom = TOP + HEIGHT

    def height_of(value: float) -> float:
        return round(bottom - HEIGHT * (value - marks[0]) / (marks[-1] - marks[0]), 2)

    gap = (WIDTH - LEFT - RIGHT) / max(len(places), 1)
    across = [round(LEFT + gap * (k + 0.5), 2) for k in range(len(places))]
    every = max(1, math.ceil(len(places) / LABELS))
    lines = []
    for index, (name, values) in enumerate(series.items()):
        dots = tuple(
            (x, height_of(value), f"{name}, {place}: {value:.4g}")
            for x, place, value in zip(across, places, values, strict=True)
            if value is not None
        )
        path = " ".join(f"{x:g},{y:g}" for x, y, _ in dots)
        lines.append(Line(name, COLOURS[index % len(COLOURS)], path, dots))
    found = f"from {min(known):.3g} to {max(known):.3g}" if known else "no values"
    return Chart(
        summary=f"{what} of {len(places)} {kind}: {found}",
        width=WIDTH,
        height=bottom + (84 if tilted else 26),
        bottom=bottom,
        tilted=tilted,
        ticks=tuple((height_of(mark), f"{mark:g}") for mark in marks),
        labels=tuple(zip(across, places, strict=True))[::every],
        lines=tuple(lines),
        level=None if level is None else height_of(level),
        radius=round(min(RADIUS, max(1.2, 0.42 * gap)), 2),
    )


def nice_ticks(low: float, high: float) -> tuple[float, ...]:
    """Round values, four to seven, the first at most `low` and the last at least `high`."""
    if high - low < 1e-9:
        low, high = low - 0.05, high + 0.05
    rough = (high - low) / 5
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    return tuple(round(k * step, 10) for k in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class Bars:
    """A small histogram: (x, y, width, height, text) of each bar within a box."""

    width: float
    height: float
    bars: tuple[tuple[float, float, float, float, str], ...]


def histogram(shares: Sequence[float], highest: float) -> Bars:
    """Histogram of the counts 0, 1, 2, ...; a bar of `highest` is as high as the box."""
    width, height = 190.0, 44.0
    edges = [width * k / len(shares) for k in range(len(shares) + 1)]
    gap = min(1.5, edges[1] / 4)
    bars = []
    for count, ((left, right), share) in enumerate(zip(pairwise(edges), shares, strict=True)):
        tall = round(height * share / highest, 2) if highest else 0.0
        text = f"{count} spikes: {100 * share:.1f} %"
        bars.append((round(left, 2), height - tall, round(right - left - gap, 2), tall, text))
    return Bars(width, height, tuple(bars))


@dataclass(frozen=True, slots=True)
class Interval:
    """An accuracy on the axis of an `IntervalChart`, in percent of its width."""

    name: str
    accuracy: Accuracy
    left: float
    width: float
    dot: float


@dataclass(frozen=True, slots=True)
class IntervalChart:
    """Accuracies with their 95 % intervals; ticks are (position in percent, text)."""

    ticks: tuple[tuple[float, str], ...]
    rows: tuple[Interval, ...]


def interval_chart(accuracies: Sequence[tuple[str, Accuracy]]) -> IntervalChart:
    """Named accuracies on an axis that ends at 100 % and starts at a round value below all."""
    lowest = min((found.low for _, found in accuracies), default=0.0)
    start = next(s for s in (0.95, 0.9, 0.8, 0.7, 0.5, 0.0) if s <= lowest)

    def place(rate: float) -> float:
        return round(100 * (rate - start) / (1 - start), 3)

    rows = []
    for name, found in accuracies:
        left = place(found.low)
        rows.append(
            Interval(name, found, left, round(place(found.high) - left, 3), place(found.rate))
        )
    ticks = [start + (1 - start) * k / 5 for k in range(6)]
    return IntervalChart(tuple((place(t), f"{100 * t:g} %") for t in ticks), tuple(rows))
