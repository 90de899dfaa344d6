"""Tables of connections: the input of a target position is a sum of contiguous rows.

Dense, Conv1d, Conv2d and the pool before them have the same form. Neurons are ordered as in
`layout`; the source is divided into cells of `cell_size` neurons (all of them, or one group of
channels at one position p). Target position q receives from stretches k of cells, with k in
start[q]..start[q + 1] - 1:

    total[q] = sum over k, over messages s of neurons n in cells cell[k]..cell_stop[k] - 1 of
               s * table[base[k] + n]

A row of the table holds the weights to all target channels of the group. A preceding pool has the
same form: pooled position q consists of the cells of its taps, whose neurons n become pooled
neurons pool_base[k] + n. Weights are stored without their common power of two; they then nearly
always fit one byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeport.network import LOIHI, Conv1d, Conv2d, Dense, Shape, SumPool2d, weighted_shape
from spikeport.simulators.native.layout import CACHE_LINE, channels_last, uninitialised
from spikeport.simulators.native.vectors import LANES

STATE_WRAP = LOIHI.state_wrap

Index = NDArray[np.int32]
_INT16_MAX = 2**15 - 1
_FLOAT32_EXACT = 2**24
_ROW = 64
_STRIP = 64
_LARGE_PAGE = 2 << 20
_LARGE_FROM = 256 << 10


class Tables(NamedTuple):
    """A connection as tables (module docstring), in the form that compiled loops take.

    Attributes:
        pool_start, pool_cell, pool_base: the same for the pool, if there is one.
        start: of each target position, its first stretch of cells.
        cell, cell_stop, base: stretches of neighbouring cells that share a base.
        table: (rows, target channels per group, padded), int8 or int16.
        width: target channels per group.
        cells, cell_size, groups: how the source is divided.
        scale: what the table must be multiplied by, as a left shift.
        exact_rows: so many rows of the table always sum to an int16.
        wraps: whether sums wrap to signed 24 bits before the exponent and could exceed them.
    """

    pool_start: Index
    pool_cell: Index
    pool_base: Index
    start: Index
    cell: Index
    cell_stop: Index
    base: Index
    table: NDArray[Any]
    width: int
    cells: int
    cell_size: int
    groups: int
    scale: int
    exact_rows: int
    wraps: bool
    exponent: int


_NO_INDEX = np.zeros(1, np.int32)
NOTHING = Tables(*(_NO_INDEX,) * 7, np.zeros((1, LANES[-1]), np.int8), 1, 1, 1, 1, 0, 1, False, 0)
"""Stands where a population has no connection."""


@dataclass(frozen=True)
class LaidOut:
    """A connection laid out.

    Attributes:
        bound: magnitude that no current of it exceeds.
        exact_products: whether float32 holds every partial sum of messages times weights exactly
            (all are below 2^24), so that a matrix product may replace the sum of rows.
    """

    tables: Tables
    bound: int
    exact_products: bool

    @property
    def small(self) -> bool:
        """Whether weights fit one byte, as all but odd ones of one sign beyond 127 do."""
        return self.tables.table.dtype == np.int8

    @cached_property
    def factors(self) -> NDArray[np.float32]:
        """The table for matrix products, (N_source, N_target); made when first asked for."""
        return self.tables.table[:, : self.tables.width].astype(np.float32)


class _Rows(NamedTuple):
    """What a kind of connection decides: the table, and where in it the taps of positions lie.

    Attributes:
        channels, positions: of what the weights are applied to.
        start, cell, base: stretches of one cell each.
    """

    channels: int
    positions: int
    groups: int
    start: Index
    cell: Index
    base: Index
    table: NDArray[Any]


def lay_out_dense(connection: Dense, source: Shape, target: Shape, most: int) -> LaidOut:
    """Lay out a `Dense` whose sums do not exceed `most`."""
    shape = weighted_shape(connection, source)
    weight, scale = _without_zeros(connection.weight)
    # All pooled positions at once; without a pool a single cell of all neurons.
    channels, positions = (
        (math.prod(shape), 1) if connection.pool is None else _channels_and_positions(shape)
    )
    start, cell = np.array([0, positions], np.int32), np.arange(positions, dtype=np.int32)
    table = _dense_table(weight, shape, target)
    rows = _Rows(channels, positions, 1, start, cell, np.zeros_like(cell), table)
    exact = connection.pool is None and most < _FLOAT32_EXACT
    return _laid_out(connection, source, rows, scale, most, exact_products=exact)


def lay_out_conv2d(connection: Conv2d, source: Shape, target: Shape, most: int) -> LaidOut:
    """Lay out a `Conv2d` whose sums do not exceed `most`."""
    shape = weighted_shape(connection, source)
    weight, scale = _without_zeros(connection.weight)
    channels, positions = _channels_and_positions(shape)
    joined = _joined(connection.groups, len(weight) // connection.groups)
    groups = connection.groups // joined
    start, cell, tap = _conv2d_taps(connection, shape)
    base = (tap - cell) * np.int32(channels)
    table = _conv2d_table(weight, groups, joined)
    rows = _Rows(channels, positions, groups, start, cell, base, table)
    return _laid_out(connection, source, rows, scale, most, exact_products=False)


def lay_out_conv1d(connection: Conv1d, source: Shape, target: Shape, most: int) -> LaidOut:
    """Lay out a `Conv1d` as a `Conv2d` of one row."""
    flat_source, flat_target = ((shape[0], 1, shape[1]) for shape in (source, target))
    return lay_out_conv2d(connection.as_conv2d(), flat_source, flat_target, most)


def _laid_out(
    connection: Dense | Conv2d,
    source: Shape,
    rows: _Rows,
    scale: int,
    most: int,
    *,
    exact_products: bool,
) -> LaidOut:
    channels, positions, groups, start, cell, base, table = rows
    start, cell, cell_stop, base = _stretches(start, cell, base, groups)
    pool = connection.pool
    pool_start, pool_cell, pool_base = _pool_taps(pool, source)
    tables = Tables(
        pool_start=pool_start,
        pool_cell=pool_cell * np.int32(groups),
        pool_base=pool_base * np.int32(channels),
        start=start,
        cell=cell,
        cell_stop=cell_stop,
        base=base,
        table=_settled(table),
        width=table.shape[1],
        cells=(positions if pool is None else _channels_and_positions(source)[1]) * groups,
        cell_size=channels // groups,
        groups=groups,
        scale=scale,
        exact_rows=_INT16_MAX // max(-int(table.min()), int(table.max()), 1),
        wraps=connection.wraps and most >= STATE_WRAP,
        exponent=connection.exponent,
    )
    return LaidOut(tables, shifted_bound(most, connection.exponent), exact_products)


def shifted_bound(most: int, exponent: int) -> int:
    """The largest magnitude of a current whose sum does not exceed `most`."""
    return most << exponent if exponent >= 0 else (most >> -exponent) + 1


def _without_zeros(weight: NDArray[np.int16]) -> tuple[NDArray[Any], int]:
    """Weights without the factor of two to some power that all have, and that power.

    Those of mixed signs are even by the rules of their grid. What then fits one byte becomes int8.
    """
    common = int(np.bitwise_or.reduce(weight, axis=None))
    scale = (common & -common).bit_length() - 1 if common else 0
    weight = weight >> np.int16(scale)
    if int(weight.min()) >= -128 and int(weight.max()) <= 127:
        return weight.astype(np.int8), scale
    return weight, scale


def _settled(table: NDArray[Any]) -> NDArray[Any]:
    """The table in C order, its rows padded to whole lanes, on large pages if it is not small.

    Rows are read in no order, so every one costs a look at the page table: with pages of 2 MiB,
    which NumPy asks for from 4 MiB on, sums of rows take 10 to 25 % less time.
    """
    rows, width = table.shape
    padded = width + -width % LANES[-1]
    size = rows * padded * table.itemsize
    unit = _LARGE_PAGE if size >= _LARGE_FROM else CACHE_LINE
    settled = uninitialised((rows, padded), table.dtype, unit)
    settled[:, :width] = table
    settled[:, width:] = 0
    return settled


def _joined(groups: int, width: int) -> int:
    """How many groups to lay out as one, with zeros between them, so that rows fill a vector."""
    enough = (n for n in range(1, groups) if groups % n == 0 and n * width >= _ROW)
    return next(enough, groups)


def _stretches(
    start: Index, cell: Index, base: Index, groups: int
) -> tuple[Index, Index, Index, Index]:
    """Taps on neighbouring cells that have one base, joined: start, first cell, end, base."""
    opens = np.ones(len(cell), np.bool_)
    if groups == 1:
        opens[1:] = (np.diff(cell) != 1) | (np.diff(base) != 0)
        opens[start[:-1][start[:-1] < len(cell)]] = True
    chosen = np.flatnonzero(opens)
    last = np.append(chosen, len(cell))[1:] - 1
    return (
        np.searchsorted(chosen, start).astype(np.int32),
        cell[chosen] * np.int32(groups),
        cell[last] * np.int32(groups) + np.int32(1),
        base[chosen],
    )


def _channels_and_positions(shape: Shape) -> tuple[int, int]:
    """Channels and positions."""
    return shape[0], math.prod(shape[1:])


def _transposed(matrix: NDArray[Any]) -> NDArray[Any]:
    """A copy with rows and columns exchanged, in strips that the cache holds."""
    turned = np.empty(matrix.shape[::-1], matrix.dtype)
    for row in range(0, len(matrix), _STRIP):
        turned[:, row : row + _STRIP] = matrix[row : row + _STRIP].T
    return turned


def _dense_table(weight: NDArray[Any], source: Shape, target: Shape) -> NDArray[Any]:
    """A row for each source neuron, both ends in the inner order."""
    by_source = _transposed(weight).reshape(*source, -1)
    by_source = np.moveaxis(by_source, 0, len(source) - 1)
    return channels_last(by_source.reshape(-1, *target), target)


def _conv2d_table(weight: NDArray[Any], groups: int, joined: int) -> NDArray[Any]:
    """A row for each tap and source channel with the target channels of its `joined` groups."""
    channels, sources, height, width = weight.shape
    by_source = _transposed(weight.reshape(channels, -1))
    split = by_source.reshape(sources, height * width, groups, joined, -1)
    rows = split.transpose(1, 2, 3, 0, 4)
    if joined > 1:
        apart = np.zeros((*rows.shape[:4], joined, rows.shape[4]), rows.dtype)
        for member in range(joined):
            apart[:, :, member, :, member] = rows[:, :, member]
        rows = apart
    return rows.reshape(height * width * groups * joined * sources, -1)


def _conv2d_taps(connection: Conv2d, shape: Shape) -> tuple[Index, Index, Index]:
    """start, source position and kernel tap of each target position, in its order."""
    weight = connection.weight
    _, height, width = connection.output_shape(shape)
    axes = zip(connection.stride, connection.padding, connection.dilation, strict=True)
    rows, columns = connection.taps(shape)
    y, x, ky, kx = np.nonzero(rows[:, None, :, None] & columns[None, :, None, :])
    out_y, out_x = (
        (at + padding - tap * dilation) // stride
        for at, tap, (stride, padding, dilation) in zip((y, x), (ky, kx), axes, strict=True)
    )
    place, tap, read = out_y * width + out_x, ky * weight.shape[3] + kx, y * shape[2] + x
    order = np.argsort(place, kind="stable")
    start = np.searchsorted(place[order], np.arange(height * width + 1))
    return start.astype(np.int32), read[order].astype(np.int32), tap[order].astype(np.int32)


def _pool_taps(pool: SumPool2d | None, source_shape: Shape) -> tuple[Index, Index, Index]:
    """start, source position and distance to it of each pooled position; empty without a pool."""
    if pool is None:
        nothing = np.zeros(0, np.int32)
        return np.zeros(1, np.int32), nothing, nothing
    rows, columns = pool.windows_of(source_shape)
    _, height, width = pool.output_shape(source_shape)
    inside = (rows >= 0)[:, None] & (columns >= 0)
    windows = np.where(inside, rows[:, None] * width + columns, -1).ravel()
    members = np.argsort(windows, kind="stable")
    start = np.searchsorted(windows[members], np.arange(height * width + 1))
    members, start = members[start[0] :], start - start[0]
    distance = windows[members] - members
    return start.astype(np.int32), members.astype(np.int32), distance.astype(np.int32)
