"""The parity ladder: one row per stage, each compared with the previous stage.

Rules. EXACT: every spike, score and event count is equal. TIES: spikes may differ only where the
membrane equals the threshold within float rounding, and only up to limits on the share of differing
spikes and on the change of accuracy. CHANGE: the stage changes the network on purpose; differences
are shown, and the loss of accuracy is limited. Every stage is also compared with training (see
`drift`).

Rows may have different sample counts (a slow simulator runs fewer): all comparisons are made on the
first `compared` samples, which both rows have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport.energy import Interval
from spikeport.errors import InputError
from spikeport.parity.drift import Drift, Limits, drift, drift_problem
from spikeport.parity.statistics import Accuracy, accuracy
from spikeport.runs import EventCounts, Run, describe_outputs, silent_populations
from spikeport.traces import Divergence, first_divergence

NOTHING_FIRES = "no neuron fires: inconclusive"
"""Verdict of a stage that passes only because there are no spikes to compare."""


class Criterion(StrEnum):
    """How a row may differ from the previous row."""

    EXACT = "exact"
    TIES = "ties"
    CHANGE = "change"


@dataclass(frozen=True, slots=True)
class Ties:
    """Result of analysing the differing spikes of two float runs.

    Attributes:
        at_threshold: differences that begin with a membrane at the threshold.
        unexplained: differences that do not.
    """

    at_threshold: int
    unexplained: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How a stage differs from the previous one, on the first `compared` samples.

    Attributes:
        spikes: per population, differing spikes; None if they cannot be compared.
        predictions: differing predictions.
        scores: differing scores; None if they are of different kinds.
        counts: names of event counts that are unequal.
        ties: result of the tie analysis, if one was made.
        first: the first differing spike, as text.
    """

    compared: int
    spikes: Mapping[str, int | None]
    predictions: int
    scores: int | None
    counts: tuple[str, ...]
    ties: int | None
    first: Divergence | None

    @property
    def total_spikes(self) -> int | None:
        """Differing spikes of all populations, None if any cannot be compared."""
        known = [count for count in self.spikes.values() if count is not None]
        return sum(known) if len(known) == len(self.spikes) else None


@dataclass(frozen=True, slots=True)
class LadderRow:
    """One stage of the ladder.

    Attributes:
        spikes: per population, summed over all `accuracy.n` samples.
        synaptic_events: on non-zero weights, None if the backend does not count them.
        energy_pj: estimate per sample.
        difference: from the previous stage, None for the first row.
        drift: from training; None for training itself.
        silent: populations that never fire.
        silent_outputs, tied_outputs: samples without a decided class, because every score is 0 or
            several share the highest; their prediction is the lowest tied index.
    """

    stage: str
    backend: str
    version: str
    network_hash: str
    accuracy: Accuracy
    spikes: Mapping[str, int]
    synaptic_events: int | None
    energy_pj: Interval | None
    rule: Criterion | None
    difference: Difference | None
    verdict: str
    passed: bool
    wall_s: float
    drift: Drift | None = None
    silent: tuple[str, ...] = ()
    silent_outputs: int = 0
    tied_outputs: int = 0

    @property
    def dead(self) -> bool:
        """Whether no neuron fires at all, so that equality proves nothing."""
        return bool(self.silent) and not any(self.spikes.values())

    @property
    def identical(self) -> bool:
        """Whether its spikes are shown to be those of the previous row, apart from ties."""
        return self.passed and self.rule in (Criterion.EXACT, Criterion.TIES) and not self.dead

    @property
    def undecided(self) -> bool:
        """Whether no sample has a decided class, so that equal predictions prove nothing."""
        return self.silent_outputs + self.tied_outputs == self.accuracy.n


@dataclass(frozen=True, slots=True)
class SkippedStage:
    """A stage that could not run: the reason, and a command that fixes it, if there is one."""

    stage: str
    backend: str
    reason: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class ParityReport:
    """The whole ladder.

    Attributes:
        samples, steps: of the full evaluation: n and T.
        environment: versions of all software involved.
        command: the command that produces this report.
    """

    rows: tuple[LadderRow, ...]
    network_hash: str
    samples: int
    steps: int
    environment: Mapping[str, str]
    command: str = ""
    skipped: tuple[SkippedStage, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every row that ran passed."""
        return bool(self.rows) and all(row.passed for row in self.rows)

    @property
    def dead(self) -> tuple[str, ...]:
        """Stages in which no neuron fires."""
        return tuple(row.stage for row in self.rows if row.dead)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"passed": self.passed, **dataclasses.asdict(self)}


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

    Raises:
        InputError: fewer labels than samples, or EXACT or TIES without spike traces.
    """
    limits = limits or Limits()
    truth = np.asarray(labels)
    if truth.ndim != 1 or len(truth) < run.samples:
        raise InputError(
            f"stage '{stage}': labels have shape {truth.shape}, must be (n,) with n >= "
            f"{run.samples} samples"
        )
    right = run.predictions == truth[: run.samples]
    difference: Difference | None = None
    verdict, passed = "start of the ladder", True
    moved = None if training is None else drift(run, training, truth)
    if above is not None:
        difference = _compare(stage, run, above, rule, order or tuple(run.spike_counts), ties)
        shared = difference.compared
        extra_errors = int((above.predictions[:shared] == truth[:shared]).sum()) - int(
            right[:shared].sum()
        )
        match rule:
            case Criterion.EXACT:
                problem = _exact_problem(run, above, difference)
            case Criterion.TIES:
                problem = _ties_problem(difference, ties) or _bound_problem(
                    difference, above, extra_errors, limits
                )
            case Criterion.CHANGE:
                problem = _change_problem(100 * extra_errors / shared, limits.max_drop_points)
        problem = problem or ("" if moved is None else drift_problem(moved, limits))
        passed = not problem
        verdict = f"FAILED: {problem}" if problem else _verdict(rule, difference)
    outputs = describe_outputs(run)
    row = LadderRow(
        stage=stage,
        backend=run.backend,
        version=run.version,
        network_hash=run.network_hash,
        accuracy=accuracy(int(right.sum()), run.samples),
        spikes={name: int(counts.sum()) for name, counts in run.spike_counts.items()},
        synaptic_events=run.counts.total("synaptic_events") if run.counts else None,
        energy_pj=energy_pj,
        rule=rule if above is not None else None,
        difference=difference,
        verdict=verdict,
        passed=passed,
        wall_s=run.wall_s,
        drift=moved,
        silent=silent_populations(run),
        silent_outputs=outputs.silent,
        tied_outputs=outputs.tied,
    )
    return dataclasses.replace(row, verdict=NOTHING_FIRES) if row.dead and passed else row


def _compare(
    stage: str, run: Run, above: Run, rule: Criterion, order: Sequence[str], ties: Ties | None
) -> Difference:
    names = [*above.spike_counts, *(n for n in run.spike_counts if n not in above.spike_counts)]
    if (
        rule is Criterion.CHANGE
    ):  # A float graph may leave its readout implicit: compare what both have.
        names = [name for name in above.spike_counts if name in run.spike_counts]
    shared = min(run.samples, above.samples)
    spikes = {name: _differing_spikes(run, above, name, shared) for name in names}
    if rule is not Criterion.CHANGE and (
        missing := [n for n, count in spikes.items() if count is None]
    ):
        raise InputError(
            f"stage '{stage}': the spikes of '{missing[0]}' cannot be compared with the previous "
            f"stage ({rule} rule): both runs need a trace of it, with the same size and T"
        )
    return Difference(
        compared=shared,
        spikes=spikes,
        predictions=int((run.predictions[:shared] != above.predictions[:shared]).sum()),
        scores=_differing_scores(run, above, shared),
        counts=_unequal_counts(run.counts, above.counts) if rule is Criterion.EXACT else (),
        ties=ties.at_threshold if ties else None,
        first=first_divergence(above, run, order, ("spikes",))
        if rule is not Criterion.CHANGE
        else None,
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


def _exact_problem(run: Run, above: Run, found: Difference) -> str:
    if run.network_hash != above.network_hash:
        return f"different network: {run.network_hash[:12]} against {above.network_hash[:12]}"
    if found.total_spikes:
        worst = ", ".join(f"{n} in '{name}'" for name, n in found.spikes.items() if n)
        return f"spikes differ, {worst}; first at {found.first}"
    if found.scores is None:
        return "the readouts differ in name or size"
    if found.scores:
        return f"{found.scores} scores differ although all spikes are equal"
    if found.counts:
        return f"event counts differ: {', '.join(found.counts)}"
    return ""


def _ties_problem(found: Difference, ties: Ties | None) -> str:
    if not found.total_spikes:
        return ""
    if ties is None:
        return f"{found.total_spikes} spikes differ, first at {found.first}"
    if ties.unexplained or not ties.at_threshold:
        return (
            f"{found.total_spikes} spikes differ, {ties.unexplained} differences do not begin at "
            f"the threshold; first differing spike at {found.first}"
        )
    return ""


def _bound_problem(found: Difference, above: Run, extra_errors: int, limits: Limits) -> str:
    """Whether ties change too many spikes or too much accuracy; one sample is tolerated."""
    differing, shared = found.total_spikes or 0, found.compared
    traces = above.trace.spikes if above.trace else {}
    spikes = sum(int(trace[:, :shared].sum()) for trace in traces.values())
    if differing > max(limits.max_tie_share, 1 / shared) * spikes:
        return (
            f"ties change {differing} of {spikes} spikes "
            f"({100 * differing / max(spikes, 1):.2f} %, limit {100 * limits.max_tie_share:g} %)"
        )
    if abs(extra_errors) > max(1.0, limits.max_tie_points * shared / 100):
        return (
            f"ties change accuracy by {-100 * extra_errors / shared:+.2f} points, "
            f"limit {limits.max_tie_points:g}"
        )
    return ""


def _change_problem(drop_points: float, limit: float) -> str:
    if drop_points > limit:
        return f"accuracy fell by {drop_points:.2f} points, limit {limit:g}"
    return ""


def _verdict(rule: Criterion, found: Difference) -> str:
    if rule is Criterion.CHANGE:
        return "changed by quantization (expected)"
    if not found.total_spikes:
        return "identical"
    return f"identical except for {found.ties} tie{'' if found.ties == 1 else 's'}"
