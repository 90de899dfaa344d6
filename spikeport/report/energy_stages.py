"""The energy of a network at each stage of a ladder, side by side, and after mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from spikeport.energy import EnergyReport, Interval
from spikeport.report.section import Cell, Section, Topic, section_of

PJ_PER_UJ = 1e6
MAPPED = "after mapping"


def stages_section(
    energy: Mapping[str, EnergyReport], mapped: EnergyReport | None, unmapped: str
) -> Section:
    """A table of all estimates.

    Args:
        mapped: the estimate after mapping; None for the reason `unmapped`.
    """
    rows = [dict(_row(name, found)) for name, found in energy.items()]
    if mapped is not None:
        rows.append(dict(_row(MAPPED, mapped)))
    section = section_of(
        "Energy per sample at each stage, µJ",
        rows,
        note="The same prices for all; stages on few samples differ by these, too. Without a map, "
        "a message is one packet and cores are assumed.",
        topic=Topic.ENERGY,
    )
    return replace(section, warnings=(f"Not mapped: {unmapped}",) if unmapped else ())


def _row(name: str, found: EnergyReport) -> Iterator[tuple[str, Cell]]:
    yield "stage", name
    yield "samples", found.samples
    dynamic, total = (found.per_sample(energy) for energy in (found.dynamic, found.total))
    yield "dynamic, low", _rounded(dynamic, "low")
    yield "nominal", _rounded(dynamic, "nominal")
    yield "high", _rounded(dynamic, "high")
    yield "total, low", _rounded(total, "low")
    yield "nominal total", _rounded(total, "nominal")
    yield "high total", _rounded(total, "high")


def _rounded(energy: Interval, level: str) -> float:
    return float(f"{energy.at(level) / PJ_PER_UJ:.4g}")
