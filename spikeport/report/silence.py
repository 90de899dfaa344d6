"""Notes on silent populations and on silent or tied outputs, which limit what a ladder proves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spikeport.parity import LadderRow, ParityReport

MANY_TIED = 0.1
"""Above this share of tied samples, accuracy depends on the order of the classes."""
NAMED = 8
"""Most populations that one note names."""


def silence_notes(report: ParityReport) -> tuple[str, ...]:
    """A sentence for populations silent in the same stages, and for silent and for tied outputs."""
    return tuple(_notes(report))


def _notes(report: ParityReport) -> Iterator[str]:
    rows = report.rows
    spiking = [row for row in report.spiking if row.sampled is None]
    silent: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for row in spiking for name in row.silent):
        where = _stages([row for row in spiking if name in row.silent], spiking)
        silent.setdefault(where, []).append(f"'{name}'")
    for where, names in silent.items():
        if len(names) == 1:
            yield f"{where}: population {names[0]} never fires"
        else:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            listed = ", ".join(names[:NAMED])
            yield f"{where}: {len(names)} populations never fire: {listed}{more}"
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
