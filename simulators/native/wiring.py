"""Connections laid out so that one message adds contiguous rows of weights.

Dense, Conv2d and the pool in front of either take one form. A source neuron is (channel c,
position p). Its message s meets the taps k in start[p]..stop[p] - 1, and each adds a row:

    total[place[k] + offset[c] + i] += s * table[c, tap[k], i]      for i in range(row length)

The sums lie with the target's channels last, so that rows of a convolution are contiguous too.
Dense without a pool: every neuron is a channel with one position and one tap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeport.geometry import pooled_index, taps_per_position
from spikeport.network import Conv2d, Dense, Shape, SumPool2d, Synapses

Index = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Wiring:
    """A connection as tables (module docstring) and what happens to its sums.

    Attributes:
        table: (channels, taps, row length), int16.
        positions: spatial positions of the target; its neuron (q, p) lies at p * channels + q
            in the sums.
        wraps: whether sums wrap to signed 24 bits before the exponent.
    """

    start: Index
    stop: Index
    tap: Index
    place: Index
    offset: Index
    table: NDArray[np.int16]
    positions: int
    wraps: bool
    exponent: int


def wire(connection: Synapses, source_shape: Shape) -> Wiring:
    """Lay out one connection for `kernels.deliver`."""
    pool = connection.pool
    shape = source_shape if pool is None else pool.output_shape(source_shape)
    match connection:
        case Dense():
            first, tap, place, table = _dense(connection, shape, pooled=pool is not None)
            offset = np.zeros(table.shape[0], np.int32)
            positions = 1
        case Conv2d():
            first, tap, place, table = _conv2d(connection, shape)
            group = np.arange(shape[0], dtype=np.int32) // connection.weight.shape[1]
            offset = group * np.int32(table.shape[2])
            positions = math.prod(connection.output_shape(shape)[1:])
    start, stop = first[:-1], first[1:]
    if pool is not None:
        windows = _windows(pool, source_shape)
        start = np.where(windows >= 0, start[windows], 0)
        stop = np.where(windows >= 0, stop[windows], 0)
    return Wiring(
        start=np.array(start, np.int32),
        stop=np.array(stop, np.int32),
        tap=tap,
        place=place,
        offset=offset,
        table=np.array(table, np.int16, order="C"),
        positions=positions,
        wraps=isinstance(connection, Conv2d),
        exponent=connection.exponent,
    )


_Taps = tuple[Index, Index, Index, NDArray[np.int16]]
"""first (taps of position p: first[p]..first[p + 1] - 1), tap, place, table."""


def _dense(connection: Dense, shape: Shape, *, pooled: bool) -> _Taps:
    """Every position of the pooled source, if there is one, is a tap of its own."""
    positions = math.prod(shape[1:]) if pooled else 1
    table = connection.weight.T.reshape(-1, positions, connection.weight.shape[0])
    taps = np.arange(positions, dtype=np.int32)
    return np.arange(positions + 1, dtype=np.int32), taps, np.zeros_like(taps), table


def _conv2d(connection: Conv2d, shape: Shape) -> _Taps:
    """The kernel positions at which a window reads each source position."""
    weight = connection.weight
    channels, _, out_width = connection.output_shape(shape)
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
    met = rows[:, None, :, None] & columns[None, :, None, :]
    y, x, ky, kx = np.nonzero(met)
    out_y, out_x = (
        (at + padding - tap * dilation) // stride
        for at, tap, (_, _, stride, padding, dilation) in zip((y, x), (ky, kx), axes, strict=True)
    )
    first = np.concatenate([[0], np.cumsum(met.sum(axis=(2, 3)))]).astype(np.int32)
    tap = (ky * weight.shape[3] + kx).astype(np.int32)
    place = ((out_y * out_width + out_x) * channels).astype(np.int32)
    taps = math.prod(weight.shape[2:])
    grouped = weight.reshape(connection.groups, -1, weight.shape[1], taps)
    table = grouped.transpose(0, 2, 3, 1).reshape(shape[0], taps, -1)
    return first, tap, place, table


def _windows(pool: SumPool2d, source_shape: Shape) -> NDArray[np.int64]:
    """Index of the pooled sum that each source position enters, or -1."""
    rows, columns = (
        pooled_index(*axis)
        for axis in zip(source_shape[1:], pool.kernel_size, pool.stride, pool.padding, strict=True)
    )
    width = pool.output_shape(source_shape)[2]
    inside = (rows >= 0)[:, None] & (columns >= 0)
    return np.where(inside, rows[:, None] * width + columns, -1).ravel()
