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
    if exact_rows(report) and report.skipped:
        return "Every integer stage that ran is identical, spike for spike"
    if exact_rows(report):
        return "Nothing lost: every integer stage is identical, spike for spike"
    return "Every stage passed"


def exact_rows(report: ParityReport) -> tuple[LadderRow, ...]:
    """Rows that must equal the previous row in every spike."""
    return tuple(row for row in report.rows if row.rule is Criterion.EXACT)


def chip_row(report: ParityReport) -> LadderRow:
    """The last of the rows with the most samples: the result of the chip's integers."""
    most = max(row.accuracy.n for row in report.rows)
    return [row for row in report.rows if row.accuracy.n == most][-1]
