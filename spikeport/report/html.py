"""The report as one HTML page that needs nothing else: no script, no font, no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spikeport.band import LEVELS, Band
from spikeport.energy_report import EnergyReport
from spikeport.errors import BackendUnavailableError
from spikeport.parity import LadderRow, ParityReport
from spikeport.profile import HardwareProfile
from spikeport.report.headline import chip_row, exact_rows, headline
from spikeport.report.section import Section, cell_text
from spikeport.report.units import (
    format_count,
    format_energy,
    format_percent,
    format_range,
    format_time,
)


def render_html(
    report: ParityReport,
    energy: Mapping[str, EnergyReport] | None = None,
    sections: Sequence[Section] = (),
    *,
    title: str = "Spikeport parity report",
) -> str:
    """One page: verdict, ladder, accuracy, spikes, energy with its sources, versions, command.

    Args:
        energy: estimates by the name they are shown under.
        sections: further tables, such as the quantization report.

    Raises:
        BackendUnavailableError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise BackendUnavailableError(
            "the HTML report needs jinja2: pip install '.[report]'"
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spikeport.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "energy": format_energy,
        "range": format_range,
        "count": format_count,
        "percent": format_percent,
        "time": format_time,
        "cell": cell_text,
    }
    estimates = energy or {}
    profiles = {estimate.profile.name: estimate.profile for estimate in estimates.values()}
    return environment.get_template("page.html.j2").render(
        title=title,
        report=report,
        headline=headline(report),
        chip=chip_row(report) if report.rows else None,
        exact_rows=exact_rows(report),
        populations=list(dict.fromkeys(name for row in report.rows for name in row.spikes)),
        accuracy=_accuracy_chart(report.rows),
        energies=[_energy_view(name, estimate) for name, estimate in estimates.items()],
        profiles=[_profile_view(profile) for profile in profiles.values()],
        sections=sections,
        levels=LEVELS,
    )


def _accuracy_chart(rows: Sequence[LadderRow]) -> dict[str, Any]:
    """Intervals placed on an axis that ends at 100 % and starts at a round value below all."""
    lowest = min((row.accuracy.low for row in rows), default=0.0)
    start = next(s for s in (0.95, 0.9, 0.8, 0.7, 0.5, 0.0) if s <= lowest)

    def place(rate: float) -> float:
        return round(100 * (rate - start) / (1 - start), 3)

    ticks = [start + (1 - start) * k / 5 for k in range(6)]
    return {
        "ticks": [(place(tick), f"{100 * tick:g} %") for tick in ticks],
        "rows": [
            {
                "row": row,
                "left": place(row.accuracy.low),
                "width": round(place(row.accuracy.high) - place(row.accuracy.low), 3),
                "dot": place(row.accuracy.rate),
            }
            for row in rows
        ],
    }


def _energy_view(name: str, estimate: EnergyReport) -> dict[str, Any]:
    """Energies per sample, and the stacked bars of each level."""
    each = estimate.per_sample
    terms: list[dict[str, Any]] = [
        {"term": term, "energy": each(term.energy), "colour": _colour(term.name)}
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
            (entry["term"].name, part, each(band))
            for entry in dynamic
            for part, band in entry["term"].by_part.items()
        ],
    }


def _bars(entries: Sequence[Mapping[str, Any]], total: Band) -> list[dict[str, Any]]:
    """Per level its sum and the width in per cent of each part; the widest bar fills the track."""
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


_COLOURS = {
    "synapses, dense": "c1",
    "synapses, conv": "c2",
    "neuron visits": "c3",
    "neuron updates": "c4",
    "spike generation": "c5",
    "routing": "c6",
}


def _colour(term: str) -> str:
    return _COLOURS.get(term, "c7")


def _profile_view(profile: HardwareProfile) -> dict[str, Any]:
    """Every constant with the number of its source, and the numbered sources."""
    sources = {
        price.at(level).source.key: price.at(level).source
        for _, _, price in profile.prices()
        for level in LEVELS
    }
    host = profile.host_step_us
    if host is not None:
        sources[host.source.key] = host.source
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
        "host": (f"{host.value:g}", number[host.source.key]) if host else None,
        "sources": [(number[key], source) for key, source in sources.items()],
    }
