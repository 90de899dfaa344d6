"""Compiled functions that convert one source's messages of one step to rows of a connection's
table.

An event is a non-zero message. Events are listed by neuron in ascending order and divided into the
cells of `connection_tables`; the input of one target position is then a few slices of that list.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeport.simulators.native.compiled import part
from spikeport.simulators.native.connection_tables import Tables
from spikeport.simulators.native.vectors import MASK, bit_count, lowest_bit, nonzero_mask, shift_8

Int32 = NDArray[np.int32]
Rows = NDArray[np.uint32]

BAND = 1024
"""Number of neurons whose currents are summed and used while they are in the nearest cache."""
SLACK = MASK + 8
"""Number of entries after the end of a list that may be overwritten."""
_ONE, _EIGHT = np.uint64(1), np.uint64(8)
_MASK = np.uint64(MASK)


class Buffers(NamedTuple):
    """Preallocated arrays for lists of one step's events; compiled loops allocate none themselves.

    Attributes:
        ids, values, first: events of the source.
        seen, seen_values, seen_first: the same after the pool; those of the source if there is
            none.
        rows, factors: rows of the table to be added, and their factors.
        total: their sum, if it is not final.
    """

    ids: Rows
    values: Int32
    first: Int32
    seen: Rows
    seen_values: Int32
    seen_first: Int32
    rows: Rows
    factors: Int32
    total: Int32


def buffers_for(tables: Tables) -> Buffers:
    """Allocate the buffers for a connection."""
    neurons = tables.cells * tables.cell_size + SLACK
    pooled = (len(tables.pool_start) - 1) * tables.groups
    ids, values = np.empty(neurons, np.uint32), np.empty(neurons, np.int32)
    first = np.empty(tables.cells + 1, np.int32)
    seen, seen_values, seen_first = ids, values, first
    if pooled:
        seen, seen_values = np.empty_like(ids), np.empty_like(values)
        seen_first = np.empty(pooled + 1, np.int32)
    return Buffers(
        ids,
        values,
        first,
        seen,
        seen_values,
        seen_first,
        rows=np.empty_like(ids),
        factors=np.empty_like(values),
        total=np.empty(min(BAND, tables.table.shape[1]), np.int32),
    )


# Indices are unsigned, so that numba does not check for indices counted from the end.


@part
def _take(mask: Any, at: Any, ids: Rows, n: Any) -> Any:
    """Append the positions of the set bits of `mask`, plus `at`; return the new end of `ids`."""
    stop = n + np.uint64(bit_count(mask))
    while n < stop:
        # Always eight at a time: a branch for each would cost more.
        for j in range(8):
            ids[n + np.uint64(j)] = np.uint32(at + lowest_bit(mask))
            mask &= mask - _ONE
        n += _EIGHT
    return stop


@part
def list_spikes(row: NDArray[np.uint8], cell_size: int, ids: Rows, first: Int32) -> Any:
    """List the neurons that spike; those of cell c are at first[c]..first[c + 1] - 1.

    `row` is padded with zeros to whole masks. Returns the number of events.
    """
    cells = first.size - 1
    n, at = np.uint64(0), np.uint64(0)
    first[0] = 0
    if cell_size % MASK == 0:
        for c in range(cells):
            for _ in range(cell_size // MASK):
                n = _take(nonzero_mask(row, np.int64(at)), at, ids, n)
                at += _MASK
            first[c + 1] = n
        return np.int64(n)
    if MASK % cell_size == 0:
        width = np.uint64(cell_size)
        low = (_ONE << width) - _ONE
        c = 0
        while c < cells:
            mask = nonzero_mask(row, np.int64(at))
            counted = np.int64(n)
            for j in range(min(MASK // cell_size, cells - c)):
                counted += bit_count((mask >> (np.uint64(j) * width)) & low)
                first[c + 1] = counted
                c += 1
            n = _take(mask, at, ids, n)
            at += _MASK
        return np.int64(n)
    while at < np.uint64(row.size):
        n = _take(nonzero_mask(row, np.int64(at)), at, ids, n)
        at += _MASK
    _divide(ids, int(n), cell_size, first)
    return np.int64(n)


@part
def list_values(row: Int32, cell_size: int, ids: Rows, first: Int32, values: Int32) -> Any:
    """Like `list_spikes`, for integer messages; `values` receives their values."""
    n = np.uint64(0)
    for i in range(row.size):
        ids[n] = np.uint32(i)
        values[n] = row[i]
        n += np.uint64(row[i] != 0)
    _divide(ids, int(n), cell_size, first)
    return np.int64(n)


@part
def _divide(ids: Rows, n: int, cell_size: int, first: Int32) -> None:
    """Set first[c]..first[c + 1] - 1 to the range of entries of `ids` within cell c."""
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
def pool_events(tables: Tables, buffers: Buffers, graded: bool) -> None:
    """List the events of the pooled source: once for each source event in a pooled neuron's sum."""
    first, pooled_first, groups = buffers.first, buffers.seen_first, tables.groups
    m = 0
    pooled_first[0] = 0
    for p in range(tables.pool_start.size - 1):
        for g in range(groups):
            for k in range(tables.pool_start[p], tables.pool_start[p + 1]):
                e, stop = first[tables.pool_cell[k] + g], first[tables.pool_cell[k] + g + 1]
                if graded:
                    _copy_values(buffers.values, e, stop, buffers.seen_values, m)
                m = _append(buffers.ids, e, stop, np.uint32(tables.pool_base[k]), buffers.seen, m)
            pooled_first[p * groups + g + 1] = m


@part
def rows_of(tables: Tables, buffers: Buffers, place: int, group: int, graded: bool) -> int:
    """List the rows of the table to be added at a target position; return their number."""
    first = buffers.seen_first
    m = 0
    for k in range(tables.start[place], tables.start[place + 1]):
        e, stop = first[tables.cell[k] + group], first[tables.cell_stop[k] + group]
        if graded:
            _copy_values(buffers.seen_values, e, stop, buffers.factors, m)
        m = _append(buffers.seen, e, stop, np.uint32(tables.base[k]), buffers.rows, m)
    return m


@part
def _append(ids: Rows, first: int, stop: int, shift: Any, to: Rows, at: int) -> int:
    """Copy ids[first:stop] + shift to to[at:]; return the new end of `to`.

    Always copies eight at a time: few slices are longer, and a loop that usually runs once is easy
    for branch predictors.
    """
    e, m = first, at
    while True:
        shift_8(ids, e, shift, to, m)
        e += 8
        m += 8
        if e >= stop:
            return at + stop - first


@part
def _copy_values(values: Int32, first: int, stop: int, to: Int32, at: int) -> None:
    """Copy values[first:stop] to to[at:]."""
    for e in range(stop - first):
        to[at + e] = values[first + e]
