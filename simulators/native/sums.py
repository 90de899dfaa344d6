"""Compiled parts that sum rows of a connection's table into currents.

Sums are int32 that wrap: numba computes in int64, and casting drops the high bits. Rows are summed
in int16 where `Tables.exact_rows` proves that nothing is lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.fixed_point import STATE_BITS, STATE_WRAP
from spikeport.simulators.native.compiled import part
from spikeport.simulators.native.vectors import (
    add_products_16,
    add_products_64,
    sum_rows_16,
    sum_rows_32,
    sum_rows_64,
    sum_rows_128,
    sum_rows_256,
)

Int32 = NDArray[np.int32]
Rows = NDArray[np.uint32]
_TURN = 1 << STATE_BITS


@part
def sum_rows(
    rows: Rows, count: int, table: NDArray[Any], low: int, high: int, exact: int, total: Int32
) -> None:
    """total[i] = sum of table[rows[k], low + i] over k < count, for whole lanes up to `high`."""
    no_values = total
    first = 0
    while True:
        stop = min(first + exact, count)
        onto = first > 0
        column = low
        while column < high:
            left, at = high - column, column - low
            if left >= 256:
                sum_rows_256(table, column, rows, first, stop, no_values, total, at, onto)
                column += 256
            elif left >= 128:
                sum_rows_128(table, column, rows, first, stop, no_values, total, at, onto)
                column += 128
            elif left >= 64:
                sum_rows_64(table, column, rows, first, stop, no_values, total, at, onto)
                column += 64
            elif left >= 32:
                sum_rows_32(table, column, rows, first, stop, no_values, total, at, onto)
                column += 32
            else:
                sum_rows_16(table, column, rows, first, stop, no_values, total, at, onto)
                column += 16
        first = stop
        if first >= count:
            return


@part
def sum_products(
    rows: Rows, values: Int32, count: int, table: NDArray[Any], low: int, high: int, total: Int32
) -> None:
    """total[i] = sum of values[k] * table[rows[k], low + i] over k < count, up to `high`."""
    column = low
    while column < high:
        at = column - low
        if high - column >= 64:
            add_products_64(table, column, rows, 0, count, values, total, at, False)
            column += 64
        else:
            add_products_16(table, column, rows, 0, count, values, total, at, False)
            column += 16


@part
def finish(total: Int32, scale: int, wraps: bool, exponent: int, fresh: bool, to: Int32) -> None:
    """((total << scale), wrapped to 24 bits) << exponent, into or onto `to`."""
    right = np.int32(max(-exponent, 0))
    if wraps:
        left = np.int32(max(exponent, 0))
        for i in range(to.size):
            sum32 = np.int64(np.int32(np.int64(total[i]) << scale))
            sum24 = ((sum32 + STATE_WRAP) & (_TURN - 1)) - STATE_WRAP
            x = np.int32(np.int32(sum24 << left) >> right)
            to[i] = x if fresh else np.int32(to[i] + x)
    elif fresh:
        left = np.int32(scale + max(exponent, 0))
        for i in range(to.size):
            to[i] = np.int32(total[i] << left) >> right
    else:
        left = np.int32(scale + max(exponent, 0))
        for i in range(to.size):
            to[i] += np.int32(total[i] << left) >> right
