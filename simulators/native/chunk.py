"""T steps of as many samples as are computed at once.

Steps are run in blocks. Within a block a population that lies on no cycle runs through all its
steps at once; those on common cycles take turns step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import ReadoutKind, Reset, threshold_state
from spikeport.runs import Trace
from spikeport.simulators.native.carry import hand_on, take_over
from spikeport.simulators.native.currents import Constant, constant_currents, piece_size, summed
from spikeport.simulators.native.layout import channels_first, channels_last
from spikeport.simulators.native.neurons import Int32, advance, tally
from spikeport.simulators.native.plan import Plan
from spikeport.simulators.native.replay import Spikes
from spikeport.simulators.native.streams import Stream, enter_block, make_stream
from spikeport.simulators.results import keep
from spikeport.stream_state import StreamState

Sent = Mapping[tuple[str, int], NDArray[np.int64]]
"""By source and delay d, how often each neuron fired in steps 0..T - 1 - d, shape of the source."""

_Counts = dict[tuple[str, int], NDArray[np.int64]]
"""The same in the inner order: (1, N), or (B, N) where it is read out."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is left of a chunk.

    Attributes:
        sent: spikes of populations and of inputs that have some for each step.
        scores: per readout population, (B, *shape).
        updates: per population, see `EventCounts`.
        state: after the last step, where one was given.
    """

    sent: Sent
    scores: Mapping[str, NDArray[np.int64]]
    updates: Mapping[str, int]
    state: StreamState | None


@dataclass(frozen=True, slots=True)
class _State:
    """A chunk under way: per population the arrays of its neurons, (B, N).

    Attributes:
        heard: per source, what connections carry.
        own: per population, what it computes; the same streams unless in a replay.
    """

    plan: Plan
    samples: int
    heard: Mapping[str, Stream]
    own: Mapping[str, Stream]
    u: Mapping[str, Int32]
    v: Mapping[str, Int32]
    constant: Mapping[str, Constant]
    updates: dict[str, int]
    scratch: Int32
    trace: Trace


def run_chunk(
    plan: Plan,
    inputs: Mapping[str, NDArray[Any]],
    block: int,
    trace: Trace,
    recorded: Spikes | None,
    before: StreamState | None = None,
) -> Chunk:
    """Run all samples of `inputs` side by side and fill `trace` with what it has room for.

    Args:
        block: steps to run at once.
        recorded: spikes that connections carry instead of the computed ones.
        before: state of these samples to go on from, instead of that before step 0.
    """
    network = plan.network
    state = _initial(plan, inputs, block, trace, recorded)
    kept = {"u": state.u, "v": state.v}
    if before is not None:
        take_over(before, network, kept, state.heard)
    counts = _no_counts(state)
    last = 0
    for begin in range(0, network.steps, block):
        now = range(begin, min(begin + block, network.steps))
        for stream in {id(s): s for s in (*state.heard.values(), *state.own.values())}.values():
            enter_block(stream, now.start, now.stop, last)
        last = len(now)
        for members, recurrent in plan.components:
            for turn in (range(t, t + 1) for t in now) if recurrent else (now,):
                for name in members:
                    _run_steps(state, name, turn, begin)
        for name, stream in state.own.items():
            if name in trace.spikes:
                part = network.by_name[name]
                fired = stream.messages[stream.before :][: len(now), :, : part.size]
                shown = channels_first(fired, part.shape)
                keep(trace, name, slice(begin, now.stop), spikes=shown)
        for (name, delay), count in counts.items():
            stream = state.own.get(name, state.heard[name])
            stop = min(now.stop, network.steps - delay)
            fired = stream.messages[stream.before : stream.before + max(stop - begin, 0)]
            tally(fired.reshape(-1, len(count), fired.shape[2]), count)
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
        state=None if before is None else hand_on(before, network, kept, state.heard, last),
    )


def _initial(
    plan: Plan,
    inputs: Mapping[str, NDArray[Any]],
    block: int,
    trace: Trace,
    recorded: Spikes | None,
) -> _State:
    network = plan.network
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
        plan=plan,
        samples=samples,
        heard=heard,
        own=own,
        u={p.name: np.zeros((samples, p.size), np.int32) for p in network.populations},
        v={p.name: np.full((samples, p.size), p.v_init, np.int32) for p in network.populations},
        constant={name: constant_currents(plan, heard, name) for name in network.order},
        updates=dict.fromkeys(network.order, 0),
        scratch=np.empty(max(size * steps * count for size, steps, count in pieces), np.int32),
        trace=trace,
    )


def _no_counts(state: _State) -> _Counts:
    """Zeros for every source of spikes and every delay that its messages cross."""
    network = state.plan.network
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
    part, own = state.plan.network.by_name[name], state.own[name]
    u, v, trace = state.u[name], state.v[name], state.trace
    bias = _bias(state, name, now, origin)
    steps, count = piece_size(part.size, len(now), state.samples)
    run = advance(part.decay_u, part.decay_v)
    for sample in range(0, state.samples, count):
        samples = slice(sample, min(sample + count, state.samples))
        for begin in range(now.start, now.stop, steps):
            piece = range(begin, min(begin + steps, now.stop))
            current = summed(
                state.plan,
                state.heard,
                state.constant[name],
                name,
                piece,
                origin,
                samples,
                state.scratch,
            )
            turns = (
                [piece]
                if name not in trace.u and name not in trace.v
                else ([range(t, t + 1) for t in piece])
            )
            for turn in turns:
                at, since = turn.start - piece.start, turn.start - now.start
                state.updates[name] += run(
                    current[at : at + len(turn)] if len(current) > 1 else current,
                    bias[since : since + len(turn)] if len(bias) > 1 else bias,
                    u,
                    v,
                    own.messages,
                    len(turn),
                    own.before + turn.start - origin,
                    sample,
                    part.decay_u,
                    part.decay_v,
                    threshold_state(part),
                    part.reset is Reset.SUBTRACT,
                )
                if name in trace.u or name in trace.v:
                    shown = (channels_first(values[samples], part.shape) for values in (u, v))
                    keep(trace, name, (turn.start, samples), **dict(zip("uv", shown, strict=True)))


def _bias(state: _State, name: str, now: range, origin: int) -> Int32:
    """(bias + injected) << bias_exponent of the steps `now`: (steps or 1, B or 1, N)."""
    part = state.plan.network.by_name[name]
    if not state.plan.injections[name]:
        return state.plan.bias[name]
    mantissa = channels_last(part.bias, part.shape).reshape(1, 1, -1)
    for source in state.plan.injections[name]:
        stream = state.heard[source]
        first = stream.before + now.start - origin
        taken = slice(None) if stream.static else slice(first, first + len(now))
        mantissa = mantissa + stream.messages[taken]
    return np.array(mantissa << np.int32(part.bias_exponent), np.int32)
