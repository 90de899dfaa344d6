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

Int32 = NDArray[np.int32]
Messages = NDArray[Any]
"""Spikes as uint64 words of eight bytes each, or int32 values."""

_TURN = 1 << STATE_BITS
_BAND = 2048
_MARKS = np.uint64(0x0102040810204080)
_TOP = np.uint64(56)
_PLACES = np.array(
    [[*(j for j in range(8) if m >> j & 1), *[0] * 8][:8] for m in range(256)], np.int32
)
_COUNT = np.array([m.bit_count() for m in range(256)], np.int32)


@njit(nogil=True)
def _list_spikes(words, held, ids):
    """Write the places of the spikes in one row; eight more may be overwritten."""
    found = 0
    for w in range(words.size):
        held[found] = w
        found += words[w] != 0
    n = 0
    for k in range(found):
        w = held[k]
        byte = (words[w] * _MARKS) >> _TOP
        for j in range(8):
            ids[n + j] = w * 8 + _PLACES[byte, j]
        n += _COUNT[byte]
    return n


@njit(nogil=True)
def _list_values(values, held, ids):
    n = 0
    for i in range(values.size):
        ids[n] = i
        n += values[i] != 0
    return n


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
        start: Int32,
        cell: Int32,
        base: Int32,
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
        steps, samples, size = current.shape
        ids = np.empty(cells * cell_size + 16, np.int32)
        held = np.empty(messages.shape[2] + 1, np.int32)
        cell_start = np.zeros(cells + 1, np.int32)
        most = 0
        for q in range(start.size - 1):
            most = max(most, start[q + 1] - start[q])
        rows = np.empty(most * cell_size + 16, np.int32)
        values = np.empty(most * cell_size + 16 if graded else 1, np.int32)
        width = table.shape[1]
        total = np.empty(width, np.int16)
        wide = np.empty(width, np.int32)
        zero = np.int32(table.shape[0] - 1)
        for t in range(steps):
            for b in range(samples):
                row = messages[first + t, first_sample + b]
                target = current[t, b]
                if graded:
                    n = _list_values(row, held, ids)
                else:
                    n = _list_spikes(row, held, ids)
                if n == 0:
                    if fresh:
                        target[:] = 0
                    continue
                e = 0
                for c in range(cells):
                    end = (c + 1) * cell_size
                    while e < n and ids[e] < end:
                        e += 1
                    cell_start[c + 1] = e
                for q in range(start.size - 1):
                    for g in range(groups):
                        m = 0
                        for k in range(start[q], start[q + 1]):
                            e, shift = cell_start[cell[k] + g], base[k]
                            heard = cell_start[cell[k] + g + 1] - e
                            for j in range(0, heard, 8):
                                for i in range(8):
                                    rows[m + j + i] = ids[e + j + i] + shift
                            if graded:
                                for j in range(heard):
                                    values[m + j] = row[ids[e + j]]
                            m += heard
                        for i in range(4):
                            rows[m + i] = zero
                            if graded:
                                values[m + i] = 0
                        place = (q * groups + g) * width
                        for low in range(0, width, _BAND):
                            high = min(low + _BAND, width)
                            reached = target[place + low : place + high]
                            if graded:
                                _sum_products(rows, values, m, table, low, high, wide[low:high])
                                _finish(wide[low:high], scale, wraps, exponent, fresh, reached)
                            elif m <= exact_rows:
                                _sum_rows(rows, 0, m, table, low, high, total[low:high])
                                _finish(total[low:high], scale, wraps, exponent, fresh, reached)
                            else:
                                wide[low:high] = 0
                                for at in range(0, m, exact_rows):
                                    upto = min(at + exact_rows, m)
                                    _sum_rows(rows, at, upto, table, low, high, total[low:high])
                                    for i in range(low, high):
                                        wide[i] += total[i]
                                _finish(wide[low:high], scale, wraps, exponent, fresh, reached)

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
    for b in range(spikes.shape[1]):
        row = count[min(b, count.shape[0] - 1)]
        for t in range(first, stop):
            heard = spikes[t, b]
            for i in range(row.size):
                row[i] += heard[i]
