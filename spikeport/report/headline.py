"""The verdict of a ladder in one sentence."""

from __future__ import annotations

from spikeport.parity import Criterion, LadderRow, ParityReport


def headline(report: ParityReport) -> str:
    """The main result, shown before any table."""
    failed = [row.stage for row in report.rows if not row.passed]
    if not report.rows:
        return "Nothing was run"
    if len(failed) == 1:
        return f"Parity broken at the stage '{failed[0]}'"
    if failed:
        return f"Parity broken at {len(failed)} of {len(report.rows)} stages"
    if report.dead:
        return (
            f"No neuron fires in {len(report.dead)} of {len(report.spiking)} stages: inconclusive"
        )
    if exact_rows(report):
        found = (
            "Every integer stage that ran is identical, spike for spike"
            if report.skipped
            else "Nothing lost: every integer stage is identical, spike for spike"
        )
        notes = "; ".join(sampled_notes(report))
        return f"{found} ({notes})" if notes else found
    return "Every stage passed"


def sampled_notes(report: ParityReport) -> tuple[str, ...]:
    """How many neurons were compared, for each stage that compares only some."""
    return tuple(f"{row.stage}: {row.sampled}" for row in report.rows if row.sampled)


def exact_rows(report: ParityReport) -> tuple[LadderRow, ...]:
    """Rows that must equal the previous row in every spike."""
    return tuple(row for row in report.rows if row.rule is Criterion.EXACT)


def chip_row(report: ParityReport) -> LadderRow:
    """The last of the rows with the most samples and all neurons: the result of the chip."""
    rows = [row for row in report.rows if row.sampled is None] or report.rows
    most = max(row.accuracy.n for row in rows)
    return [row for row in rows if row.accuracy.n == most][-1]
