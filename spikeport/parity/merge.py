"""Merge ladder rows of consecutive samples, so that memory need not hold all traces at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from spikeport.parity.drift import Limits, merge_drifts
from spikeport.parity.report import Difference, LadderRow
from spikeport.parity.statistics import accuracy
from spikeport.parity.verdict import judged
from spikeport.traces import Divergence


def merge_rows(
    rows: Sequence[LadderRow], order: Sequence[str] = (), limits: Limits | None = None
) -> LadderRow:
    """Merge rows of one stage that cover consecutive samples.

    The result is the row that all samples at once give: counts are added up, and the verdict is
    that on the sums. The energy per sample is the mean over samples, if all rows have one.

    Args:
        order: populations in topological order, to name the first divergence; by default the order
            of the run.
        limits: how much a stage may lose.
    """
    first = rows[0]
    number = sum(row.accuracy.n for row in rows)
    events = [row.synaptic_events for row in rows if row.synaptic_events is not None]
    energies = [row.energy_pj * row.accuracy.n for row in rows if row.energy_pj is not None]
    drifts = [row.drift for row in rows if row.drift is not None]
    merged = dataclasses.replace(
        first,
        accuracy=accuracy(sum(row.accuracy.correct for row in rows), number),
        spikes={name: sum(row.spikes[name] for row in rows) for name in first.spikes},
        synaptic_events=sum(events) if len(events) == len(rows) else None,
        energy_pj=(
            sum(energies[1:], energies[0]) * (1 / number) if len(energies) == len(rows) else None
        ),
        difference=_merge([row.difference for row in rows], order or tuple(first.spikes)),
        wall_s=sum(row.wall_s for row in rows),
        drift=merge_drifts(drifts) if len(drifts) == len(rows) else None,
        silent=tuple(name for name in first.silent if all(name in row.silent for row in rows)),
        silent_outputs=sum(row.silent_outputs for row in rows),
        tied_outputs=sum(row.tied_outputs for row in rows),
    )
    return judged(merged, limits or Limits())


def _merge(found: Sequence[Difference | None], order: Sequence[str]) -> Difference | None:
    known = [difference for difference in found if difference is not None]
    if len(known) < len(found):
        return None
    return Difference(
        compared=sum(one.compared for one in known),
        network=known[0].network,
        spikes={name: _sum([one.spikes[name] for one in known]) for name in known[0].spikes},
        spikes_before=sum(one.spikes_before for one in known),
        predictions=sum(one.predictions for one in known),
        extra_errors=sum(one.extra_errors for one in known),
        scores=_sum([one.scores for one in known]),
        counts=tuple(dict.fromkeys(name for one in known for name in one.counts)),
        ties=_sum([one.ties for one in known]),
        unexplained=_sum([one.unexplained for one in known]),
        first=min(
            _divergences(known),
            key=lambda one: (one.step, order.index(one.population), one.sample, one.flat),
            default=None,
        ),
        states=_sum([one.states for one in known]),
    )


def _divergences(found: Sequence[Difference]) -> Iterator[Divergence]:
    """The first divergence of each part, at its sample among all samples."""
    before = 0
    for one in found:
        if one.first is not None:
            yield dataclasses.replace(one.first, sample=before + one.first.sample)
        before += one.compared


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
