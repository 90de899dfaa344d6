"""Everything that changes while a chunk of samples is running, allocated once for many chunks."""

from __future__ import annotations

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
        initial: its memory before step 0.
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
    initial: Memory
    received_from: Mapping[str, MessageBuffer]
    own: Mapping[str, MessageBuffer]
    given: Mapping[str, MessageBuffer]
    delayed: Sequence[MessageBuffer]
    loops: Mapping[str, BoundLoop]
    bound: Mapping[str, Bound]
    counters: Counters
    scratch: Int32
    nbytes: int


def borrow(plan: Plan, samples: int, block: int, static: frozenset[str], replay: bool) -> State:
    """A state for chunks run in blocks of up to `block` steps; one of an earlier run, or a new one.

    For the arguments see `State`.
    """
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
    return _make(plan, samples, block, static, replay)


def give_back(state: State) -> None:
    """Leave a state to later runs of the network, unless it is large."""
    idle = state.plan.idle
    if state.nbytes <= _IDLE_BYTES and len(idle) < _MOST_IDLE:
        idle.append(state)


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
        initial=held.memory.copy(),
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
        nbytes=2 * held.memory.nbytes
        + scratch.nbytes
        + sum(stream.messages.nbytes for stream in streams),
    )
