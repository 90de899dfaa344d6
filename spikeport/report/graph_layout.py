"""Layered layout of a directed graph, as plain data; `graph.svg.j2` draws it.

The method is that of Sugiyama, Tagawa and Toda (IEEE Trans. SMC 11, 1981): edges that close a cycle
are reversed, every box is put below its sources, edges over several layers get a place in each, and
the boxes of a layer are ordered by the mean position of their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

CHARACTER, LINE = 6.7, 16.0
"""Width of a character and height of a line, in SVG units."""
PADDING, MARGIN, GAP = 12.0, 24.0, 28.0
BETWEEN = 34.0
"""Height between two layers."""
LOOP = 26.0
BESIDE = 14.0
"""Distance of an edge that points upwards from the middle of its boxes."""
BEND = 6.0
"""Width of an edge that passes a layer."""
SWEEPS = 8


@dataclass(frozen=True, slots=True)
class Box:
    """A box of the drawing.

    Attributes:
        key: by which edges refer to it.
        lines: of text; the first is its name.
        kind: class of its style.
    """

    key: str
    lines: tuple[str, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """An edge between two boxes, by their keys; `late` if it arrives in a later step."""

    start: str
    end: str
    late: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """A box in its place: the upper left corner, width and height."""

    box: Box
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """x of its centre."""
        return self.x + self.width / 2

    @property
    def rows(self) -> tuple[tuple[float, str], ...]:
        """Baseline and text of each line."""
        top = self.y + PADDING / 2 + LINE * 0.75
        return tuple((round(top + LINE * i, 1), text) for i, text in enumerate(self.box.lines))


@dataclass(frozen=True, slots=True)
class Drawn:
    """An edge as an SVG path; `late` if it arrives in a later step or closes a cycle."""

    arrow: Arrow
    path: str
    late: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing of `width` x `height` SVG units; y points downwards."""

    width: float
    height: float
    boxes: tuple[Placed, ...]
    edges: tuple[Drawn, ...]


_Place = tuple[str, int]
"""A box and -1; or an edge, by its ends and number, and the layer that it passes."""


def layout(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> Layout:
    """Place boxes and edges; every edge must start and end at a box."""
    names = [box.key for box in boxes]
    by_name = {box.key: box for box in boxes}
    forward = _forward(names, arrows)
    layer = _layers(names, forward)
    rows: list[list[_Place]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for name in names:
        rows[layer[name]].append((name, -1))
    chains: list[list[_Place]] = []
    for index, (above, below) in enumerate(forward):
        passed: list[_Place] = (
            [(f"{index}", at) for at in range(layer[above] + 1, layer[below])]
            if above != below
            else []
        )
        for place in passed:
            rows[place[1]].append(place)
        chains.append([(above, -1), *passed, (below, -1)])
    _order(rows, chains)
    placed, bends = _coordinates(rows, by_name, {a.start for a in arrows if a.start == a.end})
    edges = tuple(
        _drawn(arrow, chain, placed, bends, reverse=arrow.start != above)
        for arrow, chain, (above, _) in zip(arrows, chains, forward, strict=True)
    )
    width = max((p.x + p.width + LOOP for p in placed.values()), default=0.0)
    height = max((p.y + p.height for p in placed.values()), default=0.0)
    return Layout(
        round(width + MARGIN, 1), round(height + MARGIN, 1), tuple(placed.values()), edges
    )


def _forward(names: Sequence[str], arrows: Iterable[Arrow]) -> list[tuple[str, str]]:
    """The ends of each edge from above to below: those that close a cycle are reversed.

    A depth-first search from the boxes in their order finds the edges that lead back.
    """
    targets: dict[str, list[str]] = {name: [] for name in names}
    for arrow in arrows:
        targets[arrow.start].append(arrow.end)
    state: dict[str, int] = {}
    back: set[tuple[str, str]] = set()
    for root in names:
        stack = [(root, iter(targets[root]))] if root not in state else []
        if stack:
            state[root] = 1
        while stack:
            name, rest = stack[-1]
            for target in rest:
                if state.get(target) == 1:
                    back.add((name, target))
                elif target not in state:
                    state[target] = 1
                    stack.append((target, iter(targets[target])))
                    break
            else:
                state[name] = 2
                stack.pop()
    return [(a.end, a.start) if (a.start, a.end) in back else (a.start, a.end) for a in arrows]


def _layers(names: Sequence[str], forward: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The layer of each box: one below the lowest of its sources."""
    sources: dict[str, list[str]] = {name: [] for name in names}
    targets: dict[str, list[str]] = {name: [] for name in names}
    for above, below in forward:
        if above != below:
            sources[below].append(above)
            targets[above].append(below)
    waiting = {name: len(sources[name]) for name in names}
    ready = [name for name in names if not waiting[name]]
    layer = dict.fromkeys(names, 0)
    for name in ready:  # grows
        for target in targets[name]:
            layer[target] = max(layer[target], layer[name] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return layer


def _order(rows: list[list[_Place]], chains: Iterable[Sequence[_Place]]) -> None:
    """Sort each layer by the mean position of its neighbours, downwards and upwards in turn."""
    above: dict[_Place, list[_Place]] = {}
    below: dict[_Place, list[_Place]] = {}
    for chain in chains:
        for upper, lower in pairwise(chain):
            if upper != lower:
                below.setdefault(upper, []).append(lower)
                above.setdefault(lower, []).append(upper)
    for sweep in range(SWEEPS):
        neighbours, order = (above, rows) if sweep % 2 == 0 else (below, rows[::-1])
        for before, row in pairwise(order):
            at = {place: index / max(len(before) - 1, 1) for index, place in enumerate(before)}
            own = {place: index / max(len(row) - 1, 1) for index, place in enumerate(row)}
            row.sort(key=lambda place: _mean(neighbours.get(place, ()), at, own[place]))


def _mean(places: Iterable[_Place], at: Mapping[_Place, float], otherwise: float) -> float:
    known = [at[place] for place in places if place in at]
    return sum(known) / len(known) if known else otherwise


def _coordinates(
    rows: Sequence[Sequence[_Place]], by_name: Mapping[str, Box], looped: set[str]
) -> tuple[dict[str, Placed], dict[_Place, tuple[float, float, float]]]:
    """Boxes in their place, and (x, top, bottom) of each edge that passes a layer."""
    placed: dict[str, Placed] = {}
    bends: dict[_Place, tuple[float, float, float]] = {}

    def width_of(place: _Place) -> float:
        if place[1] >= 0:
            return BEND
        lines = by_name[place[0]].lines
        return 2 * PADDING + CHARACTER * max(map(len, lines)) + LOOP * (place[0] in looped)

    spans = [sum(map(width_of, row)) + GAP * (len(row) - 1) for row in rows]
    widest = max(spans, default=0.0)
    y = MARGIN
    for row, span in zip(rows, spans, strict=True):
        x = MARGIN + (widest - span) / 2
        lines = max((len(by_name[name].lines) for name, at in row if at < 0), default=1)
        height = PADDING + LINE * lines
        for place in row:
            width = width_of(place)
            if place[1] < 0:
                box = by_name[place[0]]
                own = PADDING + LINE * len(box.lines)
                width -= LOOP * (place[0] in looped)
                top = y + (height - own) / 2
                placed[box.key] = Placed(box, round(x, 1), round(top, 1), round(width, 1), own)
                width += LOOP * (place[0] in looped)
            else:
                bends[place] = (round(x + BEND / 2, 1), y, y + height)
            x += width + GAP
        y += height + BETWEEN
    return placed, bends


def _drawn(
    arrow: Arrow,
    chain: Sequence[_Place],
    placed: Mapping[str, Placed],
    bends: Mapping[_Place, tuple[float, float, float]],
    *,
    reverse: bool,
) -> Drawn:
    """The path of an edge, from its start to its end."""
    first, last = placed[chain[0][0]], placed[chain[-1][0]]
    if arrow.start == arrow.end:
        right, top, bottom = first.x + first.width, first.y + 6, first.y + first.height - 6
        out = right + LOOP
        path = f"M{right:g},{bottom:g} C{out:g},{bottom:g} {out:g},{top:g} {right:g},{top:g}"
        return Drawn(arrow, path, late=True)
    aside = BESIDE if reverse else 0.0
    points = [(first.middle + aside, first.y + first.height)]
    for place in chain[1:-1]:
        x, top, bottom = bends[place]
        points += [(x, top), (x, bottom)]
    points.append((last.middle + aside, last.y))
    if reverse:
        points = points[::-1]
    steps = [f"M{points[0][0]:g},{points[0][1]:g}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        half = (y + to_y) / 2
        steps.append(f"C{x:g},{half:g} {to_x:g},{half:g} {to_x:g},{to_y:g}")
    return Drawn(arrow, " ".join(steps), late=reverse or arrow.late)
