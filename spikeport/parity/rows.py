"""Build the row of a stage: what its run shows, and how it differs from the previous one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport.energy import Interval
from spikeport.errors import InputError, LabelsError
from spikeport.parity.drift import Limits, drift
from spikeport.parity.report import Criterion, Difference, LadderRow, Ties
from spikeport.parity.statistics import accuracy
from spikeport.parity.verdict import judged
from spikeport.runs import EventCounts, Run, describe_outputs, silent_populations
from spikeport.traces import first_divergence


def build_row(
    stage: str,
    run: Run,
    labels: ArrayLike,
    *,
    above: Run | None = None,
    rule: Criterion = Criterion.EXACT,
    order: Sequence[str] = (),
    ties: Ties | None = None,
    training: Run | None = None,
    limits: Limits | None = None,
    energy_pj: Interval | None = None,
    macs: int | None = None,
) -> LadderRow:
    """Build one row of the ladder, judged by `rule` against the previous run `above`.

    Args:
        labels: class of each sample, at least as many as the run has samples.
        above: None for the first row.
        order: populations in topological order, to name the first divergence; by default the order
            of the run.
        ties: for TIES, the result of analysing the differing spikes.
        training: the run of the network as trained; None if `run` is that run or if there is none.
        limits: how much a stage may lose.
        energy_pj: per sample.
        macs: multiply-accumulates of a sample, if the run is that of an ANN.

    Raises:
        InputError: fewer labels than samples, or EXACT or TIES without spike traces.
    """
    truth = np.asarray(labels)
    if truth.ndim != 1 or len(truth) < run.samples:
        raise LabelsError(
            f"stage '{stage}': labels have shape {truth.shape}, must be (n,) with n >= "
            f"{run.samples} samples"
        )
    outputs = describe_outputs(run)
    row = LadderRow(
        stage=stage,
        backend=run.backend,
        version=run.version,
        network_hash=run.network_hash,
        accuracy=accuracy(_correct(run, truth, run.samples), run.samples),
        spikes={name: int(counts.sum()) for name, counts in run.spike_counts.items()},
        synaptic_events=run.counts.total("synaptic_events") if run.counts else None,
        energy_pj=energy_pj,
        rule=rule if above is not None else None,
        difference=(
            None
            if above is None
            else _compare(stage, run, above, truth, rule, order or tuple(run.spike_counts), ties)
        ),
        verdict="",
        passed=True,
        wall_s=run.wall_s,
        drift=None if training is None else drift(run, training, truth),
        silent=silent_populations(run),
        silent_outputs=outputs.silent,
        tied_outputs=outputs.tied,
        macs=macs,
    )
    return judged(row, limits or Limits())


def _compare(
    stage: str,
    run: Run,
    above: Run,
    labels: NDArray[np.int64],
    rule: Criterion,
    order: Sequence[str],
    ties: Ties | None,
) -> Difference:
    if rule is Criterion.CHANGE:  # A float graph may leave its readout implicit.
        names = [name for name in above.spike_counts if name in run.spike_counts]
    else:
        names = list(dict.fromkeys((*above.spike_counts, *run.spike_counts)))
    shared = min(run.samples, above.samples)
    spikes = {name: _differing_spikes(run, above, name, shared) for name in names}
    if not rule.on_purpose and (missing := [n for n, count in spikes.items() if count is None]):
        raise InputError(
            f"stage '{stage}': the spikes of '{missing[0]}' cannot be compared with the previous "
            f"stage ({rule} rule): both runs need a trace of it, with the same size and T"
        )
    traces = above.trace.spikes if above.trace else {}
    return Difference(
        compared=shared,
        network=above.network_hash,
        spikes=spikes,
        spikes_before=sum(int(trace[:, :shared].sum()) for trace in traces.values()),
        predictions=int((run.predictions[:shared] != above.predictions[:shared]).sum()),
        extra_errors=_correct(above, labels, shared) - _correct(run, labels, shared),
        scores=_differing_scores(run, above, shared),
        counts=_unequal_counts(run.counts, above.counts) if rule is Criterion.EXACT else (),
        ties=ties.at_threshold if ties else None,
        unexplained=ties.unexplained if ties else None,
        first=first_divergence(above, run, order, ("spikes",)) if not rule.on_purpose else None,
    )


def _differing_spikes(run: Run, above: Run, population: str, shared: int) -> int | None:
    if run.trace is None or above.trace is None:
        return None
    if any(("spikes", population) in one.trace.neurons for one in (run, above) if one.trace):
        return None
    traces = [one.trace.spikes.get(population) for one in (run, above) if one.trace]
    first, second = (_flat(trace, shared) for trace in traces)
    if first is None or second is None or first.shape != second.shape:
        return None
    return int(np.count_nonzero(first != second))


def _flat(trace: NDArray[np.uint8] | None, shared: int) -> NDArray[np.uint8] | None:
    return None if trace is None else trace[:, :shared].reshape(trace.shape[0], shared, -1)


def _differing_scores(run: Run, above: Run, shared: int) -> int | None:
    differing = 0
    for name, scores in run.scores.items():
        other = above.scores.get(name)
        if other is None or other.shape[1:] != scores.shape[1:]:
            return None
        differing += int(np.count_nonzero(scores[:shared] != other[:shared]))
    return differing


def _unequal_counts(a: EventCounts | None, b: EventCounts | None) -> tuple[str, ...]:
    """Names of unequal counts; a count that one of the backends lacks is not compared."""
    if a is None or b is None or a.samples != b.samples:
        return ()
    names = [part.name for part in dataclasses.fields(EventCounts)]
    pairs = {name: (getattr(a, name), getattr(b, name)) for name in names}
    return tuple(
        name
        for name, (x, y) in pairs.items()
        if x != y and not (isinstance(x, Mapping) and (not x or not y))
    )


def _correct(run: Run, labels: NDArray[np.int64], shared: int) -> int:
    return int((run.predictions[:shared] == labels[:shared]).sum())
