"""Calibration: choose the scale of every population by running it in candidate roundings.

Populations are fixed one after another, sources first. For each candidate scale the population is
rounded and run alone, in chip integers, on the spikes of its already rounded sources; the candidate
whose output is closest to that of the float network is kept. Downstream populations thus see
upstream rounding errors and can compensate for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
        run = partial(try_alone, lowered, part, seen, activity, run_chip, config)
        fits = partial(_fitting, lowered, part, config)
        tried = 0
        best: Trial | None = None
        for one in map(run, fits(first)):
            best, tried = _better(best, one), tried + 1
        if config.search_wider and (
            best is None or does_poorly(lowered, part, best, wanted, config)
        ):
            for one in map(run, fits(wider_candidates(lowered, part, first, config))):
                if one.state_range(run_chip).peak_u <= LOIHI.state_wrap // 2:
                    best, tried = _better(best, one), tried + 1
        if best is None:
            raise too_large(lowered, part, config) or no_scale(lowered, part, config)
        seen[part.name] = best.spikes
        chosen.append(Calibrated(best, tried, best.state_range(run_chip)))
    return tuple(chosen)


def _fitting(
    lowered: LoweredNetwork,
    part: FloatPopulation,
    config: QuantizeConfig,
    tried: Iterable[Candidate],
) -> tuple[Candidate, ...]:
    """Candidates whose sums the target's accumulator holds, lowered where necessary, each once."""
    found = (within(lowered, part, one, config) for one in tried)
    return tuple(dict.fromkeys(one for one in found if one is not None))


def _better(best: Trial | None, one: Trial) -> Trial:
    """The one with the smaller error, then with fewer spike mismatches, then the first."""
    if best is None:
        return one
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
