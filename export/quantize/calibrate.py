"""Calibration: choose the scale of every population by running it in candidate roundings.

Populations are fixed one after another, sources first. For each candidate scale the population is
rounded and run alone, in chip integers, on the spikes of its already rounded sources; the candidate
whose output is closest to that of the float network is kept. Downstream populations thus see
upstream rounding errors and can compensate for them.

Most candidates are far from the best, which few samples of a large population show: of several,
only those that come near the best on these are run on all.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from numpy.typing import NDArray

from spikeport.export.quantize.activity import FloatActivity
from spikeport.export.quantize.config import QuantizeConfig
from spikeport.export.quantize.lowered import FloatPopulation, LoweredNetwork
from spikeport.export.quantize.rounding_loss import (
    FEW_UNITS,
    coarse_share,
    relative_error,
    zeroed_fraction,
)
from spikeport.export.quantize.scales import Candidate, candidates, no_scale, wider_candidates
from spikeport.export.quantize.sums import too_large, within
from spikeport.export.quantize.trial import ChipSimulator, StateRange, Trial, try_alone
from spikeport.network import LOIHI, Connection, Population, weighted_among
from spikeport.runs import select

FEW, ANSWERS = 32, 1 << 17
"""Samples that all candidates run, if there are twice as many: at least `FEW`, and as many as give
so many answers of neurons, since the least error of few answers is often an accident."""
NEAR = 1.1
"""Error on these, relative to the least, up to which a candidate is compared on all samples."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A population at the best of its scales.

    Attributes:
        tried: number of scales that were tried.
    """

    trial: Trial
    tried: int
    state: StateRange

    @property
    def population(self) -> Population:
        """The rounded population."""
        return self.trial.population

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The rounded connections into it."""
        return self.trial.connections


def calibrate(
    lowered: LoweredNetwork,
    inputs: Mapping[str, NDArray[Any]],
    activity: Mapping[str, FloatActivity],
    run_chip: ChipSimulator,
    config: QuantizeConfig,
) -> tuple[Calibrated, ...]:
    """Round every population at the best of its candidate scales.

    With `config.search_wider`, `wider_candidates` are tried as well if the others do poorly.

    Args:
        inputs: calibration samples in chip integers.
        activity: of the float network on these samples, per population.
    """
    seen: dict[str, NDArray[Any]] = dict(inputs)
    chosen = []
    for part in lowered.populations:
        wanted = activity[part.name]
        first = candidates(
            lowered,
            part,
            peak_u=wanted.peak_u,
            peak_v=wanted.peak_v,
            config=config,
            ties=wanted.ties > 0,
        )
        on = partial(try_alone, lowered, part, run_chip=run_chip, config=config)
        runs = [partial(on, seen, activity)]
        few = max(FEW, ANSWERS // math.prod(part.shape))
        if len(wanted.output) >= 2 * few:
            runs.insert(0, partial(on, *_first(few, lowered, seen, activity)))
        fits = partial(_fitting, lowered, part, config)
        tried = fits(first)
        best = _best(tried, runs)
        if config.search_wider and (
            best is None or does_poorly(lowered, part, best, wanted, config)
        ):
            wider = fits(wider_candidates(lowered, part, first, config))
            found = _best(wider, runs, lambda one: _has_room(one, run_chip))
            tried += wider
            best = _better(best, found)
        if best is None:
            raise too_large(lowered, part, config) or no_scale(lowered, part, config)
        seen[part.name] = best.spikes
        chosen.append(Calibrated(best, len(tried), best.state_range(run_chip)))
    return tuple(chosen)


def _best(
    tried: Sequence[Candidate],
    runs: Sequence[Callable[[Candidate], Trial]],
    allowed: Callable[[Trial], bool] = lambda one: True,
) -> Trial | None:
    """The best of some candidates on all samples; None if none is allowed.

    Args:
        runs: on few samples, if there are more than a few, then on all.
    """
    for run in runs[:-1] if len(tried) > 1 else ():
        errors = [one.rms_error if allowed(one) else math.inf for one in map(run, tried)]
        limit = NEAR * min(errors)
        tried = [one for one, error in zip(tried, errors, strict=True) if error <= limit < math.inf]
    return functools.reduce(_better, filter(allowed, map(runs[-1], tried)), None)


def _has_room(one: Trial, run_chip: ChipSimulator) -> bool:
    """Whether u stays within half of its range."""
    return one.state_range(run_chip).peak_u <= LOIHI.state_wrap // 2


def _first(
    count: int,
    lowered: LoweredNetwork,
    seen: Mapping[str, NDArray[Any]],
    activity: Mapping[str, FloatActivity],
) -> tuple[dict[str, NDArray[Any]], dict[str, FloatActivity]]:
    """What the first `count` samples are, as far as it is known, and the activity on them."""
    inputs = select(lowered.inputs, seen, slice(count))
    spikes = {name: sent[:, :count] for name, sent in seen.items() if name not in inputs}
    return {**inputs, **spikes}, {
        name: replace(one, spikes=one.spikes[:, :count], output=one.output[:count])
        for name, one in activity.items()
    }


def _fitting(
    lowered: LoweredNetwork,
    part: FloatPopulation,
    config: QuantizeConfig,
    tried: Iterable[Candidate],
) -> tuple[Candidate, ...]:
    """Candidates whose sums the target's accumulator holds, lowered where necessary, each once."""
    found = (within(lowered, part, one, config) for one in tried)
    return tuple(dict.fromkeys(one for one in found if one is not None))


def _better(best: Trial | None, one: Trial | None) -> Trial | None:
    """The one with the smaller error, then with fewer spike mismatches, then the first."""
    if best is None or one is None:
        return one if best is None else best
    errors = [(trial.rms_error, trial.spike_mismatches) for trial in (best, one)]
    return one if errors[1] < errors[0] else best


def does_poorly(
    lowered: LoweredNetwork,
    part: FloatPopulation,
    made: Trial,
    wanted: FloatActivity,
    config: QuantizeConfig,
) -> bool:
    """Whether the output error is large, most weights are rounded to zero, or vth is a few units.

    The last two count even if the error on the calibration samples happens to be small.
    """
    limit = coarse_share(config.weight_bits)
    adapted = {connection.name: connection for connection in weighted_among(made.connections)}
    incoming = [w for w in lowered.incoming(part.name) if not w.biases]
    away = [zeroed_fraction(w.weight, adapted[w.name].weight) for w in incoming]
    return (
        max(away, default=0.0) > limit
        or made.population.vth <= FEW_UNITS
        or relative_error(made.rms_error, wanted.output) > limit
    )
