"""Connections laid out so that what one target position receives is a sum of contiguous rows.

Dense, Conv1d, Conv2d and the pool in front of them take one form. Neurons are ordered as in
`layout`; the source falls into cells of `cell_size` neurons (all of them, or one group of channels
at one position p). Target position q hears through taps k in start[q]..start[q + 1] - 1:

    total[q] = sum over k, over messages s of neurons n in cell[k] of  s * table[base[k] + n]

A row of the table has the weights to all target channels of the group. A pool comes before that in
the same form: pooled position q is made of the cells of its taps, whose neurons n become pooled
neurons pool_base[k] + n. Weights are kept without the factor of two that all those of mixed signs
have; most then fit one byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.fixed_point import STATE_WRAP
from spikeport.geometry import pooled_index, taps_per_position
from spikeport.network import Conv1d, Conv2d, Dense, Shape, SumPool2d, Synapses
from spikeport.simulators.native.layout import channels_last

Index = NDArray[np.int32]
_INT16_MAX = 2**15 - 1
_FLOAT32_EXACT = 2**24
_LANES = 16
_STRIP = 64
_CRUDE_ENOUGH = 2**20


@dataclass(frozen=True, slots=True)
class Wiring:
    """A connection as tables (module docstring) and what happens to its sums.

    Attributes:
        pool_start, pool_cell, pool_base: the same for the pool, if there is one.
        start, cell, base: taps of each target position.
        table: (rows + 1, target channels per group), int8 or int16; the last row is zero.
            Where `diagonal`, (taps, channels), and `base` is the row: one channel per group, the
            weights of all channels side by side.
        cells, cell_size, groups: how the source is divided.
        scale: what the table must be multiplied by, as a left shift.
        exact_rows: so many rows of the table always sum to an int16; a multiple of 8.
        wraps: whether sums wrap to signed 24 bits before the exponent and could exceed them.
        factors: the table as float32 for matrix products, if one was asked for and float32 holds
            every partial sum of messages times weights exactly (all are below 2^24).
    """

    pool_start: Index
    pool_cell: Index
    pool_base: Index
    start: Index
    cell: Index
    base: Index
    table: NDArray[Any]
    cells: int
    cell_size: int
    groups: int
    scale: int
    exact_rows: int
    wraps: bool
    exponent: int
    diagonal: bool
    factors: NDArray[np.float32] | None


def wire(
    connection: Synapses,
    source_shape: Shape,
    target_shape: Shape,
    *,
    largest: int = 1,
    products: bool = False,
) -> Wiring:
    """Lay out one connection.

    Args:
        largest: magnitude of the messages.
        products: whether matrix products are wanted where they are exact (Dense without a pool).
    """
    if isinstance(connection, Conv1d):
        connection, source_shape = connection.as_conv2d(), (source_shape[0], 1, source_shape[1])
    pool = connection.pool
    shape = source_shape if pool is None else pool.output_shape(source_shape)
    # A matrix of mixed signs is even by the rules of its grid.
    low, high = int(connection.weight.min()), int(connection.weight.max())
    scale = int(low < 0 < high)
    low, high = low >> scale, high >> scale
    weight = connection.weight >> scale
    if low >= -128 and high <= 127:
        weight = weight.astype(np.int8)
    groups = 1
    match connection:
        case Dense():
            # All pooled positions at once; without a pool a single cell of all neurons.
            channels, positions = (math.prod(shape), 1) if pool is None else _split(shape)
            cell = np.arange(positions, dtype=np.int32)
            base = np.zeros_like(cell)
            start = np.array([0, positions], np.int32)
            table = _dense_table(weight, shape, target_shape)
        case Conv2d():
            channels, positions = _split(shape)
            groups = connection.groups
            start, cell, tap = _conv2d_taps(connection, shape)
            base = (tap - cell) * np.int32(channels)
            table = _conv2d_table(weight, groups)
    pool_start, pool_cell, pool_base = _pool_taps(pool, source_shape)
    diagonal = pool is None and groups == channels > 1 and table.shape[1] == 1
    if diagonal:
        table, base = table.reshape(-1, channels), tap
    else:
        cell = cell * np.int32(groups)
        table = np.pad(table, ((0, 1), (0, -table.shape[1] % _LANES)))
    widest = math.prod(pool.kernel_size) if pool is not None else 1
    bound = largest * widest * _largest_sum(connection.weight, max(-low, high) << scale)
    exact = isinstance(connection, Dense) and pool is None and bound < _FLOAT32_EXACT
    return Wiring(
        pool_start=pool_start,
        pool_cell=pool_cell * np.int32(groups),
        pool_base=pool_base * np.int32(channels),
        start=start,
        cell=cell,
        base=base,
        table=np.ascontiguousarray(table),
        cells=(positions if pool is None else _split(source_shape)[1]) * groups,
        cell_size=channels // groups,
        groups=groups,
        scale=scale,
        exact_rows=_INT16_MAX // max(-low, high, 1) // 8 * 8,
        wraps=isinstance(connection, Conv2d) and bound >= STATE_WRAP,
        exponent=connection.exponent,
        diagonal=diagonal,
        factors=table[:-1, : math.prod(target_shape)].astype(np.float32)
        if products and exact
        else None,
    )


def _split(shape: Shape) -> tuple[int, int]:
    """Channels and positions."""
    return shape[0], math.prod(shape[1:])


def _largest_sum(weight: NDArray[np.int16], magnitude: int) -> int:
    """A bound of the sum of magnitudes of the weights of one target."""
    per_target = weight.reshape(len(weight), -1)
    crude = per_target.shape[1] * magnitude
    if crude < _CRUDE_ENOUGH:
        return crude
    return int(np.abs(per_target.astype(np.int32)).sum(axis=1, dtype=np.int64).max())


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


def _conv2d_table(weight: NDArray[Any], groups: int) -> NDArray[Any]:
    """A row for each tap and source channel with the target channels of its group."""
    channels, sources, height, width = weight.shape
    by_source = _transposed(weight.reshape(channels, -1))
    grouped = by_source.reshape(sources, height * width, groups, -1)
    return grouped.transpose(1, 2, 0, 3).reshape(height * width * groups * sources, -1)


def _conv2d_taps(connection: Conv2d, shape: Shape) -> tuple[Index, Index, Index]:
    """start, source position and kernel tap of each target position, in its order."""
    weight = connection.weight
    _, height, width = connection.output_shape(shape)
    axes = list(
        zip(
            shape[1:],
            weight.shape[2:],
            connection.stride,
            connection.padding,
            connection.dilation,
            strict=True,
        )
    )
    rows, columns = (taps_per_position(*axis) for axis in axes)
    y, x, ky, kx = np.nonzero(rows[:, None, :, None] & columns[None, :, None, :])
    out_y, out_x = (
        (at + padding - tap * dilation) // stride
        for at, tap, (_, _, stride, padding, dilation) in zip((y, x), (ky, kx), axes, strict=True)
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
    rows, columns = (
        pooled_index(*axis)
        for axis in zip(source_shape[1:], pool.kernel_size, pool.stride, pool.padding, strict=True)
    )
    _, height, width = pool.output_shape(source_shape)
    inside = (rows >= 0)[:, None] & (columns >= 0)
    windows = np.where(inside, rows[:, None] * width + columns, -1).ravel()
    members = np.argsort(windows, kind="stable")
    start = np.searchsorted(windows[members], np.arange(height * width + 1))
    members, start = members[start[0] :], start - start[0]
    distance = windows[members] - members
    return start.astype(np.int32), members.astype(np.int32), distance.astype(np.int32)
