"""How far a stage of the ladder has moved from training, not only from its neighbour.

A stage may be within its bound of the one above and yet each may lose a little to the same side.
So accuracy and spikes are also compared with training's, on the samples that both have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spikeport.errors import InputError
from spikeport.runs import Run

FEW_SPIKES = 100
"""Of fewer spikes in training a share says nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stage of the ladder may lose; everything but these bounds is exact or fails.

    Attributes:
        max_drop_points: percentage points of accuracy below training, and below the stage above
            where that stage changes the network on purpose.
        max_spike_change: relative change of a population's spikes against training.
        max_tie_points: percentage points of accuracy that ties may cost.
        max_tie_share: differing spikes, of all, in a stage that may differ by ties only.
    """

    max_drop_points: float = 1.0
    max_spike_change: float = 0.1
    max_tie_points: float = 0.2
    max_tie_share: float = 0.005

    def __post_init__(self) -> None:
        for name in ("max_spike_change", "max_tie_points", "max_tie_share"):
            if not getattr(self, name) >= 0:
                raise InputError(f"ladder: {name} is {getattr(self, name)}, must be at least 0")


@dataclass(frozen=True, slots=True)
class Drift:
    """A stage against training.

    Attributes:
        compared: samples, the first ones of both.
        fallen: samples that training had right and this stage has wrong, less the reverse.
        predictions: differing predictions.
        spikes: per population that both have, (in training, here).
    """

    compared: int
    fallen: int
    predictions: int
    spikes: Mapping[str, tuple[int, int]]

    @property
    def points(self) -> float:
        """Change of accuracy in percentage points; negative where this stage is worse."""
        return -100 * self.fallen / self.compared

    @property
    def spike_change(self) -> float | None:
        """Relative change of all spikes together; None where training had none."""
        before, after = (sum(pair[i] for pair in self.spikes.values()) for i in (0, 1))
        return after / before - 1 if before else None


def drift(run: Run, training: Run, labels: ArrayLike) -> Drift:
    """Compare a run with that of training, in what can be told of the samples that both have."""
    shared = min(run.samples, training.samples)
    truth = np.asarray(labels)[:shared]
    here, there = (one.predictions[:shared] for one in (run, training))
    spikes = {}
    for name in training.spike_counts:
        pair = _spikes(training, name, shared), _spikes(run, name, shared)
        if pair[0] is not None and pair[1] is not None:
            spikes[name] = pair[0], pair[1]
    return Drift(
        compared=shared,
        fallen=int((there == truth).sum()) - int((here == truth).sum()),
        predictions=int((here != there).sum()),
        spikes=spikes,
    )


def merge_drifts(found: list[Drift]) -> Drift:
    """Drifts of one stage on samples that follow one another, as one."""
    return Drift(
        compared=sum(one.compared for one in found),
        fallen=sum(one.fallen for one in found),
        predictions=sum(one.predictions for one in found),
        spikes={
            name: (sum(d.spikes[name][0] for d in found), sum(d.spikes[name][1] for d in found))
            for name in found[0].spikes
        },
    )


def drift_problem(found: Drift, limits: Limits) -> str:
    """What is beyond its bound, empty if nothing is. One sample may always change its answer."""
    if found.fallen > max(1.0, limits.max_drop_points * found.compared / 100):
        return (
            f"accuracy is {-found.points:.2f} points below training's, "
            f"limit {limits.max_drop_points:g}"
        )
    for name, (before, after) in found.spikes.items():
        if before >= FEW_SPIKES and abs(after / before - 1) > limits.max_spike_change:
            return (
                f"'{name}' has {after} spikes where training has {before} "
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
