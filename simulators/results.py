"""Parts of a `Run` that are built in the same way by all integer simulators."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport.network import DeployedNetwork
from spikeport.runs import EventCounts, RecordSpec, Run, Trace, selection
from spikeport.version import __version__


def empty_trace(
    network: DeployedNetwork, samples: int, record: RecordSpec, *, steps: int | None = None
) -> Trace:
    """A trace of zeros with arrays for everything selected by `record`, and nothing else.

    Args:
        steps: T, if it is not that of the network.

    Raises:
        InputError: `record` contains something the network does not have or that cannot be
            recorded.
    """
    steps = network.steps if steps is None else steps
    tables: dict[str, dict[str, NDArray[Any]]] = defaultdict(dict)
    chosen = selection(network, record)
    for (variable, population), some in chosen.items():
        shape = network.by_name[population].shape if some is None else some.flat.shape
        kind = np.uint8 if variable == "spikes" else np.int32
        tables[variable][population] = np.zeros((steps, samples, *shape), kind)
    neurons = {key: some for key, some in chosen.items() if some is not None}
    return Trace.of(tables, neurons)


def keep(trace: Trace, population: str, at: Any, **values: ArrayLike) -> None:
    """Store values of a population in the arrays of the trace, if it has any for them.

    Args:
        at: index into the leading axes of its arrays: a step, a slice of steps, (step, sample).
        values: variables of the whole population, of any shape with the same order.
    """
    for variable, array in values.items():
        kept = trace[variable].get(population)
        if kept is None:
            continue
        room, some = kept[at], trace.neurons.get((variable, population))
        if some is None:
            room[...] = np.reshape(array, room.shape)
        else:
            whole = np.reshape(array, (*room.shape[:-1], math.prod(some.shape)))
            room[...] = whole[..., some.flat]


def narrowed(trace: Trace, network: DeployedNetwork, record: RecordSpec) -> Trace:
    """The part of a trace that `record` selects; the trace must contain at least that."""
    tables: dict[str, dict[str, NDArray[Any]]] = defaultdict(dict)
    chosen = selection(network, record)
    for key, some in chosen.items():
        variable, population = key
        array = trace[variable][population]
        if some is not None and key not in trace.neurons:
            array = array.reshape(*array.shape[:2], -1)[..., some.flat]
        tables[variable][population] = array
    neurons = {key: some for key, some in chosen.items() if some is not None}
    return Trace.of(tables, neurons)


def assembled_run(
    backend: str,
    network: DeployedNetwork,
    *,
    scores: Mapping[str, NDArray[np.int64]],
    fired: Mapping[str, NDArray[np.int64]],
    counts: EventCounts,
    trace: Trace | None,
    wall_s: float,
) -> Run:
    """Build the `Run` of a simulator of this package.

    Args:
        scores: per readout population, (B, N).
        fired: per population, spikes of each neuron over all samples, any shape.
    """
    return Run(
        backend=backend,
        version=__version__,
        network_hash=network.content_hash,
        samples=counts.samples,
        steps=counts.steps,
        scores=scores,
        spike_counts={p.name: fired[p.name].reshape(p.shape) for p in network.populations},
        counts=counts,
        trace=trace,
        wall_s=wall_s,
    )
