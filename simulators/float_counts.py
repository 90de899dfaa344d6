"""Event counts of a float run, under the names of its deployed network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork
from spikeport.export.quantize.activity import membrane_of, spikes_of
from spikeport.export.quantize.connections import integer_connection
from spikeport.export.quantize.lower import lower
from spikeport.export.quantize.lowered import FloatConnection, FloatPopulation
from spikeport.network import Coding, PerNeuron, Reset, Shape, fan_out
from spikeport.runs import EventCounts, Run, Samples, Trace, check_float_samples
from spikeport.simulators.counts import input_messages


def float_counts(network: FloatNetwork, samples: Samples, run: Run) -> EventCounts:
    """Count the events of a float run from its spikes.

    Populations and connections are those of the lowered network, so the figures can be compared
    with the integer ones. An update is a neuron-step that begins or ends with v != 0, or fires; a
    readout population that is implicit in the graph (a linear map into Output) has no trace of v
    and counts as updated in every step.

    Args:
        samples: those of the run, in float units.
        run: with "spikes" and "v" (or "v_charged") in its trace, as returned by `run_float`,
            `run_norse` and the trainer's `evaluate`.

    Raises:
        InputError: the trace lacks a population of the graph.
    """
    lowered = lower(network)
    arrays = {**check_float_samples(network.inputs, network.steps, samples)}
    for part in network.inputs:
        if part.coding is Coding.BINARY:  # of whole numbers
            arrays[part.name] = np.rint(arrays[part.name] * part.scale)
    sizes = {part.name: part.size for part in lowered.populations}
    fired = {p.name: _spikes(run, p) for p in lowered.populations if p.threshold is not None}
    messages, nonzero, stored = {}, {}, {}
    for connection in lowered.connections:
        source = next((part for part in network.inputs if part.name == connection.source), None)
        if source is not None:
            sent = input_messages(source, arrays[source.name], network.steps, connection.delay)
        else:
            arriving = network.steps - connection.delay
            sent = fired[connection.source][: max(arriving, 0)].sum((0, 1), dtype=np.int64)
        messages[connection.name] = int(sent.sum())
        nonzero[connection.name], stored[connection.name] = (
            int(sent.ravel() @ reached.ravel()) for reached in _fan_out(connection, sent)
        )
    visits = {name: size * network.steps * run.samples for name, size in sizes.items()}
    return EventCounts(
        samples=run.samples,
        steps=network.steps,
        spikes={name: int(fired[name].sum()) if name in fired else 0 for name in sizes},
        visits=visits,
        updates={
            part.name: (
                _updates(run, part, lowered.reset) if part.name in fired else visits[part.name]
            )
            for part in lowered.populations
        },
        input_events={
            part.name: int(input_messages(part, arrays[part.name], network.steps).sum())
            for part in network.inputs
        },
        messages=messages,
        synaptic_events=nonzero,
        synaptic_events_all=stored,
    )


def in_populations(network: FloatNetwork, run: Run) -> Run:
    """A float run with its spikes under the names of the populations of the deployed network.

    The nodes of the graph have these names already, except those that became several populations.

    Args:
        run: with "spikes" in its trace.
    """
    lowered = lower(network)
    spikes = {p.name: _spikes(run, p) for p in lowered.populations if p.threshold is not None}
    counts = {name: fired.sum((0, 1), dtype=np.int64) for name, fired in spikes.items()}
    return replace(run, trace=Trace.of({"spikes": spikes}), spike_counts=counts)


def _spikes(run: Run, part: FloatPopulation) -> NDArray[np.uint8]:
    try:
        return spikes_of(part, run)
    except InputError as error:
        raise InputError(f"event counts: {error}") from None


def _updates(run: Run, part: FloatPopulation, reset: Reset) -> int:
    spikes = _spikes(run, part) != 0
    try:
        after: NDArray[Any] = membrane_of(part, run) != 0
    except InputError as error:
        raise InputError(f"event counts: {error}") from None
    if reset is Reset.ZERO:
        after = after & ~spikes
    active = after | spikes
    active[1:] |= after[:-1]
    if part.start:
        active[:1] = True
    return int(np.count_nonzero(active))


def _fan_out(connection: FloatConnection, sent: PerNeuron) -> tuple[PerNeuron, PerNeuron]:
    shape: Shape = sent.shape
    present = (connection.weight != 0).astype(np.int16)
    return fan_out(integer_connection(connection, present), shape)
