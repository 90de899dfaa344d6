"""Compiled functions that add rows of a connection's table to currents.

Sums are int32 that wrap: numba computes in int64, and casting drops the high bits. Rows are added
in int16 if `Tables.exact_rows` proves that nothing is lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import LOIHI
from spikeport.simulators.native.compiled import part
from spikeport.simulators.native.connection_tables import Tables
from spikeport.simulators.native.vectors import (
    add_products_16,
    add_products_64,
    sum_rows_16,
    sum_rows_32,
    sum_rows_64,
    sum_rows_128,
    sum_rows_256,
)

STATE_BITS = LOIHI.state_bits
STATE_WRAP = LOIHI.state_wrap

Int32 = NDArray[np.int32]
Rows = NDArray[np.uint32]
_TURN = 1 << STATE_BITS


@part
def add_rows(
    tables: Tables, rows: Rows, count: int, low: int, high: int, fresh: bool, total: Int32,
    to: Int32, at: int,
) -> None:  # fmt: skip
    """Write or add the sum of `count` rows, columns low..high - 1, to to[at:].

    Whole lanes are written; columns of the last lanes beyond `high` are zero.
    """
    exact, right = tables.exact_rows, np.int32(max(-tables.exponent, 0))
    left = np.int32(tables.scale + max(tables.exponent, 0))
    columns = tables.table.shape[1] if high == tables.width else high
    # Right shifts do not distribute over partial sums.
    final = not tables.wraps and (right == 0 or count <= exact)
    into, place = (to, at) if final else (total, 0)
    onto = final and not fresh
    if not final:
        left, right = np.int32(0), np.int32(0)
    first = 0
    while True:
        stop = min(first + exact, count)
        _sum_rows(rows, first, stop, tables.table, low, columns, into, place, onto, left, right)
        onto = True
        first = stop
        if first >= count:
            break
    if not final:
        _finish(tables, total, high - low, fresh, to, at)


@part
def add_products(
    tables: Tables, rows: Rows, values: Int32, count: int, low: int, high: int, fresh: bool,
    total: Int32, to: Int32, at: int,
) -> None:  # fmt: skip
    """Like `add_rows`, for rows multiplied by values."""
    columns = tables.table.shape[1] if high == tables.width else high
    zero = np.int32(0)
    column = low
    while column < columns:
        place = column - low
        if columns - column >= 64:
            add_products_64(
                tables.table, column, rows, 0, count, values, total, place, False, zero, zero
            )
            column += 64
        else:
            add_products_16(
                tables.table, column, rows, 0, count, values, total, place, False, zero, zero
            )
            column += 16
    _finish(tables, total, high - low, fresh, to, at)


@part
def _sum_rows(
    rows: Rows,
    first: int,
    stop: int,
    table: NDArray[Any],
    low: int,
    high: int,
    to: Int32,
    at: int,
    onto: bool,
    left: Any,
    right: Any,
) -> None:
    """Use the widest vectors that fit, one after the other."""
    column = low
    while column < high:
        wide, place = high - column, at + column - low
        if wide >= 256:
            sum_rows_256(table, column, rows, first, stop, to, to, place, onto, left, right)
            column += 256
        elif wide >= 128:
            sum_rows_128(table, column, rows, first, stop, to, to, place, onto, left, right)
            column += 128
        elif wide >= 64:
            sum_rows_64(table, column, rows, first, stop, to, to, place, onto, left, right)
            column += 64
        elif wide >= 32:
            sum_rows_32(table, column, rows, first, stop, to, to, place, onto, left, right)
            column += 32
        else:
            sum_rows_16(table, column, rows, first, stop, to, to, place, onto, left, right)
            column += 16


@part
def _finish(tables: Tables, total: Int32, size: int, fresh: bool, to: Int32, at: int) -> None:
    """Write or add ((total << scale), wrapped to 24 bits) << exponent to `to`."""
    right = np.int32(max(-tables.exponent, 0))
    left = np.int32(max(tables.exponent, 0))
    for i in range(size):
        x = np.int32(total[i] << np.int32(tables.scale))
        if tables.wraps:
            x = np.int32(((np.int64(x) + STATE_WRAP) & (_TURN - 1)) - STATE_WRAP)
        x = np.int32(np.int32(x << left) >> right)
        to[at + i] = x if fresh else np.int32(to[at + i] + x)
