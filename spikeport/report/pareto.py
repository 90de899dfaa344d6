"""The Pareto front of accuracy and energy as one self-contained SVG image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from spikeport.report.units import format_energy
from spikeport.text import shown

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 28, 84, 66
LONGEST = 62
"""Number of characters of the title that fit on one line."""
FONT = "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
INK, MUTE, LINE, BAR, DOT, START = "#1c2024", "#666d75", "#e4e2dc", "#6fb1d6", "#21618c", "#d98a1f"

Point = Mapping[str, Any]


def draw_pareto_front(points: Sequence[Point], title: str) -> str:
    """SVG of accuracy (with its interval) over dynamic energy per sample (nominal, low to high).

    Args:
        points: at least one, as returned by `ParetoPoint.as_dict`.
    """
    axes = _Axes(points)
    body = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fbfaf7"/>',
        _text(LEFT, 32, _shortened(title), size=17, weight=600),
        _text(LEFT, 54, _legend(points[0]["test_samples"]), colour=MUTE),
        *_grid(axes),
        *_trail(axes, points),
        *(part for point in points for part in _mark(axes, point)),
        *_labels(axes, points),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="{FONT}" role="img">\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


class _Axes:
    """Maps energy (logarithmic) and accuracy (linear) to positions in the image."""

    def __init__(self, points: Sequence[Point]) -> None:
        energies = [value for point in points for value in point["energy_uj"].values() if value > 0]
        energies += [point["budget_uj"] for point in points if point["budget_uj"]]
        self.low_uj, self.high_uj = 0.85 * min(energies), 1.18 * max(energies)
        lowest = min(point["accuracy_low"] for point in points)
        self.start = next(s for s in (0.98, 0.95, 0.9, 0.8, 0.6, 0.4, 0.0) if s <= lowest)

    def x(self, energy_uj: float) -> float:
        share = math.log(energy_uj / self.low_uj) / math.log(self.high_uj / self.low_uj)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, accuracy: float) -> float:
        share = (accuracy - self.start) / (1 - self.start)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _grid(axes: _Axes) -> Iterator[str]:
    bottom = HEIGHT - BOTTOM
    for k in range(5):
        rate = axes.start + (1 - axes.start) * k / 4
        yield _line(LEFT, axes.y(rate), WIDTH - RIGHT, axes.y(rate), LINE)
        yield _text(LEFT - 8, axes.y(rate) + 4, f"{100 * rate:g} %", anchor="end", colour=MUTE)
    for tick in _ticks(axes.low_uj, axes.high_uj):
        yield _line(axes.x(tick), bottom, axes.x(tick), bottom + 5, MUTE)
        yield _text(axes.x(tick), bottom + 20, _short(tick), anchor="middle", colour=MUTE)
    yield _line(LEFT, bottom, WIDTH - RIGHT, bottom, MUTE)
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield _text(middle, HEIGHT - 18, "dynamic energy per sample", anchor="middle", colour=MUTE)


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, or steps of 1.5 if those are too few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    return found if len(found) > 1 else [low * (high / low) ** (k / 3) for k in range(4)]


def _trail(axes: _Axes, points: Sequence[Point]) -> Iterator[str]:
    """The Pareto front: every network that no other beats in both accuracy and energy."""
    best = -1.0
    kept = []
    for point in sorted(points, key=lambda p: (p["energy_uj"]["nominal"], -p["accuracy"])):
        if point["accuracy"] > best:
            best = point["accuracy"]
            kept.append(f"{axes.x(point['energy_uj']['nominal']):.1f},{axes.y(best):.1f}")
    yield (
        f'<polyline points="{" ".join(kept)}" fill="none" stroke="{DOT}" stroke-width="1.5" '
        'stroke-opacity="0.6"/>'
    )


def _mark(axes: _Axes, point: Point) -> Iterator[str]:
    """The intervals of a network, its budget as a tick on the axis, and the network itself."""
    energy = point["energy_uj"]
    x, y = axes.x(energy["nominal"]), axes.y(point["accuracy"])
    ends = (axes.x(max(value, axes.low_uj)) for value in (energy["low"], energy["high"]))
    yield _line(next(ends), y, next(ends), y, BAR, 2.5, 0.45)
    yield _line(x, axes.y(point["accuracy_low"]), x, axes.y(point["accuracy_high"]), BAR, 2.5)
    budget = point["budget_uj"]
    if budget is not None:
        place = axes.x(budget)
        yield _line(place, axes.y(axes.start) - 12, place, axes.y(axes.start), DOT, 2)
    colour = START if budget is None else DOT
    fill = "#fbfaf7" if point["met"] is False else colour
    yield (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" fill="{fill}" stroke="{colour}" '
        'stroke-width="2"/>'
    )


def _labels(axes: _Axes, points: Sequence[Point]) -> Iterator[str]:
    """The name of each network above or below its mark, where no other label is."""
    taken: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda p: p["energy_uj"]["nominal"]):
        x = axes.x(point["energy_uj"]["nominal"])
        places = axes.y(point["accuracy_high"]) - 7, axes.y(point["accuracy_low"]) + 16
        free = [y for y in places if all(abs(x - u) > 90 or abs(y - v) > 16 for u, v in taken)]
        y = (free or places)[0]
        taken.append((x, y))
        yield _text(x, y, _name(point), anchor="middle", weight=600)


def _name(point: Point) -> str:
    if point["budget_uj"] is None:
        return "no budget"
    return f"≤ {_short(point['budget_uj'])}" + ("" if point["met"] else " (missed)")


def _legend(samples: int) -> str:
    return (
        f"Accuracy on {samples} test samples, 95 % intervals. Energy: estimate, low to high. "
        "Ticks on the axis: budgets."
    )


def _shortened(title: str) -> str:
    return title if len(title) <= LONGEST else f"{title[: LONGEST - 2].rstrip()} …"


def _short(energy_uj: float) -> str:
    """'3.2 µJ', '10 µJ': as many digits as needed."""
    number, unit = format_energy(energy_uj * 1e6).split(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1, opacity: float = 1
) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}" stroke-opacity="{opacity}" stroke-linecap="round"/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 12,
    weight: int = 400,
    colour: str = INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}" fill="{colour}">{escape(shown(text))}</text>'
    )
