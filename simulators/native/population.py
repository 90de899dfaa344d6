"""Some steps of one population: the connections summed in its loop, and the call of the loop."""

from __future__ import annotations

import numpy as np

from spikeport.network import WeightedConnection
from spikeport.simulators.native.connection_tables import NOTHING, Tables
from spikeport.simulators.native.currents import PIECE, piece_size, summed
from spikeport.simulators.native.events import BAND, buffers_for
from spikeport.simulators.native.kernels import Afferent, Int32, advance
from spikeport.simulators.native.layout import channels_first, channels_last
from spikeport.simulators.native.neurons import recorded_state
from spikeport.simulators.native.state import Loop, State
from spikeport.simulators.results import keep

_NO_ROOMS = buffers_for(NOTHING)
_NO_CURRENT = np.zeros((1, 1, 1), np.int32)
_NOT_KEPT = np.empty((0, 0, 0), np.int32)


def run_steps(state: State, name: str, now: range, origin: int) -> None:
    """Run one population through the steps `now` of the block that begins at `origin`."""
    part, trace = state.network.by_name[name], state.trace
    neurons, own = state.neurons[name], state.own[name]
    loop = state.loops.get(name) or _loop(state, name)
    bias = _bias(state, name, now, origin)
    run = advance(state.plan.variants[name], bias is not None)
    size, constant = part.size, state.constant[name]
    steps, count = len(now), state.samples
    if loop.others or len(constant) > 1 or (constant and constant[0][0] > now.start):
        steps, count = piece_size(size, len(now), state.samples)
    for sample in range(0, state.samples, count):
        samples = slice(sample, min(sample + count, state.samples))
        for begin in range(now.start, now.stop, steps):
            piece = range(begin, min(begin + steps, now.stop))
            current = summed(
                state.plan,
                state.received_from,
                constant,
                loop.others,
                piece,
                origin,
                samples,
                size,
                state.scratch,
            )
            for turn in _turns(loop, size, piece, samples.stop - samples.start):
                at, since = turn.start - piece.start, turn.start - now.start
                shape = (len(turn), samples.stop - samples.start, size)
                after = tuple(
                    np.empty(shape, np.int32) if kept else _NOT_KEPT for kept in loop.kept.values()
                )
                state.updates[name] += run(
                    loop.first,
                    loop.second,
                    current is not None,
                    _NO_CURRENT if current is None else _of_turn(current, at, len(turn)),
                    state.received,
                    _NO_CURRENT if bias is None else _of_turn(bias, since, len(turn)),
                    neurons,
                    loop.dynamics,
                    own.messages,
                    own.before,
                    turn.start - origin,
                    len(turn),
                    sample,
                    samples.stop - sample,
                    loop.recorded,
                    after,
                )
                shown = {
                    variable: channels_first(values, part.shape)
                    for (variable, kept), values in zip(loop.kept.items(), after, strict=True)
                    if kept
                }
                keep(trace, name, (slice(turn.start, turn.stop), samples), **shown)


def _turns(loop: Loop, size: int, steps: range, samples: int) -> list[range]:
    """All steps at once; pieces of PIECE values at most if state is recorded after each step."""
    if not any(loop.kept.values()):
        return [steps]
    at_once = max(PIECE // (size * samples), 1)
    return [steps[first : first + at_once] for first in range(0, len(steps), at_once)]


def _of_turn(values: Int32, first: int, steps: int) -> Int32:
    """Values of some steps, of those that have one for each step."""
    return values[first : first + steps] if len(values) > 1 else values


def _loop(state: State, name: str) -> Loop:
    """How to call the loop of a population; kept for its further steps."""
    part = state.network.by_name[name]
    received_from, others = _split(state, name)
    first, second = (_afferent(state, name, c) for c in (*received_from, None, None)[:2])
    recorded = recorded_state(part, state.neurons[name])
    kept = {variable: name in state.trace[variable] for variable in recorded}
    dynamics = state.plan.dynamics[name]
    loop = Loop(first, second, others, dynamics, tuple(recorded.values()), kept)
    state.loops[name] = loop
    return loop


def _afferent(state: State, name: str, connection: WeightedConnection | None) -> Afferent:
    """A connection summed in the loop of population `name`, or a placeholder for none."""
    if connection is None:
        return Afferent(False, state.own[name].messages, 0, NOTHING, _NO_ROOMS)
    tables = _tables(state, connection)
    if connection.name not in state.buffers:
        state.buffers[connection.name] = buffers_for(tables)
    stream = state.received_from[connection.source]
    first = stream.before - connection.delay
    return Afferent(True, stream.messages, first, tables, state.buffers[connection.name])


def _split(state: State, name: str) -> tuple[list[WeightedConnection], list[WeightedConnection]]:
    """Up to two connections from spikes that are summed in the loop over neurons, and the others.

    A recurrent connection is among the former, as its spikes are computed in the same loop.
    """
    moving = [c for c in state.plan.incoming[name] if not state.received_from[c.source].static]
    chosen = [
        c
        for c in sorted(moving, key=lambda c: c.source != name)
        if state.plan.deliveries[c.name].loop_tables is not None
        and not state.received_from[c.source].graded
    ]
    received_from = chosen[:1]
    for c in chosen[1:]:
        pair = sorted((received_from[0], c), key=lambda c: -_tables(state, c).width)
        if _side_by_side(*(_tables(state, c).width for c in pair)):
            received_from = pair
            break
    return received_from, [c for c in moving if c not in received_from]


def _tables(state: State, connection: WeightedConnection) -> Tables:
    """Tables of a connection that the neurons' own loop adds up."""
    tables = state.plan.deliveries[connection.name].loop_tables
    assert tables is not None  # _split takes no other
    return tables


def _side_by_side(wide: int, narrow: int) -> bool:
    """Whether units of two widths fill the same bands of neurons."""
    return wide == narrow or (wide <= BAND and wide % narrow == 0)


def _bias(state: State, name: str, now: range, origin: int) -> Int32 | None:
    """(bias + injected) << bias_exponent of the steps `now`: (steps or 1, B or 1, N).

    None where it is zero.
    """
    part = state.network.by_name[name]
    if not state.plan.injections[name]:
        return state.plan.bias.get(name)
    mantissa = channels_last(part.bias, part.shape).reshape(1, 1, -1)
    for source in state.plan.injections[name]:
        stream = state.received_from[source]
        first = stream.before + now.start - origin
        taken = slice(None) if stream.static else slice(first, first + len(now))
        mantissa = mantissa + stream.messages[:, taken].swapaxes(0, 1)
    return np.array(mantissa << np.int32(part.bias_exponent), np.int32)
