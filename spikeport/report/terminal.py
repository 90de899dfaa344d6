"""The report for a terminal; the caller prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spikeport.energy import EnergyReport
from spikeport.parity import LadderRow, ParityReport
from spikeport.report.energy_tables import render_energy
from spikeport.report.fit import Fit
from spikeport.report.screen import (
    Fitted,
    Renderable,
    Table,
    assemble,
    lines,
    plain,
    stack,
)
from spikeport.report.section import Section, cell_text
from spikeport.report.silence import silence_notes
from spikeport.report.units import (
    format_change,
    format_count,
    format_percent,
    format_range,
)
from spikeport.report.verdict import Level, Verdict, verdict_of

NARROW = 95
"""On a screen of fewer columns, accuracies and energies take two lines each."""
MANY = 24
"""Spikes of more populations are shown only together; each has a column otherwise."""
_LEVELS = {
    Level.GOOD: "bold green",
    Level.WARN: "bold yellow",
    Level.BAD: "bold red",
    Level.OPEN: "bold",
}


def render_terminal(
    report: ParityReport,
    energy: Mapping[str, EnergyReport] | None = None,
    fit: Fit | None = None,
    mapped: Mapping[str, EnergyReport] | None = None,
) -> Renderable:
    """Ladder, what failed or was skipped, spikes, energy estimates, and the verdict.

    Args:
        energy: estimates to show in detail.
        mapped: after mapping in other ways, which the verdict states beside the first of these.
    """
    parts: list[Renderable] = [Fitted(lambda width: _ladder(report, width))]
    parts += [
        assemble((f"{row.stage}: ", "bold"), row.verdict, style="red")
        for row in report.rows
        if not row.passed
    ]
    parts += [
        assemble(
            (f"{stage.stage}: ", "bold"), f"{stage.outcome}: {stage.reason}",
            f". To fix: {stage.fix}" if stage.fix else "",
            style="yellow",
        )
        for stage in report.skipped
    ]  # fmt: skip
    parts += [plain(f"! {note}", "yellow") for note in silence_notes(report)]
    parts.append(_spikes(report))
    parts += [render_energy(name, estimate) for name, estimate in (energy or {}).items()]
    known = {**(energy or {}), **(mapped or {})}
    priced = {name: estimate.as_dict() for name, estimate in known.items()}
    return stack(*parts, render_verdict(verdict_of(report, fit, priced)))


def render_verdict(verdict: Verdict) -> Renderable:
    """The verdict and the claims behind it."""
    table = Table(framed=False, header=False)
    table.add_column(style="bold")
    table.add_column()
    for claim in verdict.claims:
        answer = plain(claim.answer, _LEVELS[claim.level])
        table.add_row(claim.question, lines([answer, *claim.details]))
    return stack(plain(verdict.headline, _LEVELS[verdict.level]), table)


def render_section(section: Section) -> Renderable:
    """An additional table with its note."""
    table = Table(section.title, framed=False)
    for column, numeric in zip(section.columns, section.numeric, strict=True):
        table.add_column(column, justify="right" if numeric else "left")
    for row in section.rows:
        table.add_row(*map(cell_text, row))
    warnings = [plain(f"! {warning}", "yellow") for warning in section.warnings]
    return stack(table, plain(section.note, "dim"), *warnings)


def _ladder(report: ParityReport, width: int) -> Table:
    title = f"Parity ladder   T = {report.steps}   network {report.network_hash[:12]}"
    table = Table(title, framed=False, tight=True)
    broken = width < NARROW
    table.add_column("Stage")
    table.add_column(lines(["Accuracy", "[95 %]"]) if broken else "Accuracy [95 %]", no_wrap=True)
    for name in ("n", "Spikes differ", "Predictions differ"):
        table.add_column(name, justify="right")
    heading = ["Energy per", "sample", "(no map)"] if broken else ["Energy per sample", "(no map)"]
    table.add_column(lines(heading), no_wrap=True)
    table.add_column("Verdict", max_width=20)
    for row in report.rows:
        low, high = 100 * row.accuracy.low, 100 * row.accuracy.high
        accuracy = [format_percent(row.accuracy.rate), f"[{low:.1f}, {high:.1f}]"]
        energy = "–" if row.energy_pj is None else format_range(row.energy_pj)
        table.add_row(
            row.stage,
            lines(accuracy) if broken else " ".join(accuracy),
            str(row.accuracy.n),
            _differing_spikes(row),
            _differing_predictions(row),
            lines(_in_two(energy)) if broken else energy,
            plain(row.verdict if row.passed else "FAILED", _style(row)),
        )
    return table


def _in_two(energy: str) -> list[str]:
    """'3.20 (0.54–9.10) µJ' as '3.20 µJ' and '0.54–9.10'."""
    nominal, *rest = energy.split(" ")
    return [f"{nominal} {rest[1]}", rest[0].strip("()")] if rest else [nominal]


def _differing_spikes(row: LadderRow) -> str:
    """Differing spikes of all populations; empty in the first row, a dash if unknown."""
    if row.difference is None:
        return ""
    total = row.difference.total_spikes
    return "–" if total is None else format_count(total)


def _differing_predictions(row: LadderRow) -> str:
    """Differing predictions; a dash if no sample has a decided class."""
    if row.difference is None:
        return ""
    return "–" if row.undecided else str(row.difference.predictions)


def _style(row: LadderRow) -> str:
    if not row.passed:
        return "bold red"
    return "green" if row.identical else ""


def _spikes(report: ParityReport) -> Table:
    names = list(dict.fromkeys(name for row in report.spiking for name in row.spikes))
    if len(names) > MANY:
        title = f"Spikes per sample; the report has those of each of {len(names)} populations"
        each = {"all populations": tuple(names)}
    else:
        title, each = "Spikes per sample", {name: (name,) for name in names}
    table = Table(title, framed=False)
    table.add_column("Stage", max_width=24)
    for name in [*each, "synaptic events", "spikes vs. training", "accuracy vs. training"]:
        table.add_column(name, justify="right")
    for row in report.spiking:
        events = row.synaptic_events
        table.add_row(
            row.stage,
            *(_mean(row, parts) for parts in each.values()),
            "–" if events is None else format_count(events / row.accuracy.n),
            *_drift(row),
        )
    return table


def _mean(row: LadderRow, names: Sequence[str]) -> str:
    """Spikes per sample of these populations together; a dash if not all were counted."""
    if row.sampled:
        return "–"
    known = [row.spikes[name] for name in names if name in row.spikes]
    return format_count(sum(known) / row.accuracy.n) if known else "–"


def _drift(row: LadderRow) -> tuple[str, str]:
    """Change of spikes and accuracy against training; empty in the row of training itself."""
    if row.drift is None:
        return "", ""
    change = row.drift.spike_change
    return format_change(change), f"{row.drift.points:+.2f} points"
