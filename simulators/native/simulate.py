"""`run_native`: chunks of samples through the compiled loops, step by step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from spikeport.errors import InputError
from spikeport.network import DeployedNetwork
from spikeport.probe import Record
from spikeport.runs import Run, Trace
from spikeport.samples import Samples, check_samples, sample_count, select
from spikeport.simulators.counts import event_counts, input_messages
from spikeport.simulators.native.chunk import Chunk, bytes_per_sample, run_chunk
from spikeport.simulators.native.replay import Spikes, check_recorded, check_replayed
from spikeport.simulators.native.wiring import wire
from spikeport.simulators.results import RECORDABLE, assembled_run, empty_trace, narrowed

MEMORY_BYTES = 64 << 20
"""State and input copies of the samples computed at once; more gains no speed."""
_MOST_SAMPLES = 128


def run_native(
    network: DeployedNetwork,
    samples: Samples,
    *,
    record: Record = (),
    threads: int | None = None,
    recorded: Spikes | None = None,
    progress: Callable[[int, int], None] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> Run:
    """Run a network on integer samples; equal to `run_reference` in every number.

    Args:
        samples: per input (B, *shape), presented at every step, or (T, B, *shape).
        record: which of "spikes", "u" and "v" to keep in `Run.trace`, or `Probe`s.
        threads: how many samples' chunks run at once, one per core if None; changes no result.
        recorded: per population the spikes (T, B, *shape) that were observed elsewhere. Then
            connections carry these, each population computes its own spikes from them, and the
            run is valid only if all are the recorded ones: its counts are those of the record.
        progress: called with (samples done, samples in all).
        memory_bytes: samples are computed in chunks that need about this much beside the results.

    Raises:
        InputError: samples or recorded spikes do not fit the network, what `record` names is
            unknown, or `threads` is below 1.
        CheckFailedError: a population computes other spikes than the recorded ones.
    """
    arrays = check_samples(network.inputs, network.steps, samples)
    count = sample_count(network.inputs, arrays)
    trace = empty_trace(network, count, record)
    if recorded is not None:
        recorded = check_recorded(network, count, recorded)
        trace = empty_trace(network, count, {*record, "spikes"})
    started = time.perf_counter()
    wirings = {c.name: wire(c, network.sources[c.source].shape) for c in network.synapses}
    threads = _thread_count(threads)
    at_once = (
        memory_bytes // threads // bytes_per_sample(network, arrays, replay=recorded is not None)
    )
    at_once = max(min(at_once, _MOST_SAMPLES, -(-count // threads)), 1)
    parts = [slice(first, min(first + at_once, count)) for first in range(0, count, at_once)]

    def run_part(part: slice) -> Chunk:
        taken = select(network.inputs, arrays, part)
        carried = None if recorded is None else {n: s[:, part] for n, s in recorded.items()}
        return run_chunk(network, wirings, taken, _view(trace, part), carried)

    chunks: list[Chunk] = []
    with ThreadPoolExecutor(threads) as pool:
        for part, chunk in zip(parts, pool.map(run_part, parts), strict=True):
            chunks.append(chunk)
            if progress is not None:
                progress(part.stop, count)
    if recorded is not None:
        check_replayed(network, trace.spikes, recorded)
    delivered = {
        c.name: input_messages(part, arrays[part.name], network.steps, c.delay)
        for c in network.synapses
        for part in network.inputs
        if c.source == part.name
    }
    for name in chunks[0].delivered:
        delivered[name] = sum((c.delivered[name] for c in chunks[1:]), chunks[0].delivered[name])
    fired = {
        name: np.concatenate([chunk.fired[name] for chunk in chunks]) for name in network.by_name
    }
    counts = event_counts(
        network,
        samples=count,
        spikes={name: int(array.sum(dtype=np.int64)) for name, array in fired.items()},
        updates={name: sum(chunk.updates[name] for chunk in chunks) for name in fired},
        input_events={
            part.name: int(input_messages(part, arrays[part.name], network.steps).sum())
            for part in network.inputs
        },
        delivered=delivered,
    )
    return assembled_run(
        "native",
        network,
        fired=fired,
        v={name: np.concatenate([chunk.v[name] for chunk in chunks]) for name in fired},
        counts=counts,
        trace=narrowed(trace, network, record) if record else None,
        wall_s=time.perf_counter() - started,
    )


def _view(trace: Trace, chosen: slice) -> Trace:
    """Views of the samples `chosen` of a trace."""
    return Trace(
        **{
            kind: {name: array[:, chosen] for name, array in getattr(trace, kind).items()}
            for kind in RECORDABLE
        },
        neurons=trace.neurons,
    )


def _thread_count(wanted: int | None) -> int:
    """The number asked for, or that of the cores this process may use."""
    if wanted is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if wanted < 1:
        raise InputError(f"threads is {wanted}, must be at least 1")
    return wanted
