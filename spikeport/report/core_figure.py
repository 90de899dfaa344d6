"""The map onto cores, as a section of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from spikeport.mapping import CoreMap, Resource, Traffic
from spikeport.report.figures import Cores
from spikeport.report.section import Section, Topic, section_of
from spikeport.report.units import format_count

MOST_CHIPS = 16
"""Chips that are drawn."""
SHOWN = (Resource.NEURONS, Resource.MEMORY, Resource.INPUT_AXONS, Resource.OUTPUT_AXONS)


def map_section(made: CoreMap, traffic: Traffic) -> Section:
    """Cores of each population, how full they are, and the packets between them."""
    limits = {one: limit for one, limit in made.limits.capacity.items() if one in SHOWN}
    rows = []
    for name in dict.fromkeys(piece.population for piece in made.pieces):
        pieces = [piece for piece in made.pieces if piece.population == name]
        row: dict[str, str | int | float] = {"population": name, "pieces": len(pieces)}
        for one, limit in limits.items():
            fullest = max(piece.demand[one] for piece in pieces)
            row[f"{one}, %"] = round(100 * fullest / limit.value, 1)
        rows.append(row)
    drawn = min(made.chips, MOST_CHIPS)
    return section_of(
        f"{made.limits.title}, {_cores(made)}",
        rows,
        " ".join(_notes(made, traffic)),
        topic=Topic.MAP,
        figures=[_chip(made, chip) for chip in range(drawn)],
    )


def unmapped_section(title: str, why: str) -> Section:
    """The reason why there is no map."""
    return section_of(title, (), f"No map was made: {why}.", topic=Topic.MAP)


def _cores(made: CoreMap) -> str:
    used = len(made.cores)
    return (
        f"{used:,} core{'s' * (used > 1)} on {made.chips} chip{'s' * (made.chips > 1)} with "
        f"{made.limits.cores.value} cores"
    )


def _notes(made: CoreMap, traffic: Traffic) -> Iterator[str]:
    yield (
        f"A heuristic map; no map of such pieces needs fewer cores than {made.lower_bound:,}, "
        f"this one has {made.gap:.0%} more. A square is a core, filled as far as its scarcest "
        "resource is needed, in the colour of the population that needs most of it. The table "
        "shows the fullest piece of each population, in percent of a core."
    )
    if traffic.packets:
        yield (
            f"Over {traffic.basis}: {format_count(round(traffic.packets))} packets between pieces, "
            f"{traffic.hops_per_packet:.2f} hops each, "
            f"{traffic.between_tiles / traffic.packets:.1%} of them to another tile."
        )
    if made.chips > MOST_CHIPS:
        yield f"The first {MOST_CHIPS} of {made.chips} chips are drawn."
    unverified = [name for name, limit in made.limits.stated.items() if not limit.verified]
    if unverified:
        yield f"Limits that are not verified: {', '.join(unverified)}."


def _chip(made: CoreMap, chip: int) -> Cores:
    mesh, names = made.limits.mesh, list(dict.fromkeys(p.population for p in made.pieces))
    taken: Counter[tuple[int, int]] = Counter()
    cells = []
    for core in (core for core in made.cores if core.chip == chip):
        slot = taken[core.column, core.row]
        taken[core.column, core.row] += 1
        most = max(
            (made.pieces[k] for k in core.pieces), key=lambda piece: made.share(piece.demand)
        )
        full = min(100, round(100 * made.share(core.usage)))
        cells.append((core.column, core.row, slot, names.index(most.population), full))
    return Cores(
        title=f"Chip {chip + 1}",
        cores=made.limits.cores.value,
        per_tile=mesh.cores_per_tile,
        columns=mesh.tiles_per_row,
        names=tuple(names),
        cells=tuple(cells),
    )
