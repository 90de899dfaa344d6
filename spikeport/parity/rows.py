"""Build the row of a stage: what its run shows, and how it differs from the previous one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport.energy import Interval
from spikeport.errors import InputError, LabelsError
from spikeport.network import RECORDABLE_STATE
from spikeport.parity.drift import Limits, drift
from spikeport.parity.report import Criterion, Difference, LadderRow, Sampled, Ties
from spikeport.parity.statistics import accuracy
from spikeport.parity.verdict import judged
from spikeport.runs import EventCounts, Run, describe_outputs, silent_populations
from spikeport.traces import first_divergence
from spikeport.traces.divergence import VARIABLES, paired


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
    sampled: Sampled | None = None,
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
        sampled: the run is of these neurons only (`recompute_neurons`), whose state is compared
            with that of the previous run as well; None for whole runs, compared by their spikes.

    Raises:
        InputError: fewer labels than samples, or EXACT or TIES without spike traces; without
            `sampled`, these must be of all neurons.
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
            else _compare(
                stage,
                run,
                above,
                truth,
                rule,
                order or tuple(run.spike_counts),
                ties,
                some=sampled is not None,
            )
        ),
        verdict="",
        passed=True,
        wall_s=run.wall_s,
        drift=None if training is None else drift(run, training, truth, whole=sampled is None),
        silent=() if sampled else silent_populations(run),
        silent_outputs=outputs.silent,
        tied_outputs=outputs.tied,
        macs=macs,
        sampled=sampled,
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
    *,
    some: bool,
) -> Difference:
    if rule is Criterion.CHANGE:  # A float graph may leave its readout implicit.
        names = [name for name in above.spike_counts if name in run.spike_counts]
    else:
        names = list(dict.fromkeys((*above.spike_counts, *run.spike_counts)))
    shared = min(run.samples, above.samples)
    spikes = {
        name: None if not some and _partial(run, above, name) else _differing(run, above, name)
        for name in names
    }
    if not rule.on_purpose and (missing := [n for n, count in spikes.items() if count is None]):
        raise InputError(
            f"stage '{stage}': the spikes of '{missing[0]}' cannot be compared with the previous "
            f"stage ({rule} rule): both runs need a trace of it, with the same size and T"
        )
    return Difference(
        compared=shared,
        network=above.network_hash,
        spikes=spikes,
        spikes_before=_spikes_before(run, above, shared, some=some),
        predictions=int((run.predictions[:shared] != above.predictions[:shared]).sum()),
        extra_errors=_correct(above, labels, shared) - _correct(run, labels, shared),
        scores=_differing_scores(run, above, shared),
        counts=_unequal_counts(run.counts, above.counts) if rule is Criterion.EXACT else (),
        ties=ties.at_threshold if ties else None,
        unexplained=ties.unexplained if ties else None,
        first=None
        if rule.on_purpose
        else first_divergence(above, run, order, VARIABLES if some else ("spikes",)),
        states=_differing_states(stage, run, above) if some else None,
    )


def _partial(run: Run, above: Run, population: str) -> bool:
    """Whether one of them traced spikes of only some neurons of a population."""
    return any(("spikes", population) in one.trace.neurons for one in (run, above) if one.trace)


def _differing(run: Run, above: Run, population: str, variable: str = "spikes") -> int | None:
    """Number of differing values; None if the runs cannot be compared."""
    pair = paired(above, run, population, variable)
    return None if pair is None else int(np.count_nonzero(pair.a != pair.b))


def _spikes_before(run: Run, above: Run, shared: int, *, some: bool) -> int:
    """Spikes of the previous stage: of all it traced, or of the compared neurons."""
    traced = above.trace.spikes if above.trace else {}
    if some:
        pairs = (paired(above, run, name, "spikes") for name in traced)
        return sum(int(pair.a.sum()) for pair in pairs if pair is not None)
    return sum(int(trace[:, :shared].sum()) for trace in traced.values())


def _differing_states(stage: str, run: Run, above: Run) -> int:
    """Number of differing values of u, v and further state variables that the run has traced."""
    total = 0
    for variable in RECORDABLE_STATE:
        for name in run.trace[variable] if run.trace else ():
            if (found := _differing(run, above, name, variable)) is None:
                raise InputError(
                    f"stage '{stage}': {variable} of '{name}' cannot be compared with the previous "
                    "stage: both runs need a trace of it, with the same size and T"
                )
            total += found
    return total


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
