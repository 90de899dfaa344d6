"""One population, rounded at one scale and run alone on the calibration samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.export.quantize.activity import FloatActivity
from spikeport.export.quantize.config import QuantizeConfig
from spikeport.export.quantize.connections import remainder, round_connections
from spikeport.export.quantize.lowered import FloatPopulation, LoweredNetwork
from spikeport.export.quantize.rounding import round_population
from spikeport.export.quantize.scales import Candidate
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
)
from spikeport.runs import Run, SampleSet, Trace, sample_count, select

ChipSimulator = Callable[..., Run]
"""`simulators.native.run_native`, or an equivalent simulator."""
STATE_BYTES = 1 << 25
"""Size of the traces of u and v that are held at once."""


@dataclass(frozen=True, slots=True)
class StateRange:
    """How far the state of a population goes.

    Attributes:
        peak_u, peak_v: largest magnitudes, in chip units.
        saturated: neuron-steps in which v is at its limit.
    """

    peak_u: int
    peak_v: int
    saturated: int


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A rounded population with its connections, and its results when run alone on the samples.

    Attributes:
        real: before rounding, with the remainder of biases that a constant source sends.
        candidate: its scale.
        rms_error: of the answer: spikes per neuron and sample, or float membrane units.
        spike_mismatches: neuron-steps in which the spike differs from the float network's; 0 for a
            population that only integrates.
        network, samples: what was run.
    """

    real: FloatPopulation
    population: Population
    connections: tuple[Connection, ...]
    candidate: Candidate
    spikes: NDArray[np.uint8]
    rms_error: float
    spike_mismatches: int
    network: DeployedNetwork
    samples: SampleSet

    def state_range(self, run_chip: ChipSimulator) -> StateRange:
        """Run it again, as many samples at a time as STATE_BYTES hold, and look at u and v."""
        (part,) = self.network.populations
        count = sample_count(self.network.inputs, self.samples)
        at_once = max(STATE_BYTES // (8 * self.network.steps * part.size), 1)
        peak_u = peak_v = saturated = 0
        for first in range(0, count, at_once):
            taken = slice(first, min(first + at_once, count))
            chosen = select(self.network.inputs, self.samples, taken)
            trace = run_chip(self.network, chosen, record=("u", "v")).trace or Trace()
            highest = _magnitude(trace.v[part.name])
            if highest >= LOIHI.state_max:
                saturated += int(np.count_nonzero(np.abs(trace.v[part.name]) >= LOIHI.state_max))
            peak_u, peak_v = max(peak_u, _magnitude(trace.u[part.name])), max(peak_v, highest)
        return StateRange(peak_u, peak_v, saturated)


def try_alone(
    lowered: LoweredNetwork,
    part: FloatPopulation,
    seen: Mapping[str, NDArray[Any]],
    activity: Mapping[str, FloatActivity],
    run_chip: ChipSimulator,
    config: QuantizeConfig,
    candidate: Candidate,
) -> Trial:
    """Round one population and run it on given spikes; later sources send float ones."""
    incoming = lowered.incoming(part.name)
    rounded = round_connections(lowered, part.name, candidate.scale, config, candidate.exponent)
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
        fractions=any(connection.exponent < 0 for connection in rounded),
    )
    silent = part.threshold is None
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
        readouts=(Readout("alone", ReadoutKind.MEMBRANE if silent else ReadoutKind.SPIKES),),
        steps=lowered.steps,
    )
    given = SampleSet({aside[name]: values for name, values in samples.items()})
    run = run_chip(network, given, record=("spikes",))
    spikes = (run.trace or Trace()).spikes["alone"]
    wanted = activity[part.name]
    output = run.scores["alone"].reshape(wanted.output.shape)
    if silent:
        output = output / (LOIHI.weight_unit * candidate.scale)
    return Trial(
        real=part,
        population=population,
        connections=tuple(adapted),
        candidate=candidate,
        spikes=spikes,
        rms_error=float(np.sqrt(np.mean((output - wanted.output) ** 2))),
        spike_mismatches=0 if silent else int(np.count_nonzero(spikes != wanted.spikes)),
        network=network,
        samples=given,
    )


def _magnitude(values: NDArray[np.int32]) -> int:
    return max(int(values.max()), -int(values.min()))


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
