"""Energy and latency of a network at each stage of a ladder, side by side, and after mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from spikeport.energy import EnergyReport, Interval
from spikeport.report.section import Cell, Section, Topic, section_of

PJ_PER_UJ, NS_PER_US = 1e6, 1e3


def mapped_stage(cores: int) -> str:
    """What the estimate of a network on so many cores is called."""
    return f"after mapping onto {cores:,} core{'s' * (cores > 1)}"


def stages_section(
    energy: Mapping[str, EnergyReport], mapped: Mapping[str, EnergyReport], unmapped: str
) -> Section:
    """A table of all estimates.

    Args:
        mapped: those after mapping, by how; none for the reason `unmapped`.
    """
    rows = [dict(_row(name, found)) for name, found in {**energy, **mapped}.items()]
    section = section_of(
        "Energy per sample, µJ, and time of a step, µs, at each stage",
        rows,
        note="The same prices for all; stages on few samples differ by these, too. Without a map, "
        "a message is one packet and cores are assumed. A map takes the fewest cores, or "
        "all of the chips that these are on.",
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
    if found.profile.time_ns:
        yield "step, low", _rounded(found.step_ns, "low", NS_PER_US)
        yield "nominal step", _rounded(found.step_ns, "nominal", NS_PER_US)
        yield "high step", _rounded(found.step_ns, "high", NS_PER_US)


def _rounded(value: Interval, level: str, unit: float = PJ_PER_UJ) -> float:
    return float(f"{value.at(level) / unit:.4g}")
