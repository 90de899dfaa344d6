"""Notes on silent populations and on silent or tied outputs, which limit what a ladder proves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spikeport.parity import LadderRow, ParityReport

MANY_TIED = 0.1
"""Above this share of tied samples, accuracy depends on the order of the classes."""


def silence_notes(report: ParityReport) -> tuple[str, ...]:
    """One sentence per silent population, and one each on silent and on tied outputs."""
    return tuple(_notes(report.rows))


def _notes(rows: Sequence[LadderRow]) -> Iterator[str]:
    for name in dict.fromkeys(name for row in rows for name in row.silent):
        where = _stages([row for row in rows if name in row.silent], rows)
        yield f"{where}: population '{name}' never fires"
    if mute := [row for row in rows if row.silent_outputs]:
        counts = _counted([row.silent_outputs for row in mute], mute)
        yield f"{_stages(mute, rows)}: outputs are silent on {counts}, which count as class 0"
    if tied := [row for row in rows if row.tied_outputs > MANY_TIED * row.accuracy.n]:
        counts = _counted([row.tied_outputs for row in tied], tied)
        yield (
            f"{_stages(tied, rows)}: the highest score is shared on {counts}, which count as "
            "the lowest tied class"
        )


def _counted(counts: Sequence[int], rows: Sequence[LadderRow]) -> str:
    parts = (f"{count} of {row.accuracy.n}" for count, row in zip(counts, rows, strict=True))
    return f"{', '.join(dict.fromkeys(parts))} samples"


def _stages(some: Sequence[LadderRow], rows: Sequence[LadderRow]) -> str:
    return "every stage" if len(some) == len(rows) else ", ".join(row.stage for row in some)
