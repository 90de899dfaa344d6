"""The report as one self-contained HTML page: no scripts, fonts or other files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spikeport.energy import LEVELS, EnergyReport, HardwareProfile, Interval
from spikeport.parity import ParityReport
from spikeport.report.headline import chip_row, exact_rows, headline
from spikeport.report.plots import interval_chart
from spikeport.report.section import Section
from spikeport.report.silence import silence_notes
from spikeport.report.templates import render
from spikeport.text import is_web_address


def render_html(
    report: ParityReport,
    energy: Mapping[str, EnergyReport] | None = None,
    sections: Sequence[Section] = (),
    *,
    title: str = "Spikeport parity report",
) -> str:
    """Render one page: verdict, ladder, accuracy, spikes, energy, sources, versions, command.

    Args:
        energy: estimates by the names under which they are shown.
        sections: further tables, such as the quantization report.

    Raises:
        BackendUnavailableError: jinja2 is not installed.
    """
    estimates = energy or {}
    profiles = {estimate.profile.name: estimate.profile for estimate in estimates.values()}
    return render(
        "page.html.j2",
        title=title,
        report=report,
        headline=headline(report),
        chip=chip_row(report) if report.rows else None,
        exact_rows=exact_rows(report),
        silence=silence_notes(report),
        populations=list(dict.fromkeys(name for row in report.rows for name in row.spikes)),
        accuracy=interval_chart([(row.stage, row.accuracy) for row in report.rows]),
        energies=[_energy_view(name, estimate) for name, estimate in estimates.items()],
        profiles=[_profile_view(profile) for profile in profiles.values()],
        sections=sections,
        levels=LEVELS,
    )


def _energy_view(name: str, estimate: EnergyReport) -> dict[str, Any]:
    """Energies per sample, and the stacked bars of each level."""
    each = estimate.per_sample
    terms: list[dict[str, Any]] = [
        {"term": term, "energy": each(term.energy), "colour": term.colour}
        for term in estimate.terms
    ]
    dynamic = [entry for entry in terms if entry["term"].events is not None]
    return {
        "name": name,
        "estimate": estimate,
        "terms": terms,
        "dynamic": each(estimate.dynamic),
        "total": each(estimate.total),
        "int8_ann": each(estimate.int8_ann) if estimate.int8_ann else None,
        "time_ns": each(estimate.time_ns),
        "bars": [
            ("Dynamic, by event", _bars(dynamic, each(estimate.dynamic))),
            ("Total, with static power", _bars(terms, each(estimate.total))),
        ],
        "parts": [
            (entry["term"].name, part, each(interval))
            for entry in dynamic
            for part, interval in entry["term"].by_part.items()
        ],
    }


def _bars(entries: Sequence[Mapping[str, Any]], total: Interval) -> list[dict[str, Any]]:
    """Per level, its sum and the width of each part in percent; the widest bar fills the track."""
    longest = max(total.as_dict().values()) or 1.0
    return [
        {
            "level": level,
            "sum": total.as_dict()[level],
            "parts": [
                (
                    entry["term"].name,
                    entry["colour"],
                    round(100 * entry["energy"].as_dict()[level] / longest, 3),
                )
                for entry in entries
            ],
        }
        for level in LEVELS
    ]


def _profile_view(profile: HardwareProfile) -> dict[str, Any]:
    """All constants with the numbers of their sources, and the numbered sources."""
    sources = {
        price.at(level).source.key: price.at(level).source
        for _, _, price in profile.prices()
        for level in LEVELS
    }
    number = {key: index for index, key in enumerate(sources, start=1)}
    return {
        "profile": profile,
        "prices": [
            {
                "name": name,
                "unit": unit,
                "what": price.what,
                "constants": [
                    (f"{price.at(k).value:g}", number[price.at(k).source.key]) for k in LEVELS
                ],
            }
            for name, unit, price in profile.prices()
        ],
        "sources": [
            (number[key], source, is_web_address(source.url)) for key, source in sources.items()
        ],
    }
