"""Merge ladder rows of consecutive samples, so that memory need not hold all traces at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from spikeport.parity.drift import merge_drifts
from spikeport.parity.report import Difference, LadderRow
from spikeport.parity.statistics import accuracy


def merge_rows(rows: Sequence[LadderRow]) -> LadderRow:
    """Merge rows of one stage that cover consecutive samples.

    Counts are added up. The row passes if all do; its verdict is that of the first row that failed,
    otherwise that of the first row in which any neuron fires.
    The energy per sample is the mean over samples, if all rows have one.
    """
    failed = [row for row in rows if not row.passed]
    first = [*failed, *(row for row in rows if not row.dead), *rows][0]
    number = sum(row.accuracy.n for row in rows)
    events = [row.synaptic_events for row in rows if row.synaptic_events is not None]
    energies = [row.energy_pj * row.accuracy.n for row in rows if row.energy_pj is not None]
    drifts = [row.drift for row in rows if row.drift is not None]
    return dataclasses.replace(
        first,
        accuracy=accuracy(sum(row.accuracy.correct for row in rows), number),
        spikes={name: sum(row.spikes[name] for row in rows) for name in first.spikes},
        synaptic_events=sum(events) if len(events) == len(rows) else None,
        energy_pj=(
            sum(energies[1:], energies[0]) * (1 / number) if len(energies) == len(rows) else None
        ),
        difference=_merge([row.difference for row in rows]),
        passed=all(row.passed for row in rows),
        wall_s=sum(row.wall_s for row in rows),
        drift=merge_drifts(drifts) if len(drifts) == len(rows) else None,
        silent=tuple(name for name in first.silent if all(name in row.silent for row in rows)),
        silent_outputs=sum(row.silent_outputs for row in rows),
        tied_outputs=sum(row.tied_outputs for row in rows),
    )


def _merge(found: Sequence[Difference | None]) -> Difference | None:
    known = [difference for difference in found if difference is not None]
    if len(known) < len(found):
        return None
    ties = [difference.ties for difference in known]
    place, shift = next(
        (
            (one.first, sum(d.compared for d in known[:i]))
            for i, one in enumerate(known)
            if one.first
        ),
        (None, 0),
    )
    return Difference(
        compared=sum(one.compared for one in known),
        spikes={name: _sum([one.spikes[name] for one in known]) for name in known[0].spikes},
        predictions=sum(one.predictions for one in known),
        scores=_sum([one.scores for one in known]),
        counts=tuple(dict.fromkeys(name for one in known for name in one.counts)),
        ties=_sum(ties),
        first=place and dataclasses.replace(place, sample=place.sample + shift),
    )


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
