"""Drift of a ladder stage from training, in accuracy and spike counts.

Small losses between stages can add up. Each stage is therefore also compared with training, on the
samples that both have run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spikeport.errors import ValueRangeError
from spikeport.runs import Run

FEW_SPIKES = 100
"""With fewer spikes in training a relative change is not meaningful."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a stage of the ladder may lose; beyond these limits it fails.

    Attributes:
        max_drop_points: accuracy, in percentage points, that a stage may lose against training and,
            if it changes the network on purpose, against the previous stage.
        max_spike_change: relative change of a population's spike count against training.
        max_tie_points: accuracy, in percentage points, that ties may cost.
        max_tie_share: fraction of all spikes that may differ in a stage that allows ties only.
        max_conversion_points: accuracy, in percentage points, that a network may lose against the
            ANN it was converted from.
    """

    max_drop_points: float = 1.0
    max_spike_change: float = 0.1
    max_tie_points: float = 0.2
    max_tie_share: float = 0.005
    max_conversion_points: float = 1.0

    def __post_init__(self) -> None:
        for name in ("max_spike_change", "max_tie_points", "max_tie_share"):
            if not getattr(self, name) >= 0:
                raise ValueRangeError(
                    f"ladder: {name} is {getattr(self, name)}, must be at least 0"
                )


@dataclass(frozen=True, slots=True)
class Drift:
    """A stage compared with training.

    Attributes:
        compared: number of samples, the first ones of both runs.
        extra_errors: misclassified samples of this stage minus those of training.
        predictions: number of differing predictions.
        spikes: (in training, in this stage) per population that both have.
    """

    compared: int
    extra_errors: int
    predictions: int
    spikes: Mapping[str, tuple[int, int]]

    @property
    def points(self) -> float:
        """Change of accuracy in percentage points; negative if this stage is worse."""
        return -100 * self.extra_errors / self.compared

    @property
    def spike_change(self) -> float | None:
        """Relative change of the total spike count; None if training had no spikes."""
        before, after = (sum(pair[i] for pair in self.spikes.values()) for i in (0, 1))
        return after / before - 1 if before else None


def drift(run: Run, training: Run, labels: ArrayLike, *, whole: bool = True) -> Drift:
    """Compare a run with the training run, on the samples that both have.

    Args:
        whole: whether the run is of all neurons; otherwise spikes are not compared.
    """
    shared = min(run.samples, training.samples)
    truth = np.asarray(labels)[:shared]
    here, there = (one.predictions[:shared] for one in (run, training))
    spikes = {}
    for name in training.spike_counts if whole else ():
        pair = _spikes(training, name, shared), _spikes(run, name, shared)
        if pair[0] is not None and pair[1] is not None:
            spikes[name] = pair[0], pair[1]
    return Drift(
        compared=shared,
        extra_errors=int((there == truth).sum()) - int((here == truth).sum()),
        predictions=int((here != there).sum()),
        spikes=spikes,
    )


def merge_drifts(found: list[Drift]) -> Drift:
    """Combine the drifts of one stage on consecutive samples."""
    return Drift(
        compared=sum(one.compared for one in found),
        extra_errors=sum(one.extra_errors for one in found),
        predictions=sum(one.predictions for one in found),
        spikes={
            name: (sum(d.spikes[name][0] for d in found), sum(d.spikes[name][1] for d in found))
            for name in found[0].spikes
        },
    )


def drift_problem(found: Drift, limits: Limits) -> str:
    """The first exceeded limit, empty if there is none. One lost sample is always tolerated."""
    if found.extra_errors > max(1.0, limits.max_drop_points * found.compared / 100):
        return (
            f"accuracy is {-found.points:.2f} points below training, "
            f"limit {limits.max_drop_points:g}"
        )
    for name, (before, after) in found.spikes.items():
        if before >= FEW_SPIKES and abs(after / before - 1) > limits.max_spike_change:
            return (
                f"'{name}' has {after} spikes, training has {before} "
                f"({100 * (after / before - 1):+.1f} %, limit {100 * limits.max_spike_change:g} %)"
            )
    return ""


def _spikes(run: Run, name: str, shared: int) -> int | None:
    if name not in run.spike_counts:
        return None
    if run.samples == shared:
        return int(run.spike_counts[name].sum())
    trace = None if run.trace is None else run.trace.spikes.get(name)
    return None if trace is None else int(trace[:, :shared].sum())
