"""Compiled loops that turn messages into currents.

Arrays of messages are (steps, B, N), of currents (steps, B of the block, N_target). Sums are
int32 that wrap: numba computes in int64, and casting drops the high bits. Where rows of the table
are summed in int16, `Wiring.exact_rows` proves that nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spikeport.fixed_point import STATE_BITS, STATE_WRAP
from spikeport.simulators.native.compiled import kernel
from spikeport.simulators.native.events import (
    SLACK,
    append,
    copy_values,
    divide,
    list_spikes,
    list_values,
)

Int32 = NDArray[np.int32]
Index = NDArray[np.int32]
Messages = NDArray[Any]
"""Spikes as uint64 words of eight bytes each, or int32 values."""

_TURN = 1 << STATE_BITS
_BAND = 2048

@njit(nogil=True)
def _finish(total, scale, wraps, exponent, fresh, target):
    """((total << scale), wrapped to 24 bits) << exponent, into or onto `target`."""
    right = np.int32(max(-exponent, 0))
    if wraps:
        left = np.int32(max(exponent, 0))
        for i in range(target.size):
            x = np.int64(np.int32(np.int64(total[i]) << scale))
            x = ((x + STATE_WRAP) & (_TURN - 1)) - STATE_WRAP
            x = np.int32(np.int32(x << left) >> right)
            target[i] = x if fresh else np.int32(target[i] + x)
    elif fresh:
        left = np.int32(scale + max(exponent, 0))
        for i in range(target.size):
            target[i] = np.int32(np.int32(total[i]) << left) >> right
    else:
        left = np.int32(scale + max(exponent, 0))
        for i in range(target.size):
            target[i] += np.int32(np.int32(total[i]) << left) >> right


@njit(nogil=True)
def _sum_rows(rows, first, stop, table, low, high, total):
    """total = sum of table[rows[first:stop], low:high]; rows are padded with the zero row."""
    total[:] = 0
    k = first
    while k + 8 <= stop:
        a, b = table[rows[k], low:high], table[rows[k + 1], low:high]
        c, d = table[rows[k + 2], low:high], table[rows[k + 3], low:high]
        e, f = table[rows[k + 4], low:high], table[rows[k + 5], low:high]
        g, h = table[rows[k + 6], low:high], table[rows[k + 7], low:high]
        for i in range(total.size):
            total[i] += np.int16(a[i] + b[i] + c[i] + d[i] + e[i] + f[i] + g[i] + h[i])
        k += 8
    while k < stop:
        a, b = table[rows[k], low:high], table[rows[k + 1], low:high]
        c, d = table[rows[k + 2], low:high], table[rows[k + 3], low:high]
        for i in range(total.size):
            total[i] += np.int16(a[i] + b[i] + c[i] + d[i])
        k += 4


@njit(nogil=True)
def _sum_products(rows, values, count, table, low, high, total):
    """total = sum of values[k] * table[rows[k], low:high], padded with zero values."""
    total[:] = 0
    for k in range(0, count, 4):
        a, b = table[rows[k], low:high], table[rows[k + 1], low:high]
        c, d = table[rows[k + 2], low:high], table[rows[k + 3], low:high]
        p, q, r, s = values[k], values[k + 1], values[k + 2], values[k + 3]
        for i in range(total.size):
            total[i] += np.int32(p * a[i] + q * b[i] + r * c[i] + s * d[i])


def _deliver(graded: bool) -> Callable[..., None]:
    def deliver(
        messages: Messages,
        first: int,
        first_sample: int,
        pool_start: Index,
        pool_cell: Index,
        pool_base: Index,
        start: Index,
        cell: Index,
        base: Index,
        table: NDArray[Any],
        cells: int,
        cell_size: int,
        groups: int,
        exact_rows: int,
        scale: int,
        wraps: bool,
        exponent: int,
        fresh: bool,
        current: Int32,
    ) -> None:
        """Add the current of one connection to `current`, or set it where `fresh`.

        Reads messages[first + t, first_sample + b] for every t and b of `current`. For the tables
        see `wiring`. Works through non-zero messages only.
        """
        steps, samples, size = current.shape
        places, pooled = start.size - 1, pool_start.size - 1
        width = size // (places * groups)
        neurons = cells * cell_size + 8 + SLACK
        ids, rows = np.empty(neurons, np.uint32), np.empty(neurons, np.uint32)
        values, factors = np.empty(neurons, np.int32), np.empty(neurons, np.int32)
        by_cell = np.empty(cells + 1, np.int32)
        merged, merged_values, by_pooled = ids, values, by_cell
        if pooled > 0:
            merged, merged_values = np.empty(neurons, np.uint32), np.empty(neurons, np.int32)
            by_pooled = np.zeros(pooled * groups + 1, np.int32)
        total, wide = np.empty(table.shape[1], np.int16), np.empty(table.shape[1], np.int32)
        zero = np.uint32(table.shape[0] - 1)
        for t in range(steps):
            for b in range(samples):
                message, target = messages[first + t, first_sample + b], current[t, b]
                if graded:
                    n = list_values(message, ids, values)
                else:
                    n = list_spikes(message, rows, ids)
                if n == 0:
                    if fresh:
                        target[:] = 0
                    continue
                divide(ids, n, cell_size, by_cell)
                # Where silent cells are not the rule, asking costs more than copying nothing.
                mostly_silent = 2 * n < cells
                m = 0
                for p in range(pooled):
                    for g in range(groups):
                        for k in range(pool_start[p], pool_start[p + 1]):
                            e, stop = by_cell[pool_cell[k] + g], by_cell[pool_cell[k] + g + 1]
                            if mostly_silent and e == stop:
                                continue
                            if graded:
                                copy_values(values, e, stop, merged_values, m)
                            m = append(ids, e, stop, np.uint32(pool_base[k]), merged, m)
                        by_pooled[p * groups + g + 1] = m
                for q in range(places):
                    for g in range(groups):
                        m = 0
                        for k in range(start[q], start[q + 1]):
                            e, stop = by_pooled[cell[k] + g], by_pooled[cell[k] + g + 1]
                            if mostly_silent and e == stop:
                                continue
                            if graded:
                                copy_values(merged_values, e, stop, factors, m)
                            m = append(merged, e, stop, np.uint32(base[k]), rows, m)
                        place = (q * groups + g) * width
                        for i in range(4):
                            rows[m + i] = zero
                            factors[m + i] = 0
                        for low in range(0, width, _BAND):
                            reached = target[place + low : min(place + low + _BAND, place + width)]
                            high = min(low + _BAND, table.shape[1])
                            sums, exact = total[low:high], wide[low:high]
                            if graded:
                                _sum_products(rows, factors, m, table, low, high, exact)
                                _finish(exact, scale, wraps, exponent, fresh, reached)
                            elif m <= exact_rows:
                                _sum_rows(rows, 0, m, table, low, high, sums)
                                _finish(sums, scale, wraps, exponent, fresh, reached)
                            else:
                                exact[:] = 0
                                for done in range(0, m, exact_rows):
                                    upto = min(done + exact_rows, m)
                                    _sum_rows(rows, done, upto, table, low, high, sums)
                                    for i in range(sums.size):
                                        exact[i] += sums[i]
                                _finish(exact, scale, wraps, exponent, fresh, reached)

    return deliver


deliver_spikes = kernel(_deliver(graded=False))
deliver_values = kernel(_deliver(graded=True))


@kernel
def deliver_diagonal(
    messages: Messages,
    first: int,
    first_sample: int,
    start: Int32,
    cell: Int32,
    base: Int32,
    table: NDArray[np.int16],
    scale: int,
    wraps: bool,
    exponent: int,
    fresh: bool,
    current: Int32,
) -> None:
    """One connection with one channel per group, all channels side by side.

    Works through silent messages too: `messages` are (steps, B, N) bytes or int32.
    """
    steps, samples, size = current.shape
    channels = table.shape[1]
    total = np.empty(channels, np.int32)
    for t in range(steps):
        for b in range(samples):
            row, target = messages[first + t, first_sample + b], current[t, b]
            for q in range(start.size - 1):
                total[:] = 0
                for k in range(start[q], start[q + 1]):
                    heard = row[cell[k] * channels : (cell[k] + 1) * channels]
                    weights = table[base[k]]
                    for i in range(channels):
                        total[i] += np.int32(heard[i]) * np.int32(weights[i])
                reached = target[q * channels : (q + 1) * channels]
                _finish(total, scale, wraps, exponent, fresh, reached)


@kernel
def tally(spikes: NDArray[np.uint8], first: int, stop: int, count: NDArray[np.int64]) -> None:
    """Add the spikes of steps first..stop - 1 to `count`, (B, N), or (1, N) for all samples."""
    samples, size = spikes.shape[1], count.shape[1]
    few = np.empty(size, np.uint8)
    for b in range(samples):
        row = count[min(b, count.shape[0] - 1)]
        for begin in range(first, stop, 255):
            few[:] = 0
            for t in range(begin, min(begin + 255, stop)):
                heard = spikes[t, b]
                for i in range(size):
                    few[i] += heard[i]
            for i in range(size):
                row[i] += few[i]
