"""Decided, silent and tied predictions: agreement between silent or tied outputs proves nothing.

The prediction is argmax(scores), the lowest index on ties. Silent outputs therefore "predict" class
0, and tied outputs the lowest of the tied classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeport.runs.run import Run

_NOISE = 1e-6
"""Relative to the largest score: float scores closer than this differ by float32 rounding only."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Samples of a run that are decided, silent or tied, by the scores of its first readout.

    Attributes:
        decided: one score is higher than all others.
        silent: every score is 0.
        tied: two or more outputs share the highest score, and not all scores are 0.
        classes: number of distinct predictions among the decided samples.
    """

    decided: int
    silent: int
    tied: int
    classes: int


def describe_outputs(run: Run) -> Outputs:
    """Count the samples of `run` whose outputs are decided, silent or tied."""
    scores = _scores(run)
    certain, mute = decided(run), ~scores.any(axis=1)
    predictions = run.predictions[certain]
    return Outputs(
        decided=int(certain.sum()),
        silent=int(mute.sum()),
        tied=int((~certain & ~mute).sum()) if scores.shape[1] > 1 else 0,
        classes=len(np.unique(predictions)),
    )


@dataclass(frozen=True, slots=True)
class Agreement:
    """Predictions of a reference network (`wanted`) and another one (`got`) on the same samples.

    Attributes:
        outputs: number of scores per sample.
        agreeing: samples that both networks decide, for the same class.
        wanted, got: outputs of the reference and of the other network.
    """

    samples: int
    outputs: int
    agreeing: int
    wanted: Outputs
    got: Outputs

    @property
    def rate(self) -> float | None:
        """agreeing / samples decided by the reference; None if it decides none."""
        return self.agreeing / self.wanted.decided if self.wanted.decided else None


def compare_outputs(wanted: Run, got: Run) -> Agreement:
    """How often two runs on the same samples agree, among the samples that both decide."""
    both = decided(wanted) & decided(got)
    return Agreement(
        samples=wanted.samples,
        outputs=_scores(wanted).shape[1],
        agreeing=int((both & (wanted.predictions == got.predictions)).sum()),
        wanted=describe_outputs(wanted),
        got=describe_outputs(got),
    )


def decided(run: Run) -> NDArray[np.bool_]:
    """Whether one score of the first readout is higher than all others, shape (B,)."""
    scores = _scores(run)
    if scores.shape[1] < 2:
        return np.zeros(len(scores), np.bool_)
    second, first = np.partition(scores, -2, axis=1)[:, -2:].T
    exact = np.issubdtype(next(iter(run.scores.values())).dtype, np.integer)
    noise = 0.0 if exact else _NOISE
    ahead: NDArray[np.bool_] = first - second > noise * np.abs(scores).max(axis=1)
    return ahead


def silent_populations(run: Run) -> tuple[str, ...]:
    """Populations that never fire; if the membrane is read out, it must stay at 0 as well."""
    return tuple(
        name
        for name, counts in run.spike_counts.items()
        if not counts.any() and not np.any(run.scores.get(name, 0))
    )


def _scores(run: Run) -> NDArray[np.float64]:
    first = np.asarray(next(iter(run.scores.values())), np.float64)
    return first.reshape(len(first), -1)
