"""The report as Markdown, for pull requests and summaries of continuous integration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spikeport.energy import Interval
from spikeport.parity import Gate, LadderRow
from spikeport.report.document import Document
from spikeport.report.html import HEADINGS, MARKS
from spikeport.report.section import Section, Topic, cell_text
from spikeport.report.silence import silence_notes
from spikeport.report.units import format_count, format_percent, format_range, format_time
from spikeport.report.verdict import Level
from spikeport.text import shown

_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#|@~&$]|(?<=\w):(?=//)|(?<=www)\.")
"""Characters that are markup, mention somebody or begin a link."""


def render_markdown(document: Document, *, title: str = "Spikeport report") -> str:
    """Render verdict and ladder, and the further tables folded; figures are on the page only."""
    return "\n\n".join(_parts(document, title)) + "\n"


def render_gate(gate: Gate, *, title: str = "Spikeport gate") -> str:
    """Render a gate: its result, then every check with its value and limit."""
    mark = MARKS[Level.GOOD if gate.passed else Level.BAD]
    rows = [
        (suite.name, case.name, case.value, case.limit, str(case.outcome), case.details)
        for suite in gate.suites
        for case in suite.cases
    ]
    columns = ("run", "check", "value", "limit", "result", "details")
    heading = f"## {mark} {literal(title)}: {literal(gate.summary)}"
    return f"{heading}\n\n{_table(columns, rows)}\n"


def literal(text: str) -> str:
    """`text` on one line, without any effect as Markdown or HTML."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", shown(text))


def _parts(document: Document, title: str) -> Iterator[str]:
    verdict, report = document.verdict, document.parity
    yield f"## {literal(title)}: {literal(verdict.headline)}"
    if verdict.claims:
        yield _table(
            ("", "", ""),
            [
                (claim.question, f"{MARKS[claim.level]} {claim.answer}", "; ".join(claim.details))
                for claim in verdict.claims
            ],
        )
    yield "### Parity ladder"
    yield _table(
        ("Stage", "Accuracy (95 %)", "n", "Spikes differ", "Predictions differ",
         "Energy per sample, an estimate without a map", "Verdict"),
        [
            *map(_stage, report.rows),
            *((one.stage, "–", "–", "–", "–", "–", f"{one.outcome}: {one.reason}")
              for one in report.skipped),
        ],
        numeric=(False, False, True, True, True, True, False),
    )  # fmt: skip
    if notes := silence_notes(report):
        yield _list(notes)
    for topic, heading in HEADINGS.items():
        if isinstance(topic, Topic):
            for section in document.about(topic):
                yield _section(heading, section)
            if topic is Topic.ENERGY:
                for name, estimate in document.shown_energy.items():
                    yield _energy(f"{heading}, {name}", estimate)
    yield _reproduce(document)


def _stage(row: LadderRow) -> tuple[str, ...]:
    found, difference = row.accuracy, row.difference
    total = None if difference is None else difference.total_spikes
    return (
        row.stage,
        f"{format_percent(found.rate)} ({format_percent(found.low)} to "
        f"{format_percent(found.high)})",
        format_count(found.n),
        "–" if total is None else format_count(total),
        "–" if difference is None or row.undecided else format_count(difference.predictions),
        "–" if row.energy_pj is None else format_range(row.energy_pj),
        row.verdict,
    )


def _section(heading: str, section: Section) -> str:
    title = f"{heading}: {section.title}"
    parts = [literal(section.note)] if section.note else []
    if section.warnings:
        parts.append(_list(section.warnings))
    if section.rows:
        rows = [tuple(map(cell_text, row)) for row in section.rows]
        parts.append(_table(section.columns, rows, section.numeric))
    if not section.rows and not section.figures:
        return f"**{literal(title)}.** {parts[0] if parts else ''}"
    return _folded(title, parts)


def _energy(title: str, estimate: Mapping[str, Any]) -> str:
    samples = estimate["samples"]

    def row(name: str, energy: Mapping[str, float]) -> tuple[str, str]:
        return name, format_range(Interval(**energy) * (1 / samples))

    rows = [row(term["name"], term["energy"]) for term in estimate["terms"]]
    rows += [row("dynamic", estimate["dynamic"]), row("total", estimate["total"])]
    if estimate["int8_ann"]:
        rows.append(row("for comparison: int8 ANN", estimate["int8_ann"]))
    time = format_time(estimate["time_ns"]["nominal"] / samples)
    if estimate.get("with_host"):
        rows.append(row("with a host in every step", estimate["with_host"]))
    lines = [*estimate.get("summary", ())]
    lines += [f"Computing time on the chip: {time} per sample.", *estimate["warnings"]]
    lines += [f"Assumed: {text}" for text in estimate["assumptions"]]
    lines.append(f"Not included: {', '.join(estimate['unpriced'])}.")
    name = f"{title}, on {estimate.get('title', estimate['profile'])}"
    return _folded(name, [
        _table(("Term", "Energy per sample: nominal (low–high)"), rows, (False, True)),
        _list(lines),
    ])  # fmt: skip


def _reproduce(document: Document) -> str:
    report = document.parity
    facts = {"network": report.network_hash, **report.environment}
    rows = [(name, value) for name, value in facts.items() if value]
    command = [f"Command: {literal(report.command)}"] if report.command else []
    return _folded("Reproduce this report", [*command, _table(("", ""), rows)])


def _folded(title: str, parts: Sequence[str]) -> str:
    inner = "\n\n".join(parts)
    return f"<details><summary>{literal(title)}</summary>\n\n{inner}\n\n</details>"


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {literal(line)}" for line in lines)


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool] = ()
) -> str:
    rule = ["--:" if k < len(numeric) and numeric[k] else "---" for k in range(len(columns))]
    lines = [list(map(literal, columns)), rule, *(list(map(literal, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
