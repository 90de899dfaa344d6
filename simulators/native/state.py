"""Everything that changes while a chunk of samples is running, allocated once for many chunks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spikeport.simulators.native.carry import Carried, Memory, carried, start_afresh
from spikeport.simulators.native.counting import Counters, counters
from spikeport.simulators.native.currents import piece_size
from spikeport.simulators.native.delivery import Bound
from spikeport.simulators.native.frames import RECEIVED, Int32
from spikeport.simulators.native.layout import uninitialised
from spikeport.simulators.native.loops import BoundLoop, bind_loop
from spikeport.simulators.native.messages import MessageBuffer, make_buffer
from spikeport.simulators.native.plan import Plan

_IDLE_BYTES = 8 << 20
_MOST_IDLE = 4


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The state of a chunk, in the internal order of neurons.

    Attributes:
        samples: B.
        block: number of steps that message buffers can hold.
        static: inputs that are the same in every step.
        replay: whether connections carry other spikes than the computed ones.
        carried: what later steps depend on.
        received_from: per source, the messages carried by connections.
        own: per population, the messages it computes; the same buffers except in a replay.
        given: per input that is not static, and in a replay per population, its messages.
        delayed: buffers with messages from before a block.
        bound: per connection that is not added up in the loop of its target.
        nbytes: memory of the large arrays.
    """

    plan: Plan
    samples: int
    block: int
    static: frozenset[str]
    replay: bool
    carried: Carried
    received_from: Mapping[str, MessageBuffer]
    own: Mapping[str, MessageBuffer]
    given: Mapping[str, MessageBuffer]
    delayed: Sequence[MessageBuffer]
    loops: Mapping[str, BoundLoop]
    bound: Mapping[str, Bound]
    counters: Counters
    scratch: Int32
    nbytes: int


def borrow(
    plan: Plan,
    samples: int,
    block: int,
    static: frozenset[str],
    replay: bool,
    before: Memory | None,
) -> State:
    """A state for chunks run in blocks of up to `block` steps; one of an earlier run, or a new one.

    For the other arguments see `State`.

    Args:
        before: what it continues from; step 0 if None.
    """
    state = _idle(plan, samples, block, static, replay)
    if state is None:
        state = _make(plan, samples, block, static, replay)
    elif before is None:
        start_afresh(plan, state.carried.neurons)
        for values in state.carried.sent.values():
            values[:] = 0
    if before is not None:
        state.carried.memory[:] = before
    return state


def _idle(
    plan: Plan, samples: int, block: int, static: frozenset[str], replay: bool
) -> State | None:
    """One that fits, which is then no longer idle."""
    state: State
    for state in tuple(plan.idle):
        if (
            state.samples == samples
            and state.block >= block
            and state.static == static
            and state.replay == replay
        ):
            try:
                plan.idle.remove(state)
            except ValueError:  # another thread was faster
                continue
            return state
    return None


def give_back(state: State) -> None:
    """Leave a state to later chunks of the network."""
    idle = state.plan.idle
    if len(idle) < _MOST_IDLE:
        idle.append(state)


def drop_large(plan: Plan) -> None:
    """Leave only small states to later runs."""
    for state in tuple(plan.idle):
        if state.nbytes > _IDLE_BYTES:
            with contextlib.suppress(ValueError):  # another thread was faster
                plan.idle.remove(state)


def _make(plan: Plan, samples: int, block: int, static: frozenset[str], replay: bool) -> State:
    held = carried(plan, samples)
    start_afresh(plan, held.neurons)

    def buffer(name: str) -> MessageBuffer:
        longest = plan.delays[name][-1]
        return make_buffer(plan.parts[name], samples, block, longest, static=name in static)

    received_from = {name: buffer(name) for name in plan.parts}
    own = {name: buffer(name) if replay else received_from[name] for name in plan.order}
    given = {
        name: stream
        for name, stream in received_from.items()
        if not stream.static and (replay or name not in own)
    }
    streams = [*received_from.values(), *(own.values() if replay else ())]
    received = uninitialised((RECEIVED,), np.int32)
    loops = {
        name: bind_loop(plan, name, received_from, own[name], held.neurons[name], received)
        for name in plan.order
    }
    outside = [c for loop in loops.values() for c in loop.others]
    outside += [c for each in plan.incoming.values() for c in each if c.source in static]
    largest = 0
    for part in plan.populations.values():
        steps, count = piece_size(part.size, block, samples)
        largest = max(largest, part.size * steps * count)
    scratch = np.empty(largest, np.int32)
    return State(
        plan=plan,
        samples=samples,
        block=block,
        static=static,
        replay=replay,
        carried=held,
        received_from=received_from,
        own=own,
        given=given,
        delayed=[stream for stream in streams if stream.before],
        loops=loops,
        bound={
            c.name: plan.deliveries[c.name].bind(received_from[c.source].graded) for c in outside
        },
        counters=counters(plan, samples, received_from, own),
        scratch=scratch,
        nbytes=held.memory.nbytes
        + scratch.nbytes
        + sum(stream.messages.nbytes for stream in streams),
    )
