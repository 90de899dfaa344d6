"""Whether the outputs of a run decide for a class: that silent outputs agree shows nothing.

A prediction is the lowest index among the highest scores, so silent outputs "predict" class 0 and
tied ones the first of those that tie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeport.runs import Run

_NOISE = 1e-6
"""Relative to the largest score: float scores this close are equal but for float32 rounding."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Samples of a run by what its first readout says.

    Attributes:
        decided: one of several scores is higher than all others.
        silent: every score is 0.
        tied: the highest of several scores is shared, and not all are 0.
        classes: number of different predictions among the decided samples.
    """

    decided: int
    silent: int
    tied: int
    classes: int


def describe_outputs(run: Run) -> Outputs:
    """Count the samples of `run` whose outputs decide, are silent or tie."""
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
    """Predictions of two networks on the same samples, the first being what the second should be.

    Attributes:
        outputs: number of scores.
        agreeing: samples that are decided in both, for the same class.
        wanted, got: outputs of the first and of the second network.
    """

    samples: int
    outputs: int
    agreeing: int
    wanted: Outputs
    got: Outputs

    @property
    def rate(self) -> float | None:
        """Share of agreeing samples among those that the first decides; None if it decides none."""
        return self.agreeing / self.wanted.decided if self.wanted.decided else None


def compare_outputs(wanted: Run, got: Run) -> Agreement:
    """How often two runs of the same samples agree, where there is anything to agree on."""
    both = decided(wanted) & decided(got)
    return Agreement(
        samples=wanted.samples,
        outputs=_scores(wanted).shape[1],
        agreeing=int((both & (wanted.predictions == got.predictions)).sum()),
        wanted=describe_outputs(wanted),
        got=describe_outputs(got),
    )


def decided(run: Run) -> NDArray[np.bool_]:
    """Per sample, shape (B,), whether one score of the first readout stands above all others."""
    scores = _scores(run)
    if scores.shape[1] < 2:
        return np.zeros(len(scores), np.bool_)
    second, first = np.partition(scores, -2, axis=1)[:, -2:].T
    exact = np.issubdtype(next(iter(run.scores.values())).dtype, np.integer)
    noise = 0.0 if exact else _NOISE
    ahead: NDArray[np.bool_] = first - second > noise * np.abs(scores).max(axis=1)
    return ahead


def silent_populations(run: Run) -> tuple[str, ...]:
    """Populations that fire on no sample; one whose membrane is read also has to stay at zero."""
    return tuple(
        name
        for name, counts in run.spike_counts.items()
        if not counts.any() and not np.any(run.scores.get(name, 0))
    )


def _scores(run: Run) -> NDArray[np.float64]:
    first = np.asarray(next(iter(run.scores.values())), np.float64)
    return first.reshape(len(first), -1)
