"""Spikeport's counts by the definitions of NeuroBench 2.3, from a run and its trace.

The effective operations of a connection are its synaptic events on non-zero weights
(`spikeport.EventCounts.synaptic_events`). Where NeuroBench defines a count otherwise, it is
recomputed here:

- dense: every position of a layer's matrix or kernel that meets a value, in every step, including
  the first steps of a delayed connection, and the synapses that a sparse connection does not store;
- behind a sum-pool, an event is a non-zero sum times a weight, not a spike times a weight;
- AC or MAC is decided for each layer and step: MACs if any value of the batch is not -1, 0 or 1;
- a layer inside snnTorch's `RLeaky`: twice, as `RLeaky` with a reset to zero calls it twice a step;
- membrane updates: every neuron in the first step, then those whose potential differs from the
  step before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.neurobench.exchange import inside_rleaky
from spikeport.network import DeployedNetwork, WeightedConnection
from spikeport.network.connections.linear_map import weighted_shape
from spikeport.runs import Run


def counted(
    network: DeployedNetwork,
    given: Mapping[str, NDArray[Any]],
    run: Run,
    *,
    rleaky: bool = False,
) -> dict[str, Any]:
    """Counts of a run whose trace holds all spikes and v, summed over samples and steps.

    Args:
        given: values of each input in every step, (T, B, *shape).
        rleaky: whether recurrent layers are inside `RLeaky`.
    """
    counts, trace = run.counts, run.trace
    assert counts is not None
    assert trace is not None
    sent = {**given, **trace.spikes}
    twice = {inside_rleaky(network, part) for part in network.populations} if rleaky else set()
    connections = {
        part.name: {
            **_operations(network, part, sent[part.source], 1 + (part.name in twice)),
            "synaptic_events": counts.synaptic_events[part.name],
        }
        for part in network.weighted_connections
    }
    weights = [_matrix(network, part) for part in network.weighted_connections]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    visits, spikes = counts.total("visits"), counts.total("spikes")
    return {
        "connections": connections,
        "populations": {name: {"spikes": number} for name, number in counts.spikes.items()},
        **{key: sum(one[key] for one in connections.values()) for key in ("ac", "mac", "dense")},
        "membrane_updates": sum(v[0].size + int((v[1:] != v[:-1]).sum()) for v in trace.v.values()),
        # multiplied and divided by the samples, as NeuroBench averages over batches, here one
        "activation_sparsity": (visits - spikes) / visits * run.samples / run.samples,
        # in float32 and with four decimals, as NeuroBench divides and rounds
        "connection_sparsity": round(
            float(np.float32(zeros) / np.float32(sum(weight.size for weight in weights))), 4
        ),
        "synaptic_events": counts.total("synaptic_events"),
        "updates": counts.total("updates"),
        "visits": visits,
    }


def _operations(
    network: DeployedNetwork, part: WeightedConnection, sent: NDArray[Any], calls: int
) -> dict[str, int]:
    """ACs, MACs and dense operations of a connection, given what its source sends."""
    source = network.sources[part.source].shape
    shape = weighted_shape(part, source)
    steps, batch = sent.shape[:2]
    late = np.zeros_like(sent, np.int64)
    late[part.delay :] = sent[: steps - part.delay]
    values = late.reshape(steps, batch, -1)
    if part.pool is not None:
        values = values @ part.pool.matrix(source).astype(np.int64).T
    nonzero, stored = (reached.ravel() for reached in part.reached(shape))
    events = (values != 0).sum(axis=1) @ nonzero
    multiplied = (np.abs(values) > 1).any(axis=(1, 2))
    dense = _matrix(network, part).size if part.storage == "sparse" else int(stored.sum())
    return {
        "ac": int(events[~multiplied].sum()) * calls,
        "mac": int(events[multiplied].sum()) * calls,
        "dense": dense * steps * batch * calls,
    }


def _matrix(network: DeployedNetwork, part: WeightedConnection) -> NDArray[np.int16]:
    """The weights of the layer: of a sparse connection, the whole matrix."""
    if part.storage != "sparse":
        return part.weight
    return part.matrix(weighted_shape(part, network.sources[part.source].shape))
