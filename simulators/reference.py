"""The specification: a `DeployedNetwork` executed scalar by scalar on Python integers.

Deliberately slow. Every other simulator must equal it in every spike, u, v and event count.
The response of a neuron to its input is defined by its model (`network/neurons`). Equations of
connections and their order as in lava-nc 0.10.0: `lava/proc/dense/models.py` (PyDenseModelBitAcc),
`lava/proc/conv/models.py` (PyConvModelFixed).
"""

from __future__ import annotations

import math
import time
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from spikeport.errors import UnsupportedError
from spikeport.network import (
    AnyPopulation,
    Arithmetic,
    Coding,
    DeployedNetwork,
    Input,
    ReadoutKind,
    Shape,
    WeightedConnection,
    afferents,
    fan_out,
    int32,
    weighted_shape,
    wrapped,
)
from spikeport.network.neurons.model import State
from spikeport.runs import (
    EventCounts,
    RecordSpec,
    ResetSchedule,
    Run,
    Samples,
    at_step,
    check_samples,
    sample_count,
)
from spikeport.simulators.counts import counted_parts
from spikeport.simulators.results import assembled_run, empty_trace, keep

MOST_SYNAPSES = 50_000_000
"""A larger network is refused: to list so many takes about a minute and 460 MB."""

_Reached = tuple["array[int]", "array[int]"]
"""Target neuron and weight of each synapse of a source neuron."""
_Sent = dict[str, list[list[int]]]
"""Per source, for each logical step so far, the message of each of its neurons."""


def connection_current(connection: WeightedConnection, total: int, arithmetic: Arithmetic) -> int:
    """Current into a target neuron from the sum of its weights times messages."""
    total = int32(total)
    if connection.wraps:
        total = wrapped(total, arithmetic.state_bits)
    if connection.exponent >= 0:
        return int32(total << connection.exponent)
    return total >> -connection.exponent


def initial_state(population: AnyPopulation, arithmetic: Arithmetic) -> State:
    """State of a neuron before step 0."""
    return tuple(register.initial for register in population.registers(arithmetic))


def recorded_state(population: AnyPopulation, states: Sequence[State]) -> dict[str, list[int]]:
    """Values of each traceable state variable in some neurons."""
    columns = zip(population.STATE, zip(*states, strict=True), strict=True)
    return {variable.name: list(values) for variable, values in columns if variable.recordable}


def bias_current(population: AnyPopulation, mantissa: int) -> int:
    """Current into v per step for a bias mantissa."""
    return int32(mantissa << population.bias_exponent)


def stored_synapses(network: DeployedNetwork) -> int:
    """Number of synapses, including zero weights, counted without listing them."""
    return sum(
        int(fan_out(part, network.sources[part.source].shape)[1].sum())
        for part in network.weighted_connections
    )


def synapses(connection: WeightedConnection, source_shape: Shape) -> list[_Reached]:
    """Every stored synapse of each source neuron, including zero weights."""
    reached = [(array("i"), array("i")) for _ in range(math.prod(source_shape))]
    made = connection.output_shape(weighted_shape(connection, source_shape))
    for target in range(math.prod(made)):
        for neuron, weight in afferents(connection, source_shape, target):
            targets, weights = reached[neuron]
            targets.append(target)
            weights.append(weight)
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
        """The counts, including a zero for every part without events."""
        names = counted_parts(network)
        counts = {
            kind: {name: getattr(self, kind)[name] for name in names[scope]}
            for kind, scope in EventCounts.SCOPES.items()
        }
        return EventCounts(samples=samples, steps=network.steps, **counts)


def run_reference(
    network: DeployedNetwork,
    samples: Samples,
    *,
    record: RecordSpec = (),
    resets: ResetSchedule | None = None,
) -> Run:
    """Run a network on integer samples, one neuron after the other.

    Args:
        samples: per input (B, *shape), presented at every step, or (T, B, *shape).
        record: which of "spikes", "u" and "v" to keep in `Run.trace`, or `Probe`s.
        resets: when neurons start afresh, besides step 0.

    Raises:
        InputError: samples do not fit the network, `record` contains an unknown name, or the
            network has more than `MOST_SYNAPSES` synapses.
    """
    if (found := stored_synapses(network)) > MOST_SYNAPSES:
        raise UnsupportedError(
            f"backend 'reference': the network has {found:,} synapses, runs at most "
            f"{MOST_SYNAPSES:,}; check_neurons recomputes sampled neurons of a network of any size"
        )
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
        states = _initial_states(network)
        sent: _Sent = {name: [] for name in network.sources}
        for t in range(network.steps):
            if resets is not None and resets.due(t):
                states = _initial_states(network)
            for part in network.inputs:
                values = at_step(part, arrays[part.name], t)[sample].ravel().tolist()
                sent[part.name].append(values)
                tally.input_events[part.name] += sum(_events(part, value) for value in values)
            for name in network.order:
                population = network.by_name[name]
                a, b = _summed(network, population, sent, t, reached, tally)
                spikes = _population_step(population, states[name], a, b, tally, network.arithmetic)
                sent[name].append(spikes)
                fired[name][sample] += spikes
                now = recorded_state(population, states[name])
                keep(trace, name, (t, sample), spikes=spikes, **now)
                charge[name][sample] = now["v"]

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


def _initial_states(network: DeployedNetwork) -> dict[str, list[State]]:
    return {p.name: [initial_state(p, network.arithmetic)] * p.size for p in network.populations}


def _summed(
    network: DeployedNetwork,
    population: AnyPopulation,
    sent: _Sent,
    t: int,
    reached: Mapping[str, list[_Reached]],
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
            source = network.sources[connection.source]
            totals = _totals(connection, source, reached[connection.name], messages, len(a), tally)
            current = [connection_current(connection, x, network.arithmetic) for x in totals]
            a = [int32(x + y) for x, y in zip(a, current, strict=True)]
    return a, [bias_current(population, m) for m in mantissa]


def _totals(
    connection: WeightedConnection,
    source: Input | AnyPopulation,
    reached: list[_Reached],
    messages: list[int],
    size: int,
    tally: _Tally,
) -> list[int]:
    """Sum of weights times messages of one step for each of `size` target neurons."""
    totals = [0] * size
    for neuron, message in enumerate(messages):
        if message == 0:
            continue
        events = _events(source, message)
        tally.messages[connection.name] += events
        for target, weight in zip(*reached[neuron], strict=True):
            tally.synaptic_events_all[connection.name] += events
            if weight != 0:
                tally.synaptic_events[connection.name] += events
            totals[target] += weight * message
    return totals


def _events(source: Input | AnyPopulation, value: int) -> int:
    """The number of messages that a value is sent as: 1 if it is not 0, or its binary digits."""
    if isinstance(source, Input) and source.coding is Coding.BINARY:
        return value.bit_count()
    return int(value != 0)


def _population_step(
    population: AnyPopulation,
    states: list[State],
    a: list[int],
    b: list[int],
    tally: _Tally,
    arithmetic: Arithmetic,
) -> list[int]:
    """Step every neuron, changing `states` in place; returns the spikes."""
    spikes = [0] * population.size
    for i, state in enumerate(states):
        tally.visits[population.name] += 1
        if population.may_move(state, a[i], b[i], arithmetic):
            tally.updates[population.name] += 1
        states[i], spike = population.step(state, a[i], b[i], arithmetic)
        if spike:
            tally.spikes[population.name] += 1
            spikes[i] = 1
    return spikes
