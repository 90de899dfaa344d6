"""A map onto cores as a picture: tiles of cores, coloured by population, as full as they are."""

from __future__ import annotations

import colorsys
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from spikeport.errors import InputError
from spikeport.mapping import Core, CoreMap, Resource
from spikeport.report.templates import render
from spikeport.text import shown

CORE, GAP, TILE_GAP, MARGIN = 20, 2, 6, 16
"""Side of a core, and spaces between cores, between tiles and around the picture, in pixels."""
HEADING, LABEL, ROW = 52, 20, 18
"""Height of the heading, of a chip's name, and of a row of the legend."""
CHARACTER = 7.3
"""Width of a character of text."""
LEAST_WIDTH = 640
MOST_CORES = 32768
"""Cores that are drawn, used or not."""
GOLDEN = 0.618
"""Share of the circle between the hues of populations that follow each other."""
LONGEST = 28
"""Characters of a name."""


Corner = Callable[[int, int, int], tuple[float, float]]
"""Where a tile is drawn, given its chip, column and row."""


@dataclass(frozen=True, slots=True)
class Label:
    """A line of text."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Square:
    """A tile."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """What a population fills of a core."""

    population: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class DrawnCore:
    """A core, with its tooltip; without bars if it is not used."""

    x: float
    y: float
    size: float
    text: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """A row of the legend."""

    x: float
    y: float
    text: str
    colour: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything with its place in pixels."""

    width: float
    height: float
    margin: float
    heading: str
    caption: str
    labels: tuple[Label, ...]
    tiles: tuple[Square, ...]
    cores: tuple[DrawnCore, ...]
    legend: tuple[Key, ...]


def draw_core_map(made: CoreMap, title: str = "") -> str:
    """Draw a map as SVG: the tiles of each chip, and how full each core is.

    A core is filled as far as its scarcest resource is needed. Colours follow the viewer's choice
    of light or dark.

    Args:
        title: heading; by default the target.

    Raises:
        InputError: the chips have more than 32,768 cores.
        BackendUnavailableError: jinja2 is not installed.
    """
    heading = shown(title) or made.limits.title
    return render("core_map.svg.j2", drawing=_layout(made, heading), title=heading)


def _layout(made: CoreMap, heading: str) -> Drawing:
    mesh = made.limits.mesh
    if (every_core := made.chips * made.limits.cores.value) > MOST_CORES:
        raise InputError(f"map: {every_core} cores to draw, must be at most {MOST_CORES}")
    tiles = math.ceil(made.limits.cores.value / mesh.cores_per_tile)
    columns, rows = mesh.tiles_per_row, math.ceil(tiles / mesh.tiles_per_row)
    across = math.ceil(math.sqrt(mesh.cores_per_tile))
    down = math.ceil(mesh.cores_per_tile / across)
    tile_width, tile_height = (n * (CORE + GAP) + GAP for n in (across, down))
    chip_width = columns * (tile_width + TILE_GAP) - TILE_GAP
    chip_height = LABEL + rows * (tile_height + TILE_GAP) + TILE_GAP
    abreast = max(1, math.ceil(math.sqrt(made.chips * chip_height / chip_width)))
    width = max(LEAST_WIDTH, abreast * (chip_width + 2 * MARGIN))
    populations = list(dict.fromkeys(piece.population for piece in made.pieces))

    def corner(chip: int, column: int, row: int) -> tuple[float, float]:
        down_, along = divmod(chip, abreast)
        x = MARGIN + along * (chip_width + 2 * MARGIN) + column * (tile_width + TILE_GAP)
        y = HEADING + down_ * chip_height + LABEL + row * (tile_height + TILE_GAP)
        return x, y

    def place(chip: int, column: int, row: int, number: int) -> tuple[float, float]:
        x, y = corner(chip, column, row)
        below, right = divmod(number, across)
        return x + GAP + right * (CORE + GAP), y + GAP + below * (CORE + GAP)

    drawn, taken = [], Counter[tuple[int, int, int]]()
    for core in made.cores:
        tile = (core.chip, core.column, core.row)
        drawn.append(_core(made, core, populations, *place(*tile, taken[tile])))
        taken[tile] += 1
    every = [
        (chip, tile % columns, tile // columns) for chip in range(made.chips)
        for tile in range(tiles)
    ]  # fmt: skip
    for chip, column, row in every:
        index = row * columns + column
        here = min(mesh.cores_per_tile, made.limits.cores.value - index * mesh.cores_per_tile)
        for number in range(taken[chip, column, row], here):
            drawn.append(DrawnCore(*place(chip, column, row, number), CORE, "", ()))
    bottom = HEADING + math.ceil(made.chips / abreast) * chip_height + ROW
    legend = tuple(_legend(made, populations, width, bottom))
    return Drawing(
        width=width,
        height=max(row.y for row in legend) + MARGIN,
        margin=MARGIN,
        heading=heading,
        caption=_caption(made),
        labels=tuple(_labels(made, corner)),
        tiles=tuple(Square(*corner(*one), tile_width, tile_height) for one in every),
        cores=tuple(drawn),
        legend=legend,
    )


def _caption(made: CoreMap) -> str:
    cores = f"{len(made.cores)} core{'s' * (len(made.cores) > 1)}"
    chips = f"{made.chips} chip{'s' * (made.chips > 1)} of {made.limits.cores.value}"
    return f"{cores} on {chips}; filled as far as the scarcest resource"


def _labels(made: CoreMap, corner: Corner) -> Iterator[Label]:
    if made.chips == 1:
        return
    for chip in range(made.chips):
        x, y = corner(chip, 0, 0)
        yield Label(x, y - 6, f"chip {chip + 1}")


def _core(made: CoreMap, core: Core, populations: list[str], x: float, y: float) -> DrawnCore:
    pieces = [made.pieces[number] for number in core.pieces]
    shares = [made.share(piece.demand) for piece in pieces]
    scale = made.share(core.usage) / sum(shares) * CORE
    bars, top = [], y + CORE
    for piece, share in zip(pieces, shares, strict=True):
        height = share * scale
        top -= height
        number = populations.index(piece.population)
        bars.append(Bar(number, round(top, 2), round(height, 2)))
    held = ", ".join(f"{piece.population}: {piece.neurons} neurons" for piece in pieces)
    needs = ", ".join(
        f"{one} {core.usage[one] / limit.value:.0%}"
        for one, limit in made.limits.capacity.items()
        if one not in (Resource.NEURONS, Resource.PIECES)
    )
    return DrawnCore(x, y, CORE, f"{held}{'; ' * bool(needs)}{needs}", tuple(bars))


def _legend(made: CoreMap, populations: list[str], width: float, bottom: float) -> Iterator[Key]:
    held = Counter(
        name
        for core in made.cores
        for name in {made.pieces[number].population for number in core.pieces}
    )
    texts = [f"{_cut(name)}: {held[name]} core{'s' * (held[name] > 1)}" for name in populations]
    column = max(map(len, texts)) * CHARACTER + 40
    count = max(1, int((width - 2 * MARGIN) // column))
    for number, text in enumerate(texts):
        below, along = divmod(number, count)
        yield Key(MARGIN + along * column, bottom + below * ROW, text, _colour(number))


def _colour(number: int) -> str:
    """A hue for each population; neighbours differ much."""
    hue = (0.58 + number * GOLDEN) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, 0.42 + 0.16 * (number % 3) / 2, 0.62)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _cut(name: str) -> str:
    text = shown(name)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
