"""The specification: a `DeployedNetwork` executed scalar by scalar on Python integers.

Slow on purpose. Every other simulator must equal it in every spike, u, v and event count.
Equations and their order as in lava-nc 0.10.0: `lava/proc/lif/models.py` (PyLifModelBitAcc),
`lava/proc/dense/models.py` (PyDenseModelBitAcc), `lava/proc/conv/models.py` (PyConvModelFixed).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spikeport.network import (
    DeployedNetwork,
    Population,
    ReadoutKind,
    Reset,
    Shape,
    Synapse,
    WeightedConnection,
    afferents,
    threshold_state,
    weighted_shape,
)
from spikeport.network.fixed_point import (
    ACTIVATION_SHIFT,
    DECAY_BITS,
    DECAY_UNITY,
    STATE_BITS,
    STATE_MAX,
    STATE_WRAP,
)
from spikeport.runs import (
    EventCounts,
    RecordSpec,
    Run,
    Samples,
    at_step,
    check_samples,
    sample_count,
)
from spikeport.simulators.results import assembled_run, empty_trace, keep

_Sent = dict[str, list[list[int]]]
"""Per source, for each logical step so far, the message of each of its neurons."""


def wrapped(x: int, bits: int) -> int:
    """The two's complement number of `bits` bits that equals x modulo 2^bits."""
    half = 1 << (bits - 1)
    return (x + half) % (1 << bits) - half


def int32(x: int) -> int:
    """x as an int32 register holds it."""
    return wrapped(x, 32)


def decayed(state: int, decay: int) -> int:
    """tz(state * (4096 - decay), 12): the kept part of a state, truncated toward zero."""
    product = state * (DECAY_UNITY - decay)
    return int32(product >> DECAY_BITS if product >= 0 else -(-product >> DECAY_BITS))


def wrapped_once(u: int) -> int:
    """u into (-M, M], M = 2^23, by one turn at most: an overload of more stays beyond 24 bits."""
    if u > STATE_WRAP:
        return u - 2 * STATE_WRAP
    if u <= -STATE_WRAP:
        return u + 2 * STATE_WRAP
    return u


def neuron_step(
    population: Population, u: int, v: int, rest: int, a: int, b: int
) -> tuple[int, int, int, bool]:
    """One step of one neuron with summed input a and bias current b: u, v, rest, and spike.

    `rest` is how many steps of rest are left.
    """
    u = wrapped_once(int32(decayed(u, population.decay_u) + int32(a << ACTIVATION_SHIFT)))
    if rest > 0:
        return u, v, rest - 1, False
    v = int32(decayed(v, population.decay_v) + u + b)
    v = max(-STATE_MAX, min(STATE_MAX, v))
    threshold = threshold_state(population)
    spike = v > threshold
    if spike:
        v = 0 if population.reset is Reset.ZERO else v - threshold
        rest = population.refractory
    return u, v, rest, spike


def connection_current(connection: WeightedConnection, total: int) -> int:
    """What one target neuron receives from the sum of its weights times messages."""
    total = int32(total)
    if connection.wraps:
        total = wrapped(total, STATE_BITS)
    if connection.exponent >= 0:
        return int32(total << connection.exponent)
    return total >> -connection.exponent


def bias_current(population: Population, mantissa: int) -> int:
    """What a mantissa adds to v in one step."""
    return int32(mantissa << population.bias_exponent)


def synapses(connection: WeightedConnection, source_shape: Shape) -> list[list[Synapse]]:
    """Every stored synapse, zero weights included, that each source neuron reaches."""
    reached: list[list[Synapse]] = [[] for _ in range(math.prod(source_shape))]
    made = connection.output_shape(weighted_shape(connection, source_shape))
    for target in range(math.prod(made)):
        for neuron, weight in afferents(connection, source_shape, target):
            reached[neuron].append((target, weight))
    return reached


@dataclass(frozen=True, slots=True)
class _Tally:
    """Events counted one by one as they happen, by name of the part."""

    spikes: Counter[str] = field(default_factory=Counter)
    visits: Counter[str] = field(default_factory=Counter)
    updates: Counter[str] = field(default_factory=Counter)
    input_events: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    synaptic_events: Counter[str] = field(default_factory=Counter)
    synaptic_events_all: Counter[str] = field(default_factory=Counter)

    def event_counts(self, network: DeployedNetwork, samples: int) -> EventCounts:
        """The counts, with a zero for every part that saw no event."""
        names = {
            "inputs": [part.name for part in network.inputs],
            "populations": [part.name for part in network.populations],
            "synapses": [part.name for part in network.weighted_connections],
        }
        kinds = {"input_events": "inputs"}
        kinds |= dict.fromkeys(("spikes", "visits", "updates"), "populations")
        kinds |= dict.fromkeys(("messages", "synaptic_events", "synaptic_events_all"), "synapses")
        counts = {
            kind: {name: getattr(self, kind)[name] for name in names[parts]}
            for kind, parts in kinds.items()
        }
        return EventCounts(samples=samples, steps=network.steps, **counts)


def run_reference(network: DeployedNetwork, samples: Samples, *, record: RecordSpec = ()) -> Run:
    """Run a network on integer samples, one neuron after the other.

    Args:
        samples: per input (B, *shape), presented at every step, or (T, B, *shape).
        record: which of "spikes", "u" and "v" to keep in `Run.trace`, or `Probe`s.

    Raises:
        InputError: samples do not fit the network, or what `record` names is unknown.
    """
    arrays = check_samples(network.inputs, network.steps, samples)
    count = sample_count(network.inputs, arrays)
    trace = empty_trace(network, count, record)
    started = time.perf_counter()
    tally = _Tally()
    reached = {
        c.name: synapses(c, network.sources[c.source].shape) for c in network.weighted_connections
    }
    fired = {p.name: np.zeros((count, p.size), np.int64) for p in network.populations}
    charge = {p.name: np.zeros((count, p.size), np.int64) for p in network.populations}

    for sample in range(count):
        u = {p.name: [0] * p.size for p in network.populations}
        v = {p.name: [p.v_init] * p.size for p in network.populations}
        rest = {p.name: [0] * p.size for p in network.populations}
        sent: _Sent = {name: [] for name in network.sources}
        for t in range(network.steps):
            for part in network.inputs:
                values = at_step(part, arrays[part.name], t)[sample].ravel().tolist()
                sent[part.name].append(values)
                tally.input_events[part.name] += sum(value != 0 for value in values)
            for name in network.order:
                population = network.by_name[name]
                a, b = _summed(network, population, sent, t, reached, tally)
                spikes = _population_step(population, u[name], v[name], rest[name], a, b, tally)
                sent[name].append(spikes)
                fired[name][sample] += spikes
                keep(trace, name, (t, sample), spikes=spikes, u=u[name], v=v[name])
        for name, now in v.items():
            charge[name][sample] = now

    return assembled_run(
        "reference",
        network,
        scores={
            r.population: (fired if r.kind is ReadoutKind.SPIKES else charge)[r.population]
            for r in network.readouts
        },
        fired={name: counted.sum(axis=0) for name, counted in fired.items()},
        counts=tally.event_counts(network, count),
        trace=trace if record else None,
        wall_s=time.perf_counter() - started,
    )


def _summed(
    network: DeployedNetwork,
    population: Population,
    sent: _Sent,
    t: int,
    reached: Mapping[str, list[list[Synapse]]],
    tally: _Tally,
) -> tuple[list[int], list[int]]:
    """Summed input a and bias current b of each neuron in logical step t."""
    a = [0] * population.size
    mantissa = population.bias.ravel().tolist()
    for injection in network.injections_into(population.name):
        injected = sent[injection.source][t]
        mantissa = [m + x for m, x in zip(mantissa, injected, strict=True)]
    for connection in network.weighted_into(population.name):
        if t >= connection.delay:
            messages = sent[connection.source][t - connection.delay]
            current = _received(connection, reached[connection.name], messages, len(a), tally)
            a = [int32(x + y) for x, y in zip(a, current, strict=True)]
    return a, [bias_current(population, m) for m in mantissa]


def _received(
    connection: WeightedConnection,
    reached: list[list[Synapse]],
    messages: list[int],
    size: int,
    tally: _Tally,
) -> list[int]:
    """Current into each of `size` target neurons from the source's messages of one step."""
    totals = [0] * size
    for neuron, message in enumerate(messages):
        if message == 0:
            continue
        tally.messages[connection.name] += 1
        for target, weight in reached[neuron]:
            tally.synaptic_events_all[connection.name] += 1
            if weight != 0:
                tally.synaptic_events[connection.name] += 1
            totals[target] += weight * message
    return [connection_current(connection, total) for total in totals]


def _population_step(
    population: Population,
    u: list[int],
    v: list[int],
    rest: list[int],
    a: list[int],
    b: list[int],
    tally: _Tally,
) -> list[int]:
    """Step every neuron, changing u, v and the steps of rest left in place; returns the spikes."""
    spikes = [0] * population.size
    for i in range(population.size):
        tally.visits[population.name] += 1
        if (u[i], v[i], a[i], b[i]) != (0, 0, 0, 0):
            tally.updates[population.name] += 1
        u[i], v[i], rest[i], spike = neuron_step(population, u[i], v[i], rest[i], a[i], b[i])
        if spike:
            tally.spikes[population.name] += 1
            spikes[i] = 1
    return spikes
