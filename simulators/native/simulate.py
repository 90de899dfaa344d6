"""`run_native`: chunks of samples through the compiled loops, layer by layer."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.cores import core_count
from spikeport.errors import ValueRangeError
from spikeport.network import DeployedNetwork, Shape
from spikeport.runs import (
    EventCounts,
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
from spikeport.simulators.native.carry import Pause, divided
from spikeport.simulators.native.chunk import Chunk, merged, run_chunk
from spikeport.simulators.native.layout import channels_first
from spikeport.simulators.native.plan import Plan, cut, plan_of
from spikeport.simulators.native.replay import Spikes, check_recorded, check_replayed
from spikeport.simulators.native.state import borrow, drop_large, give_back
from spikeport.simulators.results import empty_trace, narrowed
from spikeport.version import __version__

MEMORY_BYTES = 64 << 20
"""Memory for state and input copies of the samples computed at once, at most."""


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
        memory_bytes: samples are computed in chunks that need about this much at most, besides
            the results.
        resets: when neurons start afresh, besides step 0.

    Raises:
        InputError: samples or recorded spikes do not fit the network, `record` contains an unknown
            name, or `threads` is below 1.
        CheckFailedError: a population computes other spikes than the recorded ones.
    """
    named = record_items(record)
    arrays = check_samples(network.inputs, network.steps, samples, widen=False)
    count = sample_count(network.inputs, arrays)
    trace = empty_trace(network, count, record) if named else None
    if recorded is not None:
        recorded = check_recorded(network, count, recorded)
        trace = empty_trace(network, count, {*named, "spikes"})
    started = time.perf_counter()
    run, _ = run_plan(
        network,
        plan_of(network),
        arrays,
        network.steps,
        trace,
        threads=threads,
        recorded=recorded,
        progress=progress,
        memory_bytes=memory_bytes,
        resets=resets,
    )
    return dataclasses.replace(
        run,
        trace=narrowed(trace, network, record) if named and trace is not None else None,
        wall_s=time.perf_counter() - started,
    )


def run_plan(
    network: DeployedNetwork,
    plan: Plan,
    arrays: Mapping[str, NDArray[Any]],
    steps: int,
    trace: Trace | None,
    *,
    threads: int | None = None,
    recorded: Spikes | None = None,
    before: StreamState | Pause | None = None,
    progress: Callable[[int, int], None] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    resets: ResetSchedule | None = None,
) -> tuple[Run, Pause | None]:
    """Like `run_native`, for a prepared network and checked samples.

    Args:
        plan: of the network.
        steps: T, instead of that of the network.
        trace: its arrays are filled; None if nothing is recorded.
        before: what to continue from, instead of starting at step 0.

    Returns:
        The run, and what to continue from after it if `before` was given.
    """
    started = time.perf_counter()
    count = sample_count(network.inputs, arrays)
    threads = _thread_count(threads, count)
    static = frozenset(p.name for p in network.inputs if arrays[p.name].ndim == 1 + len(p.shape))
    replay = recorded is not None
    at_once, block = cut(
        plan,
        steps,
        static,
        memory_bytes=memory_bytes // threads,
        share=-(-count // threads),
        replay=replay,
    )
    if before is not None:
        before = divided(plan, network.content_hash, before, count, at_once)
    passed = 0 if before is None else before.step
    parts = [slice(first, min(first + at_once, count)) for first in range(0, count, at_once)]

    def run_part(part: slice) -> Chunk:
        taken, view, carried = arrays, trace, recorded
        if len(parts) > 1:
            taken = select(network.inputs, arrays, part)
            view = None if trace is None else _view(trace, part)
            carried = None if recorded is None else {n: s[:, part] for n, s in recorded.items()}
        memory = None if before is None else before.memories[part.start // at_once]
        state = borrow(plan, part.stop - part.start, block, static, replay, memory)
        chunk = run_chunk(
            *(state, taken, steps, block, view, carried),
            passed=passed, resets=resets, pauses=memory is not None,
        )  # fmt: skip
        give_back(state)
        return chunk

    chunks = []
    try:
        for chunk in _each(threads, run_part, parts):
            chunks.append(chunk)
            if progress is not None:
                progress(parts[len(chunks) - 1].stop, count)
    finally:
        drop_large(plan)
    if recorded is not None and trace is not None:
        check_replayed(network, trace.spikes, recorded)
    whole = merged(chunks)
    run = Run(
        backend="native",
        version=__version__,
        network_hash=network.content_hash,
        samples=count,
        steps=steps,
        scores=whole.scores,
        spike_counts={
            name: _in_shape(whole.sent[name, 0], part.shape)
            for name, part in plan.populations.items()
        },
        counts=_event_counts(plan, whole, count, steps),
        trace=trace,
        wall_s=time.perf_counter() - started,
    )
    if before is None:
        return run, None
    memories = [chunk.memory for chunk in chunks if chunk.memory is not None]
    return run, Pause(passed + steps, at_once, memories)


def _in_shape(count: NDArray[np.int64], shape: Shape) -> NDArray[np.int64]:
    """Counts (B or 1, N), summed over B, in the shape of their population."""
    flat = count[0] if len(count) == 1 else count.sum(axis=0)
    return channels_first(flat, shape)


def _event_counts(plan: Plan, whole: Chunk, samples: int, steps: int) -> EventCounts:
    totals, visited = whole.totals, samples * steps
    return EventCounts(
        samples=samples,
        steps=steps,
        visits={name: size * visited for name, size in plan.sizes.items()},
        updates=whole.updates,
        **{
            field: {name: totals[row] for name, row in rows.items()}
            for field, rows in plan.counted.items()
        },
    )


def _each(
    threads: int, run_part: Callable[[slice], Chunk], parts: Sequence[slice]
) -> Iterator[Chunk]:
    """The chunks in order, several of them computed at once."""
    if min(threads, len(parts)) == 1:
        return map(run_part, parts)
    return _at_once(threads, run_part, parts)


def _at_once(
    threads: int, run_part: Callable[[slice], Chunk], parts: Sequence[slice]
) -> Iterator[Chunk]:
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(run_part, parts)


def _view(trace: Trace, chosen: slice) -> Trace:
    """Views of the samples `chosen` of a trace."""
    tables = {
        variable: {name: array[:, chosen] for name, array in table.items()}
        for variable, table in trace.tables.items()
    }
    return Trace.of(tables, trace.neurons)


def _thread_count(wanted: int | None, samples: int) -> int:
    """The requested number, or that of cores available to this process; no more than samples."""
    if wanted is not None and wanted < 1:
        raise ValueRangeError(f"threads is {wanted}, must be at least 1")
    if samples == 1:
        return 1
    return min(wanted or core_count(), samples)
