"""Check of sampled neurons, in networks of any size, against the scalar specification.

A complete run of the specification takes minutes for each step of a network with millions of
synapses. One neuron needs only the messages that it receives, and these are in the trace: from them
`simulators.reference` computes its u, v and spikes scalar by scalar, which must equal the recorded
ones. A neuron that agrees is correct if its sources are, so neurons sampled from every population
check a complete run.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.network import (
    AnyPopulation,
    Arithmetic,
    DeployedNetwork,
    ReadoutKind,
    Shape,
    Synapse,
    WeightedConnection,
    afferents,
    int32,
)
from spikeport.network.neurons.model import State
from spikeport.runs import (
    Chosen,
    Probe,
    Run,
    Samples,
    Trace,
    check_samples,
    recordable,
    sample_count,
)
from spikeport.simulators.reference import (
    bias_current,
    connection_current,
    initial_state,
    recorded_state,
)
from spikeport.traces import TraceComparison, compare_runs
from spikeport.version import __version__

_Messages = Mapping[str, NDArray[Any]]
"""Per source (T, B, N)."""


def sample_probes(network: DeployedNetwork, count: int, seed: int = 0) -> tuple[Probe, ...]:
    """The probes of a run that `check_neurons` needs: all spikes, and the state of some neurons.

    Of each population these are `count` random ones and those at borders: its first and last; in a
    feature map (C, H, W) corners, edge midpoints and centre of the first and the last channel.
    """
    rng = np.random.default_rng(seed)
    return tuple(
        probe
        for part in network.populations
        for probe in (
            Probe(part.name, ("spikes",)),
            Probe(part.name, recordable(part)[1:], _some_neurons(part.shape, count, rng)),
        )
    )


def _some_neurons(shape: Shape, count: int, rng: np.random.Generator) -> tuple[int, ...]:
    channels, *sides = shape
    borders = product({0, channels - 1}, *({0, side // 2, side - 1} for side in sides))
    size = math.prod(shape)
    drawn = rng.choice(size, min(count, size), replace=False)
    return (*(int(np.ravel_multi_index(place, shape)) for place in borders), *drawn.tolist())


def check_neurons(network: DeployedNetwork, samples: Samples, run: Run) -> TraceComparison:
    """Compare every neuron with a recorded u or v with the specification.

    Args:
        samples: those of the run.
        run: of any backend, with all spikes of the source populations of these neurons.

    Returns:
        The comparison, with the specification as the second run.

    Raises:
        InputError: the run is of another network or B, has recorded u and v of no neuron, or
            lacks spikes of a source.
    """
    trace = _recomputed_trace(network, samples, run)
    return compare_runs(run, dataclasses.replace(run, trace=trace), network.order)


def recompute_neurons(network: DeployedNetwork, samples: Samples, run: Run) -> Run:
    """What the specification makes of a run's messages, in every neuron with a recorded u or v.

    Args:
        samples, run: as for `check_neurons`; with the state of all neurons of the readouts.

    Returns:
        A run with the trace and the spike counts of these neurons only, (K,) for each population,
        and without event counts; its scores are complete.

    Raises:
        InputError: as for `check_neurons`, or some neurons of a readout have no recorded u or v.
    """
    started = time.perf_counter()
    trace = _recomputed_trace(network, samples, run)
    for readout in network.readouts:
        some, every = _recorded(trace, part := network.by_name[readout.population]), part.size
        if some is None or len(some.flat) < every:
            raise InputError(
                f"check: u and v of {0 if some is None else len(some.flat):,} of {every:,} neurons "
                f"of readout '{part.name}' were recorded, its scores need all"
            )
    fired = {name: spikes.sum(axis=0, dtype=np.int64) for name, spikes in trace.spikes.items()}
    return Run(
        backend="reference",
        version=__version__,
        network_hash=network.content_hash,
        samples=run.samples,
        steps=run.steps,
        scores={
            r.population: fired[r.population]
            if r.kind is ReadoutKind.SPIKES
            else trace.v[r.population][-1]
            for r in network.readouts
        },
        spike_counts={name: counted.sum(axis=0) for name, counted in fired.items()},
        counts=None,
        trace=trace,
        wall_s=time.perf_counter() - started,
    )


def _recomputed_trace(network: DeployedNetwork, samples: Samples, run: Run) -> Trace:
    """Spikes and state of every neuron with a recorded u or v, by the specification.

    Raises:
        InputError: as for `check_neurons`.
    """
    if run.network_hash != network.content_hash:
        raise InputError(
            f"check: the run is of network {run.network_hash[:12]}, not {network.content_hash[:12]}"
        )
    arrays = check_samples(network.inputs, network.steps, samples)
    count = sample_count(network.inputs, arrays)
    if count != run.samples:
        raise InputError(f"check: {count} samples are given, the run is of {run.samples}")
    trace = run.trace or Trace()
    messages = _messages(network, arrays, trace)
    tables: dict[str, dict[str, NDArray[Any]]] = defaultdict(dict)
    neurons = {}
    for part in network.populations:
        chosen = _recorded(trace, part)
        if chosen is None:
            continue
        for variable, array in _recomputed(network, part, chosen.flat, messages).items():
            tables[variable][part.name] = array
            neurons[variable, part.name] = chosen
    if not neurons:
        raise InputError("check: the run has recorded u and v of no neuron")
    return Trace.of(tables, neurons)


def _recorded(trace: Trace, part: AnyPopulation) -> Chosen | None:
    """Neurons of a population whose state was recorded."""
    flat: set[int] = set()
    for variable in recordable(part)[1:]:
        if part.name in trace[variable]:
            some = trace.neurons.get((variable, part.name))
            flat |= set(range(part.size) if some is None else some.flat.tolist())
    return Chosen(np.array(sorted(flat), np.int64), part.shape) if flat else None


def _messages(
    network: DeployedNetwork, arrays: Mapping[str, NDArray[Any]], trace: Trace
) -> _Messages:
    """Messages of all inputs, and of the populations whose spikes were all recorded."""
    whole = {
        name: spikes
        for name, spikes in trace.spikes.items()
        if ("spikes", name) not in trace.neurons
    }
    messages = {}
    for name, values in {**arrays, **whole}.items():
        part = network.sources[name]
        flat = values.reshape(*values.shape[: values.ndim - len(part.shape)], part.size)
        messages[name] = np.broadcast_to(flat, (network.steps, *flat.shape[-2:]))
    return messages


def _recomputed(
    network: DeployedNetwork, part: AnyPopulation, neurons: NDArray[np.int64], messages: _Messages
) -> dict[str, NDArray[np.int64]]:
    """State and spikes of some neurons of a population, each (T, B, K)."""
    for c in network.incoming(part.name):
        if c.source not in messages:
            raise InputError(
                f"check: not all spikes of '{c.source}', a source of '{part.name}', were recorded"
            )
    samples = next(iter(messages.values())).shape[1]
    shape = (network.steps, samples, len(neurons))
    values = {name: np.empty(shape, np.int64) for name in recordable(part)}
    for k, neuron in enumerate(neurons.tolist()):
        mantissa = np.full((network.steps, samples), part.bias.flat[neuron], np.int64)
        for injection in network.injections_into(part.name):
            mantissa += messages[injection.source][..., neuron]
        received = []
        for c in network.weighted_into(part.name):
            synapses = list(afferents(c, network.sources[c.source].shape, neuron))
            received.append((c, _totals(synapses, messages[c.source], c.delay)))
        for sample in range(samples):
            totals = [(c, total[:, sample].tolist()) for c, total in received]
            states, spikes = zip(
                *_steps(part, totals, mantissa[:, sample].tolist(), network.arithmetic), strict=True
            )
            found = {**recorded_state(part, states), "spikes": spikes}
            for name, column in found.items():
                values[name][:, sample, k] = column
    return values


def _totals(synapses: list[Synapse], messages: NDArray[Any], delay: int) -> NDArray[np.int64]:
    """Sum of weights times messages that arrive at one neuron in each step: (T, B).

    int64 is exact: |weight| <= 2^8, |message| <= 2^23 and there are fewer than 2^31 synapses.
    """
    sources, weights = np.array(synapses, np.int64).reshape(-1, 2).T
    steps, samples, _ = messages.shape
    totals = np.zeros((steps, samples), np.int64)
    for sample in range(samples):
        arriving = messages[: max(steps - delay, 0), sample][:, sources]
        totals[delay:, sample] = arriving.astype(np.int64) @ weights
    return totals


def _steps(
    part: AnyPopulation,
    received: list[tuple[WeightedConnection, list[int]]],
    mantissa: list[int],
    arithmetic: Arithmetic,
) -> Iterator[tuple[State, bool]]:
    """State and spike of one neuron after each step of one sample."""
    state = initial_state(part, arithmetic)
    for t, m in enumerate(mantissa):
        a = 0
        for connection, totals in received:
            a = int32(a + connection_current(connection, totals[t], arithmetic))
        state, spike = part.step(state, a, bias_current(part, m), arithmetic)
        yield state, spike
