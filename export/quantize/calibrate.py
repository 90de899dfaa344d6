"""Calibration: choose the scale of every population by running it in candidate roundings.

Populations are fixed one after another, sources first. For each candidate scale the population is
rounded and run alone, in chip integers, on the spikes of its already rounded sources; the candidate
whose output is closest to that of the float network is kept. Downstream populations thus see
upstream rounding errors and can compensate for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.export.quantize.activity import FloatActivity
from spikeport.export.quantize.config import QuantizeConfig
from spikeport.export.quantize.connections import remainder, round_connections
from spikeport.export.quantize.lowered import FloatPopulation, LoweredNetwork
from spikeport.export.quantize.rounding import round_population
from spikeport.export.quantize.rounding_loss import (
    FEW_UNITS,
    coarse_share,
    relative_error,
    zeroed_fraction,
)
from spikeport.export.quantize.scales import Candidate, candidates, no_scale, wider_candidates
from spikeport.export.quantize.sums import too_large, within
from spikeport.network import (
    LOIHI,
    BiasInjection,
    Coding,
    Connection,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    ReadoutKind,
    weighted_among,
)
from spikeport.runs import Run, SampleSet, Trace

Array = NDArray[np.float64]


ChipSimulator = Callable[..., Run]
"""`simulators.native.run_native`, or an equivalent simulator."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A rounded population with its connections, and its results when run alone on the samples.

    Attributes:
        real: before rounding, with the remainder of biases that a constant source sends.
        candidate: the chosen scale.
        tried: number of scales that were tried.
        rms_error: of the answer: spikes per neuron and sample, or float membrane units.
        spike_mismatches: neuron-steps in which the spike differs from the float network's; 0 for a
            population that only integrates.
        peak_u, peak_v: largest magnitudes reached, in chip units.
        saturated: neuron-steps in which v was at its limit.
    """

    real: FloatPopulation
    population: Population
    connections: tuple[Connection, ...]
    candidate: Candidate
    tried: int
    spikes: NDArray[np.uint8]
    rms_error: float
    spike_mismatches: int
    peak_u: int
    peak_v: int
    saturated: int


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
        run = partial(_alone, lowered, part, seen, activity, run_chip, config)
        fits = partial(_fitting, lowered, part, config)
        best = _best(map(run, fits(first)))
        if config.search_wider and (
            best is None or does_poorly(lowered, part, best, wanted, config)
        ):
            more = map(run, fits(wider_candidates(lowered, part, first, config)))
            best = _best((one for one in more if one.peak_u <= LOIHI.state_wrap // 2), best)
        if best is None:
            raise too_large(lowered, part, config) or no_scale(lowered, part, config)
        seen[part.name] = best.spikes
        chosen.append(best)
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


def _best(found: Iterable[Calibrated], before: Calibrated | None = None) -> Calibrated | None:
    """The one with the smallest error, then the fewest spike mismatches, then the first."""
    best, tried = before, before.tried if before else 0
    for one in found:
        tried += 1
        error = one.rms_error, one.spike_mismatches
        if best is None or error < (best.rms_error, best.spike_mismatches):
            best = one
    return best and replace(best, tried=tried)


def does_poorly(
    lowered: LoweredNetwork,
    part: FloatPopulation,
    made: Calibrated,
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


def _alone(
    lowered: LoweredNetwork,
    part: FloatPopulation,
    seen: Mapping[str, NDArray[Any]],
    activity: Mapping[str, FloatActivity],
    run_chip: ChipSimulator,
    config: QuantizeConfig,
    candidate: Candidate,
) -> Calibrated:
    """Round one population and run it on given spikes; later sources send float ones."""
    incoming = lowered.incoming(part.name)
    scales = [candidate.scale / lowered.source_scale(c.source) for c in incoming]
    rounded = round_connections(incoming, scales, config)
    rest = remainder(part, incoming, rounded, candidate.scale, lowered.steps)
    part = replace(part, bias=part.bias + rest) if rest.any() else part
    adapted: list[Connection] = [*rounded]
    adapted += [BiasInjection(i.source, i.target, i.name) for i in lowered.injected(part.name)]
    population = round_population(
        part,
        candidate.scale,
        reset=lowered.reset,
        strict=lowered.strict,
        config=config,
        ties=candidate.ties,
        injected_exponent=candidate.injected_exponent,
    )
    sources, samples = _sources(lowered, {c.source for c in adapted}, seen, activity)
    if not sources:  # a network needs an input, even if nothing reads it
        sources = [Input("idle", (1,))]
        samples = {"idle": np.zeros((activity[part.name].spikes.shape[1], 1), np.uint8)}
    aside = {source.name: f"from_{i}" for i, source in enumerate(sources)}
    network = DeployedNetwork(
        inputs=tuple(replace(source, name=aside[source.name]) for source in sources),
        populations=(replace(population, name="alone"),),
        connections=tuple(
            replace(c, source=aside[c.source], target="alone", name=f"connection_{i}")
            for i, c in enumerate(adapted)
        ),
        readouts=(Readout("alone", ReadoutKind.MEMBRANE),),
        steps=lowered.steps,
    )
    given = SampleSet({aside[name]: values for name, values in samples.items()})
    trace = run_chip(network, given, record=("spikes", "u", "v")).trace or Trace()
    spikes, u, v = trace.spikes["alone"], trace.u["alone"], trace.v["alone"]
    if part.threshold is None:
        output = v[-1] / (LOIHI.weight_unit * candidate.scale)
    else:
        output = spikes.sum(axis=0, dtype=np.float64)
    return Calibrated(
        real=part,
        population=population,
        connections=tuple(adapted),
        candidate=candidate,
        tried=1,
        spikes=spikes,
        spike_mismatches=(
            0 if part.threshold is None else int((spikes != activity[part.name].spikes).sum())
        ),
        rms_error=float(np.sqrt(np.mean((output - activity[part.name].output) ** 2))),
        peak_u=int(np.abs(u).max()),
        peak_v=int(np.abs(v).max()),
        saturated=int((np.abs(v) >= LOIHI.state_max).sum()),
    )


def _sources(
    lowered: LoweredNetwork,
    names: Set[str],
    seen: Mapping[str, NDArray[Any]],
    activity: Mapping[str, FloatActivity],
) -> tuple[list[Input], dict[str, NDArray[Any]]]:
    """Inputs unchanged, spiking populations as inputs of spikes; and what they send."""
    sources = [part for part in lowered.inputs if part.name in names]
    samples = {part.name: seen[part.name] for part in sources}
    for name in sorted(names - samples.keys()):
        samples[name] = seen[name] if name in seen else activity[name].spikes
        sources.append(Input(name, samples[name].shape[2:], Coding.SPIKES))
    return sources, samples
