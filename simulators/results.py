"""Parts of a `Run` that every integer simulator makes in the same way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.network import DeployedNetwork
from spikeport.runs import EventCounts, Run, Trace

RECORDABLE = ("spikes", "u", "v")


def empty_trace(network: DeployedNetwork, samples: int, record: Collection[str]) -> Trace:
    """A trace of zeros, (T, B, *shape) per population, for each of the names in `record`.

    Raises:
        InputError: a name is not one of "spikes", "u" and "v".
    """
    for name in record:
        if name not in RECORDABLE:
            raise InputError(f"record: '{name}' cannot be recorded, only {', '.join(RECORDABLE)}")
    fields = {
        name: {
            part.name: np.zeros(
                (network.steps, samples, *part.shape), np.uint8 if name == "spikes" else np.int32
            )
            for part in network.populations
        }
        for name in RECORDABLE
        if name in record
    }
    return Trace(**fields)


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
    """The `Run` of a simulator of this package.

    Args:
        scores: per readout population, (B, N).
        fired: per population, spikes of each neuron over all samples, any shape.
    """
    return Run(
        backend=backend,
        version=spikeport_version(),
        network_hash=network.content_hash,
        samples=counts.samples,
        steps=network.steps,
        scores=scores,
        spike_counts={p.name: fired[p.name].reshape(p.shape) for p in network.populations},
        counts=counts,
        trace=trace,
        wall_s=wall_s,
    )


def spikeport_version() -> str:
    """Version of the installed package."""
    return metadata.version("spikeport")
