"""Compiled loops that turn messages into currents.

Arrays of messages are (steps, B, N), of currents (steps, B of the block, N_target). Sums are
int32 that wrap: numba computes in int64, and casting drops the high bits. Where rows of the table
are summed in int16, `Wiring.exact_rows` proves that nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.fixed_point import STATE_BITS, STATE_WRAP
from spikeport.simulators.native.compiled import kernel, part

Int32 = NDArray[np.int32]
Index = NDArray[np.int32]
Rows = NDArray[np.uint32]
Messages = NDArray[Any]
"""Spikes as uint64 words of eight bytes each, or int32 values."""

_TURN = 1 << STATE_BITS
_BAND = 2048
_SLACK = 16
"""Entries behind the end of a list that may be overwritten."""
_ZERO, _ONE, _TWO, _THREE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
_TOP = np.uint64(56)
_BYTES = np.uint64(0x0101010101010101)
_DIAGONAL = np.uint64(0x0102040810204080)
_EIGHT = np.uint32(8)
_PLACES = np.array(
    [([j for j in range(8) if byte >> j & 1] + [0] * 8)[:8] for byte in range(256)], np.uint32
)
"""Places of the bits of each byte."""

# Indices are unsigned: numba then need not ask whether they count from the end.


@part
def _list_spikes(words: NDArray[np.uint64], held: Rows, ids: Rows) -> Any:
    """Write the places of the spikes of a row, eight bytes per word; returns how many.

    Few spikes are taken one by one out of their words, many by a table of all bytes.
    """
    found = _ZERO
    for w in range(words.size):
        held[found] = np.uint32(w)
        found += np.uint64(words[w] != _ZERO)
    n = _ZERO
    if 4 * np.int64(found) > 3 * words.size:
        for k in range(np.int64(found)):
            at = held[np.uint64(k)]
            word = words[at]
            byte = (word * _DIAGONAL) >> _TOP
            for j in range(8):
                ids[n + np.uint64(j)] = np.uint32(at * _EIGHT + _PLACES[byte, np.uint64(j)])
            n += (word * _BYTES) >> _TOP
        return np.int64(n)
    for k in range(np.int64(found)):
        at = held[np.uint64(k)]
        word = words[at]
        while word != _ZERO:
            low = word & (~word + _ONE)
            below = (((low - _ONE) & _BYTES) * _BYTES) >> _TOP
            ids[n] = np.uint32(at * _EIGHT + np.uint32(below))
            n += _ONE
            word ^= low
    return np.int64(n)


@part
def _list_values(row: Int32, ids: Rows, values: Int32) -> Any:
    """Write the places and the values that are not zero; returns how many."""
    n = _ZERO
    for i in range(row.size):
        ids[n] = np.uint32(i)
        values[n] = row[i]
        n += np.uint64(row[i] != 0)
    return np.int64(n)


@part
def _divide(ids: Rows, n: int, cell_size: int, first: NDArray[np.int32]) -> None:
    """first[c]..first[c + 1] - 1 become the entries of `ids` within cell c."""
    cells = first.size - 1
    e = 0
    end = 0
    first[0] = 0
    for c in range(cells - 1):
        end += cell_size
        while e < n and ids[np.uint64(e)] < end:
            e += 1
        first[c + 1] = e
    first[cells] = n


@part
def _append(ids: Rows, first: int, stop: int, shift: Any, to: Rows, at: int) -> int:
    """Copy ids[first:stop] + shift to to[at:], four at a time; returns the new end of `to`."""
    done = first
    end = at
    while True:
        e, m = np.uint64(done), np.uint64(end)
        a, b, c, d = ids[e], ids[e + _ONE], ids[e + _TWO], ids[e + _THREE]
        to[m] = np.uint32(a + shift)
        to[m + _ONE] = np.uint32(b + shift)
        to[m + _TWO] = np.uint32(c + shift)
        to[m + _THREE] = np.uint32(d + shift)
        done += 4
        end += 4
        if done >= stop:
            return at + stop - first


@part
def _copy_values(values: Int32, first: int, stop: int, to: Int32, at: int) -> None:
    """Copy values[first:stop] to to[at:]."""
    for e in range(stop - first):
        to[at + e] = values[first + e]


@part
def _finish(
    total: NDArray[Any], scale: int, wraps: bool, exponent: int, fresh: bool, target: Int32
) -> None:
    """((total << scale), wrapped to 24 bits) << exponent, into or onto `target`."""
    right = np.int32(max(-exponent, 0))
    if wraps:
        left = np.int32(max(exponent, 0))
        for i in range(target.size):
            sum32 = np.int64(np.int32(np.int64(total[i]) << scale))
            sum24 = ((sum32 + STATE_WRAP) & (_TURN - 1)) - STATE_WRAP
            x = np.int32(np.int32(sum24 << left) >> right)
            target[i] = x if fresh else np.int32(target[i] + x)
    elif fresh:
        left = np.int32(scale + max(exponent, 0))
        for i in range(target.size):
            target[i] = np.int32(np.int32(total[i]) << left) >> right
    else:
        left = np.int32(scale + max(exponent, 0))
        for i in range(target.size):
            target[i] += np.int32(np.int32(total[i]) << left) >> right


@part
def _sum_rows(
    rows: Rows,
    first: int,
    stop: int,
    table: NDArray[Any],
    low: int,
    high: int,
    total: NDArray[np.int16],
) -> None:
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


@part
def _sum_products(
    rows: Rows, values: Int32, count: int, table: NDArray[Any], low: int, high: int, total: Int32
) -> None:
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
        neurons = cells * cell_size + 8 + _SLACK
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
                # As an expression both would be compiled, each for the wrong type.
                if graded:
                    n = _list_values(message, ids, values)
                else:
                    n = _list_spikes(message, rows, ids)
                if n == 0:
                    if fresh:
                        target[:] = 0
                    continue
                _divide(ids, n, cell_size, by_cell)
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
                                _copy_values(values, e, stop, merged_values, m)
                            m = _append(ids, e, stop, np.uint32(pool_base[k]), merged, m)
                        by_pooled[p * groups + g + 1] = m
                for q in range(places):
                    for g in range(groups):
                        m = 0
                        for k in range(start[q], start[q + 1]):
                            e, stop = by_pooled[cell[k] + g], by_pooled[cell[k] + g + 1]
                            if mostly_silent and e == stop:
                                continue
                            if graded:
                                _copy_values(merged_values, e, stop, factors, m)
                            m = _append(merged, e, stop, np.uint32(base[k]), rows, m)
                        place = (q * groups + g) * width
                        if m == 0:
                            if fresh:
                                target[place : place + width] = 0
                            continue
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
    table: NDArray[Any],
    scale: int,
    wraps: bool,
    exponent: int,
    fresh: bool,
    current: Int32,
) -> None:
    """One connection with one channel per group, all channels side by side.

    Works through silent messages too: `messages` are (steps, B, N) bytes or int32.
    """
    steps, samples, _ = current.shape
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
