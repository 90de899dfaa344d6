"""The report for a terminal of 100 columns; the caller prints it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from spikeport.energy import EnergyReport
from spikeport.parity import LadderRow, ParityReport
from spikeport.report.energy_tables import render_energy as render_energy
from spikeport.report.headline import headline
from spikeport.report.screen import (
    Cell,
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
from spikeport.text import shown

GAP = 3
"""Columns of the screen between two columns of a table."""
TEXT = 8
"""So many columns of the screen are enough for texts, which wrap."""


def render_terminal(
    report: ParityReport, energy: Mapping[str, EnergyReport] | None = None
) -> Renderable:
    """Ladder, what failed or was skipped, spikes per population and the energy estimates."""
    parts: list[Renderable] = [_ladder(report)]
    parts += [
        assemble((f"{row.stage}: ", "bold"), row.verdict, style="red")
        for row in report.rows
        if not row.passed
    ]
    parts += [
        assemble(
            (f"{stage.stage}: ", "bold"), f"not run: {stage.reason}",
            f". To fix: {stage.fix}" if stage.fix else "",
            style="yellow",
        )
        for stage in report.skipped
    ]  # fmt: skip
    parts += [plain(f"! {note}", "yellow") for note in silence_notes(report)]
    parts.append(_spikes(report))
    parts += [render_energy(name, estimate) for name, estimate in (energy or {}).items()]
    good = report.passed and not report.dead
    parts.append(plain(headline(report), "bold green" if good else "bold red"))
    return stack(*parts)


def render_section(section: Section) -> Renderable:
    """An additional table with its note.

    Numbers and words of headers stay whole: if there are too many columns for the screen, several
    tables follow each other, each with the first column.
    """
    warnings = [plain(f"! {warning}", "yellow") for warning in section.warnings]
    tables = Fitted(lambda width: stack(*_tables(section, width)))
    return stack(tables, plain(section.note, "dim"), *warnings)


def _tables(section: Section, width: int) -> Iterator[Table]:
    """The section's columns in as many tables as a screen of `width` columns needs."""
    sizes = [
        _width(column, [cell_text(row[index]) for row in section.rows], numeric=numeric)
        for index, (column, numeric) in enumerate(
            zip(section.columns, section.numeric, strict=True)
        )
    ]
    blocks: list[list[int]] = [[]]
    for index in range(len(sizes)):
        wanted = sum(sizes[k] + GAP for k in (*blocks[-1], index)) + 1
        if wanted > width and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1].append(index)
    for number, block in enumerate(blocks):
        table = Table("" if number else section.title, framed=False)
        for index in block:
            if section.numeric[index]:
                header = _header(section.columns[index], sizes[index])
                table.add_column(header, justify="right", no_wrap=True)
            else:
                table.add_column(section.columns[index])
        for row in section.rows:
            table.add_row(*(cell_text(row[index]) for index in block))
        yield table


def _width(header: str, cells: Sequence[str], *, numeric: bool) -> int:
    """The characters that a column needs: for whole numbers, or for text in lines."""
    widest = max(map(len, cells), default=0)
    if not numeric:
        return min(max(widest, len(header)), TEXT)
    return max([widest, *map(len, shown(header).split())])


def _header(text: str, width: int) -> Cell:
    """A header over a column of `width` characters, broken at spaces only."""
    words = shown(text)  # before wrapping, which would turn control characters into spaces
    return lines(
        textwrap.wrap(words, max(width, 1), break_long_words=False, break_on_hyphens=False)
    )


def _ladder(report: ParityReport) -> Table:
    title = f"Parity ladder   T = {report.steps}   network {report.network_hash[:12]}"
    table = Table(title, framed=False, tight=True)
    table.add_column("Stage")
    table.add_column("Accuracy [95 %]", no_wrap=True)
    for name, width in (("n", 7), ("Spikes differ", 7), ("Predictions differ", 11)):
        table.add_column(name, justify="right", max_width=width)
    table.add_column(lines(["Energy per sample", "(an estimate)"]), no_wrap=True)
    table.add_column("Verdict", max_width=20)
    for row in report.rows:
        low, high = 100 * row.accuracy.low, 100 * row.accuracy.high
        table.add_row(
            row.stage,
            f"{format_percent(row.accuracy.rate)} [{low:.1f}, {high:.1f}]",
            str(row.accuracy.n),
            _differing_spikes(row),
            _differing_predictions(row),
            "–" if row.energy_pj is None else format_range(row.energy_pj),
            plain(row.verdict if row.passed else "FAILED", _style(row)),
        )
    return table


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
    names = list(dict.fromkeys(name for row in report.rows for name in row.spikes))
    table = Table("Spikes per sample", framed=False)
    table.add_column("Stage", max_width=24)
    for name in [*names, "synaptic events", "spikes vs. training", "accuracy vs. training"]:
        table.add_column(name, justify="right")
    for row in report.rows:
        events = row.synaptic_events
        table.add_row(
            row.stage,
            *(
                format_count(row.spikes[n] / row.accuracy.n) if n in row.spikes else "–"
                for n in names
            ),
            "–" if events is None else format_count(events / row.accuracy.n),
            *_drift(row),
        )
    return table


def _drift(row: LadderRow) -> tuple[str, str]:
    """Change of spikes and accuracy against training; empty in the row of training itself."""
    if row.drift is None:
        return "", ""
    change = row.drift.spike_change
    return format_change(change), f"{row.drift.points:+.2f} points"
