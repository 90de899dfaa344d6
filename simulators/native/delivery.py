"""`Delivery`: conversion of messages to currents for each kind of connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spikeport.network import (
    Conv1d,
    Conv2d,
    Dense,
    Shape,
    Sparse,
    WeightedConnection,
    implementation_of,
    largest_sum,
)
from spikeport.simulators.native.bound import Frame
from spikeport.simulators.native.connection_tables import (
    LaidOut,
    Tables,
    lay_out_conv1d,
    lay_out_conv2d,
    lay_out_dense,
)
from spikeport.simulators.native.events import buffers_for
from spikeport.simulators.native.frames import (
    RECEIVED,
    Int32,
    Rows,
    rows_frame,
    weights_of,
)
from spikeport.simulators.native.kernels import deliver
from spikeport.simulators.native.scatter import scatter

_PRODUCTS_FROM = 0.5
"""Share of non-zero integers from which a matrix product beats adding rows times integers.

Measured by `benchmarks/products.py`. Rows of spikes need no multiplication: adding all of them is
faster than the product, so there is no such share for spikes.
"""


class Bound(Protocol):
    """Delivery of messages that are all integers, or all spikes, with buffers of its own."""

    def __call__(
        self, messages: NDArray[Any], first: int, first_sample: int, current: Int32, *, fresh: bool
    ) -> None:
        """Add the currents of messages to `current` (steps, B, N), or assign them if `fresh`.

        Reads messages[first_sample + b, first + t] for every t and b of `current`.
        """
        ...


class Delivery(Protocol):
    """A connection prepared for delivering messages."""

    @property
    def bound(self) -> int:
        """Magnitude that no current exceeds."""
        ...

    @property
    def loop_tables(self) -> Tables | None:
        """Tables for summing currents of spikes in the loop over neurons, if any."""
        ...

    def bind(self, graded: bool) -> Bound:
        """Allocate what delivering messages of integers, or of spikes, takes."""
        ...


@dataclass(frozen=True, slots=True)
class RowSums:
    """Delivery by sums of rows of tables."""

    laid_out: LaidOut

    @property
    def bound(self) -> int:
        """Magnitude that no current exceeds."""
        return self.laid_out.bound

    @property
    def loop_tables(self) -> Tables | None:
        """The tables, if their weights fit one byte."""
        return self.laid_out.tables if self.laid_out.small else None

    def bind(self, graded: bool) -> Bound:
        """See `Delivery`."""
        tables = self.laid_out.tables
        rows = Rows(tables, buffers_for(tables), np.empty(RECEIVED, np.int32))
        return BoundRows(self.laid_out, graded, rows, rows_frame(rows))


@dataclass(frozen=True, slots=True)
class BoundRows:
    """`RowSums` with its buffers, and the frame that refers to them."""

    laid_out: LaidOut
    graded: bool
    rows: Rows
    frame: Frame

    def __call__(
        self, messages: NDArray[Any], first: int, first_sample: int, current: Int32, *, fresh: bool
    ) -> None:
        """See `Bound`."""
        steps, count, _ = current.shape
        if self.graded and self.laid_out.exact_products:
            now = messages[first_sample : first_sample + count, first : first + steps]
            if np.count_nonzero(now) >= _PRODUCTS_FROM * now.size:
                multiply(now.swapaxes(0, 1), self.laid_out, current, fresh=fresh)
                return
        run = deliver(weights_of(self.rows.tables), self.graded)
        run(self.frame, messages, first, first_sample, fresh, current)


def multiply(messages: NDArray[Any], laid_out: LaidOut, current: Int32, *, fresh: bool) -> None:
    """Currents of `messages` (steps, B, N) by a float32 product known to be exact."""
    tables = laid_out.tables
    total = (messages.astype(np.float32) @ laid_out.factors).astype(np.int32)
    total <<= np.int32(tables.scale + max(tables.exponent, 0))
    total >>= np.int32(max(-tables.exponent, 0))
    if fresh:
        current[:] = total
    else:
        current += total


_Prepare = Callable[[Any, Shape, Shape, int], Delivery]


def _by_rows(lay_out: Callable[[Any, Shape, Shape, int], LaidOut]) -> _Prepare:
    return lambda connection, source, target, most: RowSums(
        lay_out(connection, source, target, most)
    )


_KINDS: Mapping[type[WeightedConnection], _Prepare] = {
    Dense: _by_rows(lay_out_dense),
    Sparse: scatter,
    Conv1d: _by_rows(lay_out_conv1d),
    Conv2d: _by_rows(lay_out_conv2d),
}


def delivery(
    connection: WeightedConnection, source: Shape, target: Shape, messages: tuple[int, int]
) -> Delivery:
    """Prepare a connection for messages within the range `messages`."""
    prepare = implementation_of(_KINDS, connection, "in the native simulator")
    low, high = messages
    most = largest_sum(connection, min(low, 0), max(high, 0))  # a neuron may also send nothing
    return prepare(connection, source, target, most)
