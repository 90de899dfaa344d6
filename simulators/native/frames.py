"""What compiled loops work on in all their calls: bound once, and kept in a `bound.Frame`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeport.simulators.native.bound import Frame, frame_of, keeper
from spikeport.simulators.native.compiled import kernel
from spikeport.simulators.native.connection_tables import NOTHING, Tables
from spikeport.simulators.native.events import BAND, Buffers, buffers_for
from spikeport.simulators.native.neurons import example_of
from spikeport.simulators.native.vectors import LANES

Int32 = NDArray[np.int32]

RECEIVED = BAND + LANES[-1]
"""Size of the buffer for the currents of a tile, including the lanes after it."""


class Afferent(NamedTuple):
    """A connection from spikes that is added up in the loop of its target.

    Attributes:
        present: whether there is such a connection.
        messages: of its source.
        first: the row of `messages` that arrives in step 0 of the block.
    """

    present: bool
    messages: NDArray[np.uint8]
    first: int
    tables: Tables
    buffers: Buffers


class Loop(NamedTuple):
    """What the loop over the neurons of a population works on, the same in all its calls.

    Attributes:
        one, other: connections that it adds up itself; `other` has units of the same size as `one`
            or smaller.
        received: buffer for the currents of a tile and the lanes after it.
        state: of the neurons, arrays (B, N).
        dynamics: their constants.
        spikes: the messages that they send.
        before: the row of `spikes` that step 0 of the block writes.
        recorded: the state variables that traces can hold.
    """

    one: Afferent
    other: Afferent
    received: Int32
    state: Any
    dynamics: Any
    spikes: NDArray[np.uint8]
    before: int
    recorded: tuple[Int32, ...]


class Rows(NamedTuple):
    """A connection added up outside of the loop over neurons; `received` as in `Loop`."""

    tables: Tables
    buffers: Buffers
    received: Int32


def _example_loop(model: str) -> Loop:
    """With no connections, of a model by the name of its populations."""
    state, dynamics = example_of(model)
    no_messages = np.zeros((1, 1, 1), np.uint8)
    nothing = Afferent(False, no_messages, 0, NOTHING, buffers_for(NOTHING))
    recorded = tuple(values for values in state if values.dtype == np.int32)
    return Loop(nothing, nothing, np.zeros(1, np.int32), state, dynamics, no_messages, 0, recorded)


def _example_rows(weights: str) -> Rows:
    """Without rows, whose weights have a type of that name."""
    tables = NOTHING._replace(table=NOTHING.table.astype(weights))
    return Rows(tables, buffers_for(tables), np.zeros(1, np.int32))


_keep_loop, kept_loop = keeper(_example_loop)
_keep_rows, kept_rows = keeper(_example_rows)


@functools.cache
def _storing_loop(model: str) -> Callable[[Frame, Loop], int]:
    def store(frame: Frame, loop: Loop) -> int:
        return _keep_loop(frame, loop, model)

    return kernel(store)


@functools.cache
def _storing_rows(weights: str) -> Callable[[Frame, Rows], int]:
    def store(frame: Frame, rows: Rows) -> int:
        return _keep_rows(frame, rows, weights)

    return kernel(store)


def loop_frame(loop: Loop, model: str) -> Frame:
    """Store what the loop of a population works on, given the class name of the population."""
    return frame_of(_storing_loop(model), loop)


def rows_frame(rows: Rows) -> Frame:
    """Store a connection."""
    return frame_of(_storing_rows(weights_of(rows.tables)), rows)


def weights_of(tables: Tables) -> str:
    """The name of the type of the weights, by which `rows_frame` is read."""
    return tables.table.dtype.name
