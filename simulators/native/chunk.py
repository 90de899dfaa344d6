"""T steps of as many samples as are computed at once.

Steps are run in blocks. Within a block, a population that is not on a cycle runs all its steps at
once; those on common cycles alternate step by step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeport.network import ReadoutKind
from spikeport.runs import ResetSchedule, Trace
from spikeport.simulators.native.carry import Memory, start_afresh
from spikeport.simulators.native.currents import constant_currents
from spikeport.simulators.native.layout import channels_first
from spikeport.simulators.native.messages import enter, keep_last
from spikeport.simulators.native.plan import Key
from spikeport.simulators.native.population import ChunkRun, run_steps
from spikeport.simulators.native.replay import Spikes
from spikeport.simulators.native.state import State
from spikeport.simulators.results import keep


class Chunk(NamedTuple):
    """The result of a chunk.

    Attributes:
        sent: messages of each neuron of a source that arrive after d steps within the chunk, in the
            internal order: (1, N), or (B, N) if it is read out.
        totals: the same weighted by the rows of all of `Plan.reached`.
        scores: per readout population, (B, N).
        updates: per population, see `EventCounts`.
        memory: of what later steps depend on, if asked for.
    """

    sent: Mapping[Key, NDArray[np.int64]]
    totals: Sequence[int]
    scores: Mapping[str, NDArray[np.int64]]
    updates: Mapping[str, int]
    memory: Memory | None


def run_chunk(
    state: State,
    inputs: Mapping[str, NDArray[Any]],
    steps: int,
    block: int,
    trace: Trace | None,
    recorded: Spikes | None,
    *,
    passed: int = 0,
    resets: ResetSchedule | None = None,
    pauses: bool = False,
) -> Chunk:
    """Run all samples of `inputs` together and fill the arrays of `trace`.

    Args:
        steps: T.
        block: number of steps to run at once, at most that of the state.
        recorded: spikes that connections carry instead of the computed ones.
        passed: steps before the first one.
        resets: when neurons start afresh, besides step 0.
        pauses: whether the memory of these samples is part of the result.
    """
    plan, order = state.plan, state.plan.components
    given = {**inputs, **recorded} if recorded else inputs
    run = _start(state, given, trace)
    if recorded is not None:
        order = [((name,), False) for name in plan.order]
    for begin, stop in _blocks(steps, block, passed, resets):
        now = range(begin, stop)
        if resets is not None and resets.due(passed + begin):
            start_afresh(plan, state.carried.neurons)
        for name, stream in state.given.items():
            enter(stream, given[name], begin, stop)
        for members, by_step in order:
            for turn in (range(t, t + 1) for t in now) if by_step else (now,):
                for name in members:
                    run_steps(run, name, turn, begin)
        if trace is not None:
            _record_spikes(state, trace, now)
        state.counters.add(begin, stop, steps)
        for stream in state.delayed:
            keep_last(stream, stop - begin)
    for name, kept in state.carried.sent.items():
        stream = state.received_from[name]
        if not stream.static:
            kept[:] = stream.messages[:, : stream.before, : stream.size]
    sent, totals = state.counters.read()
    return Chunk(
        sent,
        totals,
        {
            r.population: channels_first(
                sent[r.population, 0]
                if r.kind is ReadoutKind.SPIKES
                else state.loops[r.population].loop.state.v.astype(np.int64),
                plan.parts[r.population].shape,
            ).reshape(state.samples, -1)
            for r in plan.readouts
        },
        run.updates,
        state.carried.memory.copy() if pauses else None,
    )


def _start(state: State, given: Mapping[str, NDArray[Any]], trace: Trace | None) -> ChunkRun:
    """Bring messages and static inputs to where they are before the chunk."""
    plan, static = state.plan, state.static
    for name, kept in state.carried.sent.items():
        for streams in (state.received_from, state.own):
            stream = streams.get(name)
            if stream is not None and not stream.static:
                stream.messages[:, : stream.before, : stream.size] = kept
    for name in static:
        enter(state.received_from[name], given[name], 0, 1)
    constant = {}
    if static:
        for name in plan.order:
            constant[name] = constant_currents(plan, state.bound, state.received_from, name)
    return ChunkRun(state, trace, constant, dict.fromkeys(plan.populations, 0))


def _record_spikes(state: State, trace: Trace, now: range) -> None:
    for name in trace.spikes:
        stream = state.own[name]
        fired = stream.messages[:, stream.before : stream.before + len(now), : stream.size]
        shown = channels_first(fired.swapaxes(0, 1), stream.shape)
        keep(trace, name, slice(now.start, now.stop), spikes=shown)


def _blocks(
    steps: int, block: int, passed: int, resets: ResetSchedule | None
) -> Iterator[tuple[int, int]]:
    """Begin and end of each block: up to `block` steps, of which only the first may be a reset.

    Args:
        passed: steps before the first one.
    """
    begin = 0
    while begin < steps:
        stop = min(begin + block, steps)
        if resets is not None:
            stop = min(stop, resets.next_after(passed + begin) - passed)
        yield begin, stop
        begin = stop


def merged(chunks: Sequence[Chunk]) -> Chunk:
    """The results of all samples together, without their memories."""
    first = chunks[0]
    if len(chunks) == 1:
        return first

    def added(count: NDArray[np.int64]) -> NDArray[np.int64]:
        total: NDArray[np.int64] = count.sum(axis=0, keepdims=True)
        return total

    return Chunk(
        {key: added(np.concatenate([c.sent[key] for c in chunks])) for key in first.sent},
        [sum(each) for each in zip(*(c.totals for c in chunks), strict=True)],
        {name: np.concatenate([c.scores[name] for c in chunks]) for name in first.scores},
        {name: sum(c.updates[name] for c in chunks) for name in first.updates},
        None,
    )
