"""T steps of as many samples as are computed at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import (
    BiasInjection,
    Coding,
    DeployedNetwork,
    Input,
    Population,
    Reset,
    threshold_state,
)
from spikeport.runs import Trace
from spikeport.simulators.counts import PerNeuron
from spikeport.simulators.native.kernels import Int32, advance, deliver
from spikeport.simulators.native.replay import Spikes
from spikeport.simulators.native.wiring import Wiring
from spikeport.simulators.results import keep

Stream = NDArray[Any]
"""Messages of one source, (R, B, N): those of step t lie at t mod R. R is 1 for a static input,
T for a timed one, and as long as the longest delay asks for a population."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is left of a chunk: per population `fired` and `v` after step T (B, N) and the number
    of `updates`; per connection from a population the messages `delivered` by each source neuron.
    """

    fired: Mapping[str, Int32]
    v: Mapping[str, Int32]
    updates: Mapping[str, int]
    delivered: Mapping[str, PerNeuron]


@dataclass(frozen=True, slots=True)
class _State:
    """Arrays of one population, (B, N); `constant` is the current of static inputs."""

    u: Int32
    v: Int32
    current: Int32
    constant: Int32
    fired: Int32
    updates: NDArray[np.int64]


def _initial(population: Population, samples: int) -> _State:
    size = (samples, population.size)
    return _State(
        u=np.zeros(size, np.int32),
        v=np.full(size, population.v_init, np.int32),
        current=np.zeros(size, np.int32),
        constant=np.zeros(size, np.int32),
        fired=np.zeros(size, np.int32),
        updates=np.zeros(samples, np.int64),
    )


def run_chunk(
    network: DeployedNetwork,
    wirings: Mapping[str, Wiring],
    inputs: Mapping[str, NDArray[Any]],
    trace: Trace,
    recorded: Spikes | None,
) -> Chunk:
    """Run all samples of `inputs` side by side and fill `trace` with what it has room for.

    Args:
        recorded: spikes that connections carry instead of the computed ones.
    """
    samples = inputs[network.inputs[0].name].shape[-1 - len(network.inputs[0].shape)]
    state = {part.name: _initial(part, samples) for part in network.populations}
    spikes = {
        part.name: np.zeros((ring_length(network, part), samples, part.size), np.uint8)
        for part in network.populations
    }
    streams: dict[str, Stream] = {
        part.name: _input_stream(part, inputs[part.name]) for part in network.inputs
    }
    streams |= spikes if recorded is None else _replayed(recorded, samples)
    incoming = {name: [c for c in network.synapses if c.target == name] for name in network.order}
    static = {part.name for part in network.inputs if len(streams[part.name]) == 1}
    delivered = {
        c.name: np.zeros(network.by_name[c.source].size, np.int64)
        for c in network.synapses
        if c.source in network.by_name
    }
    bias: dict[str, Int32] = {}
    for t in range(network.steps):
        for name in network.order:
            population, own = network.by_name[name], state[name]
            if t == 0 or _injects_anew(network, population, streams):
                bias[name] = _bias_current(network, population, streams, t)
            for c in incoming[name]:
                if c.source in static and t == c.delay:
                    _deliver(wirings[c.name], streams[c.source][0], own.constant)
            np.copyto(own.current, own.constant)
            for c in incoming[name]:
                if c.source not in static and t >= c.delay:
                    stream = streams[c.source]
                    _deliver(wirings[c.name], stream[(t - c.delay) % len(stream)], own.current)
            now = spikes[name][t % len(spikes[name])]
            advance(
                own.current,
                bias[name],
                own.u,
                own.v,
                now,
                own.fired,
                own.updates,
                population.decay_u,
                population.decay_v,
                threshold_state(population),
                population.reset is Reset.SUBTRACT,
            )
            keep(trace, name, t, spikes=now, u=own.u, v=own.v)
        for c in network.synapses:
            if c.source in network.by_name and t == network.steps - 1 - c.delay:
                delivered[c.name] += state[c.source].fired.sum(axis=0, dtype=np.int64)
    return Chunk(
        fired={name: part.fired for name, part in state.items()},
        v={name: part.v for name, part in state.items()},
        updates={name: int(part.updates.sum()) for name, part in state.items()},
        delivered=delivered,
    )


def ring_length(network: DeployedNetwork, population: Population) -> int:
    """Steps of spikes to keep: the present one and the longest delay that is met within T."""
    delays = (c.delay for c in network.synapses if c.source == population.name)
    return 1 + min(max(delays, default=0), network.steps - 1)


def bytes_per_sample(
    network: DeployedNetwork, inputs: Mapping[str, NDArray[Any]], *, replay: bool
) -> int:
    """About what `run_chunk` allocates for each sample."""
    total = 0
    for population in network.populations:
        ring = ring_length(network, population) + (network.steps if replay else 0)
        total += population.size * (5 * 4 + ring)
    for part in network.inputs:
        timed = inputs[part.name].ndim > 1 + len(part.shape)
        total += part.size * (network.steps if timed else 1) * _message_type(part)().itemsize
    return total


def _message_type(part: Input) -> type[np.generic]:
    return np.uint8 if part.coding is Coding.SPIKES else np.int32


def _input_stream(part: Input, values: NDArray[Any]) -> Stream:
    samples = values.shape[-1 - len(part.shape)]
    return np.array(values, _message_type(part), order="C").reshape(-1, samples, part.size)


def _replayed(recorded: Spikes, samples: int) -> dict[str, Stream]:
    return {
        name: np.array(array, order="C").reshape(len(array), samples, -1)
        for name, array in recorded.items()
    }


def _deliver(wiring: Wiring, messages: Stream, current: Int32) -> None:
    deliver(
        messages,
        wiring.start,
        wiring.stop,
        wiring.tap,
        wiring.place,
        wiring.offset,
        wiring.table,
        wiring.positions,
        wiring.wraps,
        wiring.exponent,
        current,
    )


def _injections(network: DeployedNetwork, population: Population) -> list[str]:
    return [
        c.source
        for c in network.connections
        if isinstance(c, BiasInjection) and c.target == population.name
    ]


def _injects_anew(
    network: DeployedNetwork, population: Population, streams: Mapping[str, Stream]
) -> bool:
    """Whether the bias of a population changes from step to step."""
    return any(len(streams[source]) > 1 for source in _injections(network, population))


def _bias_current(
    network: DeployedNetwork, population: Population, streams: Mapping[str, Stream], t: int
) -> Int32:
    """(bias + injected) << bias_exponent, (B, N), or (1, N) where nothing is injected."""
    mantissa = population.bias.reshape(1, -1)
    for source in _injections(network, population):
        mantissa = mantissa + streams[source][t % len(streams[source])]
    return np.array(mantissa << np.int32(population.bias_exponent), np.int32)
