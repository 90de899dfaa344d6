"""Which connections the compiled loop over a population's neurons adds up, and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import WeightedConnection
from spikeport.simulators.native.bound import Frame
from spikeport.simulators.native.connection_tables import NOTHING, Tables
from spikeport.simulators.native.events import BAND, buffers_for
from spikeport.simulators.native.frames import Afferent, Int32, Loop, loop_frame
from spikeport.simulators.native.kernels import advance
from spikeport.simulators.native.messages import MessageBuffer
from spikeport.simulators.native.neurons import compiled_model, recorded_state
from spikeport.simulators.native.plan import Plan

NOT_KEPT = np.empty((0, 0, 0), np.int32)
_NO_ROOMS = buffers_for(NOTHING)


@dataclass(frozen=True, slots=True)
class BoundLoop:
    """How the compiled loop of a population is called.

    Attributes:
        run: see `kernels.advance`.
        loop: what it works on.
        frame: the same in the form that it takes.
        others: connections that are added up before it.
        recordable: names of the state variables that traces can hold.
        nothing: what the loop takes if none of them is recorded.
    """

    run: Callable[..., int]
    loop: Loop
    frame: Frame
    others: Sequence[WeightedConnection]
    recordable: tuple[str, ...]
    nothing: tuple[Int32, ...]


def bind_loop(
    plan: Plan,
    name: str,
    received_from: Mapping[str, MessageBuffer],
    own: MessageBuffer,
    neurons: tuple[NDArray[Any], ...],
    received: Int32,
) -> BoundLoop:
    """Bind the loop of population `name`; for the arguments see `state.State`."""
    part = plan.populations[name]
    inside, others = _split(plan, name, received_from)
    first, second = (
        _afferent(plan, connection, received_from, own) for connection in (*inside, None, None)[:2]
    )
    recorded = recorded_state(part, neurons)
    loop = Loop(
        first,
        second,
        received,
        compiled_model(part).state(*neurons),
        plan.dynamics[name],
        own.messages,
        own.before,
        tuple(recorded.values()),
    )
    model = type(part).__name__
    biased = name in plan.bias or bool(plan.injections[name])
    run = advance(model, plan.variants[name], biased)
    return BoundLoop(
        run, loop, loop_frame(loop, model), others, tuple(recorded), (NOT_KEPT,) * len(recorded)
    )


def _afferent(
    plan: Plan,
    connection: WeightedConnection | None,
    received_from: Mapping[str, MessageBuffer],
    own: MessageBuffer,
) -> Afferent:
    """A connection added up in the loop, or a placeholder for none."""
    if connection is None:
        return Afferent(False, own.messages, 0, NOTHING, _NO_ROOMS)
    tables = _tables(plan, connection)
    stream = received_from[connection.source]
    first = stream.before - connection.delay
    return Afferent(True, stream.messages, first, tables, buffers_for(tables))


def _split(
    plan: Plan, name: str, received_from: Mapping[str, MessageBuffer]
) -> tuple[list[WeightedConnection], list[WeightedConnection]]:
    """Up to two connections from spikes that are summed in the loop over neurons, and the others.

    A recurrent connection is among the former, as its spikes are computed in the same loop.
    """
    moving = [c for c in plan.incoming[name] if not received_from[c.source].static]
    chosen = [
        c
        for c in sorted(moving, key=lambda c: c.source != name)
        if plan.deliveries[c.name].loop_tables is not None and not received_from[c.source].graded
    ]
    inside = chosen[:1]
    for c in chosen[1:]:
        pair = sorted((inside[0], c), key=lambda c: -_tables(plan, c).width)
        if _side_by_side(*(_tables(plan, c).width for c in pair)):
            inside = pair
            break
    return inside, [c for c in moving if c not in inside]


def _tables(plan: Plan, connection: WeightedConnection) -> Tables:
    """Tables of a connection that the neurons' own loop adds up."""
    tables = plan.deliveries[connection.name].loop_tables
    assert tables is not None  # _split takes no other
    return tables


def _side_by_side(wide: int, narrow: int) -> bool:
    """Whether units of two widths fill the same bands of neurons."""
    return wide == narrow or (wide <= BAND and wide % narrow == 0)
