"""The report as one self-contained HTML page: no scripts, fonts or other files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spikeport.energy import LEVELS
from spikeport.parity import Criterion, LadderRow, ParityReport
from spikeport.report.document import Document
from spikeport.report.headline import chip_row, exact_rows
from spikeport.report.plots import interval_chart
from spikeport.report.section import Section, Topic, section_of
from spikeport.report.silence import silence_notes
from spikeport.report.templates import render
from spikeport.report.verdict import Level
from spikeport.text import is_web_address

HEADINGS = {
    Topic.PARITY: "Parity ladder",
    Topic.FIT: "Fit to the chip",
    Topic.ACCURACY: "Accuracy",
    Topic.ACTIVITY: "Activity",
    Topic.RANGES: "Integer ranges",
    Topic.QUANTIZATION: "Quantization",
    Topic.ENERGY: "Energy",
    Topic.MAP: "Core map",
    Topic.OTHER: "Further results",
    "sources": "Constants and sources",
    "reproduce": "Reproduce this report",
}
"""The parts of the page, in order."""
MARKS = {Level.GOOD: "✓", Level.WARN: "!", Level.BAD: "✗", Level.OPEN: "≈"}
NO_COLOUR = "c9"
"""Of a term whose file does not state a colour."""
FEW = 9
"""Further figures of a section are folded."""
LONG = 12
"""Tables of more rows are folded."""
SOME = 5
"""Further warnings are folded."""
WIDE = 8
"""Tables of more columns may be moved sideways, on a screen on which their rows are not stacked."""

Estimate = Mapping[str, Any]
"""`EnergyReport.as_dict`."""


def render_html(document: Document, *, title: str = "Spikeport report") -> str:
    """Render one page: verdict, ladder, fit, accuracy, activity, ranges, energy, sources.

    Raises:
        BackendUnavailableError: jinja2 is not installed.
    """
    report = document.parity
    profiles = {estimate["profile"]: estimate for estimate in document.shown_energy.values()}
    filled = {
        Topic.PARITY: True,
        Topic.ACCURACY: bool(report.rows),
        Topic.ACTIVITY: bool(report.spiking),
        Topic.ENERGY: bool(document.shown_energy),
        "sources": bool(profiles),
        "reproduce": True,
    }
    sections = {
        topic: document.about(topic) if isinstance(topic, Topic) else () for topic in HEADINGS
    }
    return render(
        "page.html.j2",
        title=title,
        subject=_subject(document),
        verdict=document.verdict,
        marks=MARKS,
        contents=[
            (str(topic), heading)
            for topic, heading in HEADINGS.items()
            if filled.get(topic) or sections[topic]
        ],
        report=report,
        silence=silence_notes(report),
        populations=list(dict.fromkeys(name for row in report.spiking for name in row.spikes)),
        spikes=spikes_section(report) if report.spiking else None,
        accuracy=interval_chart([(row.stage, row.accuracy) for row in report.rows]),
        energies=[_energy_view(name, found) for name, found in document.shown_energy.items()],
        profiles=[_profile_view(estimate) for estimate in profiles.values()],
        sections={str(topic): found for topic, found in sections.items()},
        reproduce=_reproduce(document),
        levels=LEVELS,
        few=FEW,
        long=LONG,
        some=SOME,
        wide=WIDE,
    )


def spikes_section(report: ParityReport) -> Section:
    """Spikes per sample of each population, before and after quantization, and what differs."""
    first, chip, exact = report.spiking[0], chip_row(report), exact_rows(report)
    changed = [row for row in report.rows if row.rule is Criterion.CHANGE]
    names = dict.fromkeys(name for row in report.rows for name in row.spikes)
    return section_of("Spikes per sample", [
        {
            "population": name,
            first.stage: _mean(first, name),
            **({} if chip is first else {chip.stage: _mean(chip, name)}),
            **({} if chip is first else {"change, %": _change(first, chip, name)}),
            **{f"differ, {row.stage}": _differing([row], name) for row in changed},
            **({"differ, integer stages": _differing(exact, name)} if exact else {}),
        }
        for name in names
    ], topic=Topic.ACTIVITY)  # fmt: skip


def _mean(row: LadderRow, name: str) -> float | None:
    return row.spikes[name] / row.accuracy.n if name in row.spikes else None


def _change(first: LadderRow, chip: LadderRow, name: str) -> float | None:
    before, after = _mean(first, name), _mean(chip, name)
    return round(100 * (after / before - 1), 2) if before and after is not None else None


def _differing(rows: Sequence[LadderRow], name: str) -> int | None:
    found = [row.difference.spikes.get(name) for row in rows if row.difference]
    known = [count for count in found if count is not None]
    return sum(known) if known else None


def _subject(document: Document) -> Iterator[str]:
    """What was deployed, in a few words."""
    if name := document.data.get("name"):
        yield f"data set {name}"
    if neurons := document.network.get("neurons"):
        yield f"{neurons:,} neurons" if isinstance(neurons, int) else f"{neurons} neurons"
    yield f"T = {document.parity.steps}"
    if document.parity.network_hash:
        yield f"network {document.parity.network_hash[:12]}"


def _reproduce(document: Document) -> list[tuple[str, Mapping[str, Any]]]:
    network = {"content_hash": document.parity.network_hash or None, **document.network}
    return [
        ("Network", network),
        ("Data", document.data),
        ("Limits of the stages", document.limits),
        ("Versions", document.parity.environment),
    ]


def _energy_view(name: str, estimate: Estimate) -> dict[str, Any]:
    """Energies per sample, and the stacked bars of each level."""

    def each(energy: Mapping[str, float]) -> dict[str, float]:
        return {level: energy[level] / estimate["samples"] for level in LEVELS}

    terms = [
        {"term": term, "energy": each(term["energy"]), "colour": term.get("colour", NO_COLOUR)}
        for term in estimate["terms"]
    ]
    dynamic = [entry for entry in terms if entry["term"]["events"] is not None]
    return {
        "name": name,
        "title": _title(estimate),
        "estimate": estimate,
        "terms": terms,
        "dynamic": each(estimate["dynamic"]),
        "total": each(estimate["total"]),
        "int8_ann": each(estimate["int8_ann"]) if estimate["int8_ann"] else None,
        "int8_what": next(
            (c.get("what", "") for c in estimate["constants"] if c["name"] == "int8_mac"), ""
        ),
        "time_ns": each(estimate["time_ns"]),
        "with_host": each(estimate["with_host"]) if estimate.get("with_host") else None,
        "quantities": list(_quantities(estimate)),
        "devices": estimate.get("comparisons", ()),
        "ann_macs": estimate.get("ann_macs_per_sample"),
        "spikes_per_synapse": _spikes_per_synapse(estimate),
        "bars": [
            ("Dynamic, by event", _bars(dynamic, each(estimate["dynamic"]))),
            ("Total, with static power", _bars(terms, each(estimate["total"]))),
        ],
        "parts": [
            (entry["term"]["name"], part, each(energy))
            for entry in dynamic
            for part, energy in entry["term"]["by_part"].items()
        ],
    }


def _quantities(estimate: Estimate) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    """Time and totals that a file states, as (name, filter, levels)."""
    samples = estimate["samples"]
    each = {level: value / samples for level, value in estimate["time_ns"].items()}
    if found := estimate.get("time_per_step_ns"):
        slowest = ", ".join(estimate.get("slowest", ()))
        yield f"Time of a step, set by {slowest}", "time", found
    if each["nominal"]:
        yield "Time of a sample", "time", each
    if found := estimate.get("time_with_host_ns"):
        whole = {level: value / samples for level, value in found.items()}
        yield "Time of a sample with a host", "time", whole
    for name, key in (
        ("Total, per step", "total_per_step"),
        ("Total, per correct answer", "total_per_correct_answer"),
    ):
        if found := estimate.get(key):
            yield name, "energy", found


def _spikes_per_synapse(estimate: Estimate) -> float | None:
    macs = estimate.get("ann_macs_per_sample") or estimate.get("macs_per_sample")
    return estimate["synaptic_events"] / estimate["samples"] / macs if macs else None


def _bars(entries: Sequence[Mapping[str, Any]], total: Mapping[str, float]) -> list[dict[str, Any]]:
    """Per level, its sum and the width of each part in percent; the widest bar fills the track."""
    longest = max(total.values()) or 1.0
    return [
        {
            "level": level,
            "sum": total[level],
            "parts": [
                (
                    entry["term"]["name"],
                    entry["colour"],
                    round(100 * entry["energy"][level] / longest, 3),
                )
                for entry in entries
            ],
        }
        for level in LEVELS
    ]


def _profile_view(estimate: Estimate) -> dict[str, Any]:
    """All constants with the numbers of their sources, and the numbered sources."""
    constants, host = estimate["constants"], estimate.get("host_step_us")
    stated = [*constants, *([host] if host else [])]
    number = {key: index for index, key in enumerate(dict.fromkeys(map(_source, stated)), start=1)}
    named: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for constant in constants:
        named.setdefault((constant["name"], constant["unit"]), []).append(constant)
    return {
        "title": _title(estimate),
        "prices": [
            {
                "name": name,
                "unit": unit,
                "what": found[0].get("what", ""),
                "constants": [_cell(found, level, number) for level in LEVELS],
            }
            for (name, unit), found in named.items()
        ],
        "host": (
            (f"{host['value']:g}", number[_source(host)])
            if host and not estimate.get("with_host")
            else None
        ),
        "sources": [
            (index, next(one for one in stated if _source(one) == key), is_web_address(key[1]))
            for key, index in number.items()
        ],
    }


def _cell(
    found: Sequence[Mapping[str, Any]], level: str, number: Mapping[tuple[Any, ...], int]
) -> tuple[str, int]:
    """The value at a level and the number of its source; a dash where it has none."""
    for one in found:
        if one["level"] == level:
            return f"{one['value']:g}", number[_source(one)]
    return "–", 0


def _source(constant: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells sources apart."""
    return tuple(constant[k] for k in ("source", "url", "basis", "conditions", "includes_static"))


def _title(estimate: Estimate) -> str:
    return str(estimate.get("title", estimate["profile"]))
