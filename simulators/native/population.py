"""Some steps of one population: input that is added beforehand, and the call of its loop."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import NamedTuple

import numpy as np

from spikeport.runs import Trace
from spikeport.simulators.native.currents import PIECE, Constant, piece_size, summed
from spikeport.simulators.native.frames import Int32
from spikeport.simulators.native.layout import channels_first, channels_last
from spikeport.simulators.native.loops import NOT_KEPT, BoundLoop
from spikeport.simulators.native.state import State
from spikeport.simulators.results import keep

_NOTHING: Set[str] = frozenset()
_NO_CURRENT = np.zeros((1, 1, 1), np.int32)


class ChunkRun(NamedTuple):
    """One chunk in a state that serves many.

    Attributes:
        trace: to be filled, if anything is recorded.
        constant: per population, the currents from static inputs, if there are any.
        updates: per population, counted so far; see `EventCounts`.
    """

    state: State
    trace: Trace | None
    constant: Mapping[str, Constant]
    updates: dict[str, int]


def run_steps(run: ChunkRun, name: str, now: range, origin: int) -> None:
    """Run one population through the steps `now` of the block that begins at `origin`."""
    state = run.state
    loop, bias = state.loops[name], _bias(state, name, now, origin)
    kept = _NOTHING if run.trace is None else _kept(run.trace, name, loop)
    if kept or loop.others or run.constant.get(name):
        _run_pieces(run, name, now, origin, bias, kept)
        return
    run.updates[name] += loop.run(
        loop.frame,
        now.start - origin,
        len(now),
        0,
        state.samples,
        False,
        _NO_CURRENT,
        bias,
        loop.nothing,
    )


def _run_pieces(
    run: ChunkRun, name: str, now: range, origin: int, bias: Int32, kept: Set[str]
) -> None:
    """The same where currents are added up beforehand or variables recorded, some at a time."""
    state, loop, constant = run.state, run.state.loops[name], run.constant.get(name, [])
    part, in_all = state.plan.parts[name], state.samples
    size, steps, count = part.size, len(now), in_all
    if loop.others or len(constant) > 1 or (constant and constant[0][0] > now.start):
        steps, count = piece_size(size, len(now), in_all)
    for sample in range(0, in_all, count):
        samples = slice(sample, min(sample + count, in_all))
        for begin in range(now.start, now.stop, steps):
            piece = range(begin, min(begin + steps, now.stop))
            current = summed(
                state.bound,
                state.received_from,
                constant,
                loop.others,
                piece,
                origin,
                samples,
                size,
                state.scratch,
            )
            for turn in _turns(piece, size * (samples.stop - samples.start), kept):
                shape = (len(turn), samples.stop - samples.start, size)
                after = tuple(
                    np.empty(shape, np.int32) if variable in kept else NOT_KEPT
                    for variable in loop.recordable
                )
                run.updates[name] += loop.run(
                    loop.frame,
                    turn.start - origin,
                    len(turn),
                    sample,
                    samples.stop - sample,
                    current is not None,
                    _NO_CURRENT
                    if current is None
                    else _of_turn(current, turn.start - piece.start, len(turn)),
                    _of_turn(bias, turn.start - now.start, len(turn)),
                    after,
                )
                if run.trace is None:
                    continue
                shown = {
                    variable: channels_first(values, part.shape)
                    for variable, values in zip(loop.recordable, after, strict=True)
                    if variable in kept
                }
                keep(run.trace, name, (slice(turn.start, turn.stop), samples), **shown)


def _kept(trace: Trace, name: str, loop: BoundLoop) -> Set[str]:
    """The state variables of a population that a trace holds."""
    return {variable for variable in loop.recordable if name in trace[variable]}


def _turns(steps: range, values: int, kept: Set[str]) -> list[range]:
    """All steps at once; if state is recorded, pieces of PIECE values, with `values` a step."""
    if not kept:
        return [steps]
    at_once = max(PIECE // values, 1)
    return [steps[first : first + at_once] for first in range(0, len(steps), at_once)]


def _of_turn(values: Int32, first: int, steps: int) -> Int32:
    """Values of some steps, of those that have one for each step."""
    return values[first : first + steps] if len(values) > 1 else values


def _bias(state: State, name: str, now: range, origin: int) -> Int32:
    """(bias + injected) << bias_exponent of the steps `now`: (steps or 1, B or 1, N).

    A placeholder where it is zero.
    """
    plan = state.plan
    if not plan.injections[name]:
        return plan.bias.get(name, _NO_CURRENT)
    part = plan.populations[name]
    mantissa = channels_last(part.bias, part.shape).reshape(1, 1, -1)
    for source in plan.injections[name]:
        stream = state.received_from[source]
        first = stream.before + now.start - origin
        taken = slice(None) if stream.static else slice(first, first + len(now))
        mantissa = mantissa + stream.messages[:, taken].swapaxes(0, 1)
    # Of one layout, since the loop is compiled for each.
    return np.array(mantissa << np.int32(part.bias_exponent), np.int32, order="C")
