"""`run_native`: chunks of samples through the compiled loops, layer by layer."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import ValueRangeError
from spikeport.network import DeployedNetwork, Input
from spikeport.runs import (
    RecordSpec,
    ResetSchedule,
    Run,
    Samples,
    StreamState,
    Trace,
    check_samples,
    record_items,
    sample_count,
    select,
)
from spikeport.runs.stream_state import select_samples, side_by_side
from spikeport.simulators.counts import event_counts, input_messages
from spikeport.simulators.native.carry import still_arriving
from spikeport.simulators.native.chunk import Chunk, run_chunk
from spikeport.simulators.native.plan import Plan, cut, plan_of
from spikeport.simulators.native.replay import Spikes, check_recorded, check_replayed
from spikeport.simulators.results import assembled_run, empty_trace, narrowed

MEMORY_BYTES = 64 << 20
"""Memory for state and input copies of the samples computed at once; more is not faster."""


def run_native(
    network: DeployedNetwork,
    samples: Samples,
    *,
    record: RecordSpec = (),
    threads: int | None = None,
    recorded: Spikes | None = None,
    progress: Callable[[int, int], None] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    resets: ResetSchedule | None = None,
) -> Run:
    """Run a network on integer samples; all results equal those of `run_reference`.

    Args:
        samples: per input (B, *shape), presented at every step, or (T, B, *shape).
        record: which of "spikes", "u" and "v" to keep in `Run.trace`, or `Probe`s.
        threads: number of sample chunks to run at once, one per core if None; does not affect
            results.
        recorded: per population, spikes (T, B, *shape) that were observed elsewhere. Connections
            then carry these, each population computes its own spikes from them, and the run is
            valid only if all are equal, so that its counts are those of the recorded spikes.
        progress: called with (samples done, samples in all).
        memory_bytes: samples are computed in chunks that need about this much besides the results.
        resets: when neurons start afresh, besides step 0.

    Raises:
        InputError: samples or recorded spikes do not fit the network, `record` contains an unknown
            name, or `threads` is below 1.
        CheckFailedError: a population computes other spikes than the recorded ones.
    """
    named = record_items(record)
    arrays = check_samples(network.inputs, network.steps, samples, widen=False)
    count = sample_count(network.inputs, arrays)
    trace = empty_trace(network, count, record)
    if recorded is not None:
        recorded = check_recorded(network, count, recorded)
        trace = empty_trace(network, count, {*named, "spikes"})
    started = time.perf_counter()
    run, _ = run_plan(
        network,
        plan_of(network),
        arrays,
        trace,
        threads=threads,
        recorded=recorded,
        progress=progress,
        memory_bytes=memory_bytes,
        resets=resets,
    )
    return dataclasses.replace(
        run,
        trace=narrowed(trace, network, record) if record else None,
        wall_s=time.perf_counter() - started,
    )


def run_plan(
    network: DeployedNetwork,
    plan: Plan,
    arrays: Mapping[str, NDArray[Any]],
    trace: Trace,
    *,
    threads: int | None = None,
    recorded: Spikes | None = None,
    before: StreamState | None = None,
    progress: Callable[[int, int], None] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    resets: ResetSchedule | None = None,
) -> tuple[Run, StreamState | None]:
    """Like `run_native`, for a prepared network and checked samples.

    Args:
        trace: its arrays are filled.
        plan: of the network, or of one that differs only in its steps.
        before: state to continue from, instead of starting at step 0.

    Returns:
        The run, without its trace, and the state after it if one was given.
    """
    started = time.perf_counter()
    count = sample_count(network.inputs, arrays)
    threads = _thread_count(threads)
    at_once, block = cut(
        network,
        plan,
        arrays,
        memory_bytes=memory_bytes // threads,
        share=-(-count // threads),
        replay=recorded is not None,
    )
    parts = [slice(first, min(first + at_once, count)) for first in range(0, count, at_once)]

    def run_part(part: slice) -> Chunk:
        taken = select(network.inputs, arrays, part)
        carried = None if recorded is None else {n: s[:, part] for n, s in recorded.items()}
        state = None if before is None else select_samples(before, part)
        view = _view(trace, part)
        return run_chunk(network, plan, taken, block, view, carried, state, resets)

    sent: dict[tuple[str, int], NDArray[np.int64]] = {}
    updates = dict.fromkeys(network.by_name, 0)
    scores: dict[str, list[NDArray[np.int64]]] = {r.population: [] for r in network.readouts}
    after: list[StreamState] = []
    for part, chunk in zip(parts, _each(threads, run_part, parts), strict=True):
        for key, fired in chunk.sent.items():
            sent[key] = sent[key] + fired if key in sent else fired
        for name, touched in chunk.updates.items():
            updates[name] += touched
        for name, values in chunk.scores.items():
            scores[name].append(values.reshape(len(values), -1))
        if chunk.state is not None:
            after.append(chunk.state)
        if progress is not None:
            progress(part.stop, count)
    if recorded is not None:
        check_replayed(network, trace.spikes, recorded)

    def messages(name: str, delay: int) -> NDArray[np.int64]:
        if (name, delay) in sent:
            arrived = sent[name, delay]
        else:
            part = network.sources[name]
            assert isinstance(part, Input)
            arrived = input_messages(part, arrays[name], network.steps, delay)
        if before is None or delay == 0:
            return arrived
        return arrived + still_arriving(before, network.sources[name], network.steps, delay)

    counts = event_counts(
        network,
        samples=count,
        spikes={name: int(sent[name, 0].sum()) for name in network.by_name},
        updates=updates,
        input_events={part.name: int(messages(part.name, 0).sum()) for part in network.inputs},
        delivered={c.name: messages(c.source, c.delay) for c in network.weighted_connections},
        reached=plan.reached,
    )
    run = assembled_run(
        "native",
        network,
        scores={name: np.concatenate(values) for name, values in scores.items()},
        fired={name: sent[name, 0] for name in network.by_name},
        counts=counts,
        trace=None,
        wall_s=time.perf_counter() - started,
        network_hash=None if before is None else before.network_hash,
    )
    return run, side_by_side(after) if after else None


def _each(
    threads: int, run_part: Callable[[slice], Chunk], parts: Sequence[slice]
) -> Iterator[Chunk]:
    """The chunks in order, several of them computed at once."""
    if min(threads, len(parts)) == 1:
        yield from map(run_part, parts)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(run_part, parts)


def _view(trace: Trace, chosen: slice) -> Trace:
    """Views of the samples `chosen` of a trace."""
    tables = {
        variable: {name: array[:, chosen] for name, array in table.items()}
        for variable, table in trace.tables.items()
    }
    return Trace.of(tables, trace.neurons)


def _thread_count(wanted: int | None) -> int:
    """The requested number, or the number of cores available to this process."""
    if wanted is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if wanted < 1:
        raise ValueRangeError(f"threads is {wanted}, must be at least 1")
    return wanted
