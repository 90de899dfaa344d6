"""The report for a terminal of 100 columns; the caller prints it."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from spikeport.energy_report import EnergyReport
from spikeport.parity import LadderRow, ParityReport
from spikeport.report.headline import headline
from spikeport.report.section import Section, cell_text
from spikeport.report.silence import silence_notes
from spikeport.report.units import format_count, format_energy, format_percent, format_range


def render_terminal(
    report: ParityReport, energy: Mapping[str, EnergyReport] | None = None
) -> RenderableType:
    """Ladder, what failed or was skipped, spikes per population and the energy estimates."""
    parts: list[RenderableType] = [_ladder(report)]
    parts += [
        Text.assemble((f"{row.stage}: ", "bold"), row.verdict, style="red")
        for row in report.rows
        if not row.passed
    ]
    parts += [
        Text.assemble(
            (f"{stage.stage}: ", "bold"), f"not run: {stage.reason}",
            f". Mend it with: {stage.remedy}" if stage.remedy else "",
            style="yellow",
        )
        for stage in report.skipped
    ]  # fmt: skip
    parts += [Text(f"! {note}", style="yellow") for note in silence_notes(report)]
    parts.append(_spikes(report))
    parts += [render_energy(name, estimate) for name, estimate in (energy or {}).items()]
    good = report.passed and not report.dead
    parts.append(Text(headline(report), style="bold green" if good else "bold red"))
    return Group(*parts)


def render_energy(name: str, estimate: EnergyReport) -> RenderableType:
    """The terms of one estimate with its range, warnings and what it leaves out."""
    title = f"Energy per sample, {name} on {estimate.profile.title}: an estimate"
    return Group(Text(title, style="bold"), _energy(estimate), _notes(estimate))


def render_section(section: Section) -> RenderableType:
    """A further table with its note."""
    table = _table(section.title)
    for column in section.columns:
        table.add_column(column, overflow="fold")
    for row in section.rows:
        table.add_row(*(cell_text(cell) for cell in row))
    warnings = [Text(f"! {warning}", style="yellow") for warning in section.warnings]
    return Group(table, Text(section.note, style="dim"), *warnings)


def _table(title: str) -> Table:
    return Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")


def _ladder(report: ParityReport) -> Table:
    table = _table(f"Parity ladder   T = {report.steps}   network {report.network_hash[:12]}")
    table.padding = (0, 1, 0, 0)
    table.add_column("Stage")
    table.add_column("Accuracy [95 %]".replace("[", r"\["), no_wrap=True)
    for name in ("n", "Spikes differ", "Answers differ"):
        table.add_column(name, justify="right", max_width=7)
    table.add_column("Energy per sample\n(an estimate)", no_wrap=True)
    table.add_column("Verdict", max_width=20)
    for row in report.rows:
        low, high = 100 * row.accuracy.low, 100 * row.accuracy.high
        table.add_row(
            row.stage,
            f"{format_percent(row.accuracy.rate)} [{low:.1f}, {high:.1f}]".replace("[", r"\["),
            str(row.accuracy.n),
            _differing_spikes(row),
            _differing_answers(row),
            "–" if row.energy_pj is None else format_range(row.energy_pj),
            Text(row.verdict if row.passed else "FAILED", style=_style(row)),
        )
    return table


def _differing_spikes(row: LadderRow) -> str:
    """Differing spikes of all populations; empty in the first row, a dash where unknown."""
    if row.difference is None:
        return ""
    total = row.difference.total_spikes
    return "–" if total is None else format_count(total)


def _differing_answers(row: LadderRow) -> str:
    """Differing predictions; a dash where no sample has one."""
    if row.difference is None:
        return ""
    return "–" if row.undecided else str(row.difference.predictions)


def _style(row: LadderRow) -> str:
    if not row.passed:
        return "bold red"
    return "green" if row.verdict.startswith("identical") else ""


def _spikes(report: ParityReport) -> Table:
    names = list(dict.fromkeys(name for row in report.rows for name in row.spikes))
    table = _table("Spikes per sample")
    table.add_column("Stage", max_width=24)
    for name in [*names, "synaptic events"]:
        table.add_column(name, justify="right", overflow="fold")
    for row in report.rows:
        events = row.synaptic_events
        table.add_row(
            row.stage,
            *(
                format_count(row.spikes[n] / row.accuracy.n) if n in row.spikes else "–"
                for n in names
            ),
            "–" if events is None else format_count(events / row.accuracy.n),
        )
    return table


def _energy(estimate: EnergyReport) -> Table:
    table = _table("")
    table.add_column("Term")
    for level in ("low", "nominal", "high"):
        table.add_column(level, justify="right")
    totals = [("dynamic", estimate.dynamic), ("total", estimate.total)]
    rows = [(term.name, term.energy) for term in estimate.terms] + totals
    if estimate.int8_ann is not None:
        rows.append(("for comparison: int8 ANN", estimate.int8_ann))
    for label, band in rows:
        values = estimate.per_sample(band).as_dict().values()
        table.add_row(
            label,
            *(format_energy(value) for value in values),
            style="bold" if label == "total" else "dim" if label.startswith("for") else "",
        )
    return table


def _notes(estimate: EnergyReport) -> Text:
    lines = [f"! {warning}" for warning in estimate.warnings]
    lines.append(f"Not priced: {', '.join(estimate.unpriced)}.")
    return Text("\n".join(lines) + "\n", style="dim")
