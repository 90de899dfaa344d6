"""T steps of as many samples as are computed at once.

Steps are run in blocks. Within a block a population that lies on no cycle runs through all its
steps at once; those on common cycles take turns step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeport.fixed_point import DECAY_UNITY
from spikeport.network import (
    DeployedNetwork,
    Population,
    ReadoutKind,
    Reset,
    Synapses,
    threshold_state,
)
from spikeport.runs import Trace
from spikeport.simulators.native.currents import (
    Constant,
    constant_currents,
    piece_size,
    summed,
    wants_product,
)
from spikeport.simulators.native.events import BAND, Rooms, rooms_for
from spikeport.simulators.native.kernels import RECEIVED, Int32, advance, tally
from spikeport.simulators.native.layout import channels_first, channels_last
from spikeport.simulators.native.plan import Plan
from spikeport.simulators.native.replay import Spikes
from spikeport.simulators.native.streams import Stream, enter_block, make_stream
from spikeport.simulators.native.wiring import NOTHING, Tables
from spikeport.simulators.results import keep

Sent = Mapping[tuple[str, int], NDArray[np.int64]]
"""By source and delay d, how often each neuron fired in steps 0..T - 1 - d, shape of the source."""

_SHORT = 16
_NO_ROOMS = rooms_for(NOTHING)
_NO_CURRENT = np.zeros((1, 1, 1), np.int32)

_Counts = dict[tuple[str, int], NDArray[np.int64]]
"""The same in the inner order: (1, N), or (B, N) where it is read out."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is left of a chunk.

    Attributes:
        sent: spikes of populations and of inputs that have some for each step.
        scores: per readout population, (B, *shape).
        updates: per population, see `EventCounts`.
    """

    sent: Sent
    scores: Mapping[str, NDArray[np.int64]]
    updates: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _State:
    """A chunk under way: per population the arrays of its neurons, (B, N).

    Attributes:
        heard: per source, what connections carry.
        own: per population, what it computes; the same streams unless in a replay.
    """

    network: DeployedNetwork
    plan: Plan
    samples: int
    heard: Mapping[str, Stream]
    own: Mapping[str, Stream]
    u: Mapping[str, Int32]
    v: Mapping[str, Int32]
    constant: Mapping[str, Constant]
    updates: dict[str, int]
    scratch: Int32
    received: Int32
    rooms: dict[str, Rooms]
    trace: Trace


def run_chunk(
    network: DeployedNetwork,
    plan: Plan,
    inputs: Mapping[str, NDArray[Any]],
    block: int,
    trace: Trace,
    recorded: Spikes | None,
) -> Chunk:
    """Run all samples of `inputs` side by side and fill `trace` with what it has room for.

    Args:
        block: steps to run at once.
        recorded: spikes that connections carry instead of the computed ones.
    """
    state = _initial(network, plan, inputs, block, trace, recorded)
    counts = _no_counts(state)
    order = plan.components
    if recorded is not None:
        order = [((name,), False) for name in network.order]
    last = 0
    for begin in range(0, network.steps, block):
        now = range(begin, min(begin + block, network.steps))
        for stream in {id(s): s for s in (*state.heard.values(), *state.own.values())}.values():
            enter_block(stream, now.start, now.stop, last)
        last = len(now)
        for members, by_step in order:
            for turn in (range(t, t + 1) for t in now) if by_step else (now,):
                for name in members:
                    _run_steps(state, name, turn, begin)
        for name, stream in state.own.items():
            if name in trace.spikes:
                part = network.by_name[name]
                fired = stream.messages[:, stream.before :, : part.size][:, : len(now)]
                shown = channels_first(fired.swapaxes(0, 1), part.shape)
                keep(trace, name, slice(begin, now.stop), spikes=shown)
        for (name, delay), count in counts.items():
            stream = state.own.get(name, state.heard[name])
            stop = min(now.stop, network.steps - delay)
            few = np.empty(count.shape[1], np.uint8)
            tally(stream.messages, stream.before, stream.before + stop - begin, few, count)
    return Chunk(
        sent={
            key: channels_first(count.sum(axis=0), network.sources[key[0]].shape)
            for key, count in counts.items()
        },
        scores={
            r.population: channels_first(
                counts[r.population, 0]
                if r.kind is ReadoutKind.SPIKES
                else state.v[r.population].astype(np.int64),
                network.by_name[r.population].shape,
            )
            for r in network.readouts
        },
        updates=state.updates,
    )


def _initial(
    network: DeployedNetwork,
    plan: Plan,
    inputs: Mapping[str, NDArray[Any]],
    block: int,
    trace: Trace,
    recorded: Spikes | None,
) -> _State:
    samples = inputs[network.inputs[0].name].shape[-1 - len(network.inputs[0].shape)]
    given = {**inputs, **(recorded or {})}
    heard = {
        name: make_stream(network, part, given.get(name), samples, block)
        for name, part in network.sources.items()
    }
    own = {name: heard[name] for name in network.order}
    if recorded is not None:
        own = {
            name: make_stream(network, network.by_name[name], None, samples, block)
            for name in network.order
        }
    pieces = ((part.size, *piece_size(part.size, block, samples)) for part in network.populations)
    return _State(
        network=network,
        plan=plan,
        samples=samples,
        heard=heard,
        own=own,
        u={p.name: np.zeros((samples, p.size), np.int32) for p in network.populations},
        v={p.name: np.full((samples, p.size), p.v_init, np.int32) for p in network.populations},
        constant={name: constant_currents(network, plan, heard, name) for name in network.order},
        updates=dict.fromkeys(network.order, 0),
        scratch=np.empty(max(size * steps * count for size, steps, count in pieces), np.int32),
        received=np.empty(RECEIVED, np.int32),
        rooms={},
        trace=trace,
    )


def _no_counts(state: _State) -> _Counts:
    """Zeros for every source of spikes and every delay that its messages cross."""
    network = state.network
    counts: _Counts = {}
    single = {r.population for r in network.readouts if r.kind is ReadoutKind.SPIKES}
    for name, part in network.sources.items():
        if state.heard[name].static or state.heard[name].graded:
            continue
        delays = {c.delay for c in network.synapses if c.source == name}
        for delay in {0} | delays:
            rows = state.samples if delay == 0 and name in single else 1
            counts[name, delay] = np.zeros((rows, part.size), np.int64)
    return counts


def _run_steps(state: _State, name: str, now: range, origin: int) -> None:
    """Run one population through the steps `now` of the block that begins at `origin`."""
    part, own = state.network.by_name[name], state.own[name]
    u, v, trace = state.u[name], state.v[name], state.trace
    heard, others = _split(state, name, now, origin)
    first, second = (_part(state, name, c) for c in (*heard, None, None)[:2])
    bias = _bias(state, name, now, origin)
    run = _loop(state.plan, part, biased=bias is not None)
    steps, count = len(now), state.samples
    if others or any(delay > now.start for delay, _ in state.constant[name][:2]):
        steps, count = piece_size(part.size, len(now), state.samples)
    for sample in range(0, state.samples, count):
        samples = slice(sample, min(sample + count, state.samples))
        for begin in range(now.start, now.stop, steps):
            piece = range(begin, min(begin + steps, now.stop))
            current = summed(
                state.plan,
                state.heard,
                state.constant[name],
                others,
                piece,
                origin,
                samples,
                part.size,
                state.scratch,
            )
            for turn in _turns(trace, name, piece):
                at, since = turn.start - piece.start, turn.start - now.start
                state.updates[name] += run(
                    first.messages,
                    first.before + turn.start - origin,
                    first.tables,
                    first.rooms,
                    bool(heard),
                    second.messages,
                    second.before + turn.start - origin,
                    second.tables,
                    second.rooms,
                    len(heard) > 1,
                    _NO_CURRENT if current is None else _of_turn(current, at, len(turn)),
                    current is not None,
                    state.received,
                    _NO_CURRENT if bias is None else _of_turn(bias, since, len(turn)),
                    u,
                    v,
                    own.messages,
                    len(turn),
                    own.before + turn.start - origin,
                    sample,
                    samples.stop - sample,
                    part.decay_u,
                    part.decay_v,
                    threshold_state(part),
                    part.reset is Reset.SUBTRACT,
                )
                if name in trace.u or name in trace.v:
                    shown = (channels_first(values[samples], part.shape) for values in (u, v))
                    keep(trace, name, (turn.start, samples), **dict(zip("uv", shown, strict=True)))


def _turns(trace: Trace, name: str, steps: range) -> list[range]:
    """All steps at once, or each alone where u or v is kept after each."""
    if name in trace.u or name in trace.v:
        return [range(t, t + 1) for t in steps]
    return [steps]


def _of_turn(values: Int32, first: int, steps: int) -> Int32:
    """Values of some steps, of those that have one for each step."""
    return values[first : first + steps] if len(values) > 1 else values


class _Part(NamedTuple):
    """A connection as the loop takes it: step 0 of the block is messages[:, before]."""

    messages: NDArray[Any]
    before: int
    tables: Tables
    rooms: Rooms


def _part(state: _State, name: str, connection: Synapses | None) -> _Part:
    """A connection that the loop of population `name` adds up, or what stands for none."""
    if connection is None:
        return _Part(state.own[name].messages, 0, NOTHING, _NO_ROOMS)
    tables = state.plan.wirings[connection.name].tables
    if connection.name not in state.rooms:
        state.rooms[connection.name] = rooms_for(tables)
    stream = state.heard[connection.source]
    before = stream.before - connection.delay
    return _Part(stream.messages, before, tables, state.rooms[connection.name])


def _split(
    state: _State, name: str, now: range, origin: int
) -> tuple[list[Synapses], list[Synapses]]:
    """Up to two connections from spikes that the neurons' own loop adds up, and the others.

    What a population hears of itself is among them: the loop has just made those spikes.
    """
    moving = [c for c in state.plan.incoming[name] if not state.heard[c.source].static]
    chosen: list[Synapses] = []
    for c in moving:
        stream, wiring = state.heard[c.source], state.plan.wirings[c.name]
        middle = stream.before + now.start - c.delay - origin + len(now) // 2
        if not wiring.small or stream.graded:
            continue
        if c.source == name or not wants_product(wiring, stream, middle, 0):
            chosen.append(c)
    chosen.sort(key=lambda c: c.source != name)
    heard = chosen[:1]
    for c in chosen[1:]:
        pair = sorted((heard[0], c), key=lambda c: -state.plan.wirings[c.name].tables.width)
        if _side_by_side(*(state.plan.wirings[c.name].tables.width for c in pair)):
            heard = pair
            break
    return heard, [c for c in moving if c not in heard]


def _side_by_side(wide: int, narrow: int) -> bool:
    """Whether units of two widths fill the same bands of neurons."""
    return wide == narrow or (wide <= BAND and wide % narrow == 0)


def _loop(plan: Plan, part: Population, *, biased: bool) -> Callable[..., int]:
    """The loop compiled for the kind of a population."""
    memoryless = part.decay_u == DECAY_UNITY and part.name in plan.within
    return advance(memoryless, part.decay_v % _SHORT == 0, biased)


def _bias(state: _State, name: str, now: range, origin: int) -> Int32 | None:
    """(bias + injected) << bias_exponent of the steps `now`: (steps or 1, B or 1, N).

    None where it is zero.
    """
    part = state.network.by_name[name]
    if not state.plan.injections[name]:
        return state.plan.bias.get(name)
    mantissa = channels_last(part.bias, part.shape).reshape(1, 1, -1)
    for source in state.plan.injections[name]:
        stream = state.heard[source]
        first = stream.before + now.start - origin
        taken = slice(None) if stream.static else slice(first, first + len(now))
        mantissa = mantissa + stream.messages[:, taken].swapaxes(0, 1)
    return np.array(mantissa << np.int32(part.bias_exponent), np.int32)
