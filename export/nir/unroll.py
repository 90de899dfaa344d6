"""A convolution or a sum-pool as the matrix of its linear map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.network import Conv1d, Conv2d, Dense, Shape, SumPool2d, WeightedConnection

MAX_ENTRIES = 2**28
"""1 GiB in float32."""


def check_entries(subject: str, rows: int, columns: int) -> None:
    """Refuse a matrix that would not fit into memory.

    Raises:
        InputError: more than `MAX_ENTRIES`.
    """
    if rows * columns > MAX_ENTRIES:
        raise InputError(
            f"{subject}: its float view needs a matrix of {rows} x {columns} entries, "
            f"limit {MAX_ENTRIES}"
        )


def connection_matrix(part: WeightedConnection, source: Shape) -> NDArray[np.float64]:
    """Mantissas of a connection, its pool included, as (N_target, N_source)."""
    if isinstance(part, Conv1d):
        return connection_matrix(part.as_conv2d(), (source[0], 1, source[1]))
    columns = int(np.prod(source, dtype=object))
    check_entries(f"connection '{part.name}'", part.weight.shape[0], columns)
    pooled = source if part.pool is None else part.pool.output_shape(source)
    if isinstance(part, Dense):
        matrix = part.weight.astype(np.float64)
    else:
        rows = int(np.prod(part.output_shape(pooled), dtype=object))
        check_entries(f"connection '{part.name}'", rows, columns)
        matrix = _conv_matrix(part, pooled)
    return matrix if part.pool is None else matrix @ pool_matrix(part.pool, source)


def pool_matrix(pool: SumPool2d, source: Shape) -> NDArray[np.float64]:
    """Ones where a window (row) holds a source neuron (column)."""
    made = pool.output_shape(source)
    full = np.zeros((*made, *source))
    channels = np.arange(source[0])
    for i in range(pool.kernel_size[0]):
        for j in range(pool.kernel_size[1]):
            out_h, in_h = _taps(made[1], source[1], pool.stride[0], pool.padding[0], i)
            out_w, in_w = _taps(made[2], source[2], pool.stride[1], pool.padding[1], j)
            full[
                channels[:, None, None],
                out_h[:, None],
                out_w,
                channels[:, None, None],
                in_h[:, None],
                in_w,
            ] = 1
    return full.reshape(int(np.prod(made)), -1)


def _conv_matrix(part: Conv2d, source: Shape) -> NDArray[np.float64]:
    made = part.output_shape(source)
    outs, ins = part.weight.shape[0] // part.groups, part.weight.shape[1]
    full = np.zeros((*made, *source))
    for offsets in np.ndindex(*part.weight.shape[2:]):
        (out_h, in_h), (out_w, in_w) = (
            _taps(made[1 + a], source[1 + a], part.stride[a], part.padding[a], k * part.dilation[a])
            for a, k in enumerate(offsets)
        )
        for o in range(made[0]):
            group = o // outs
            for c in range(ins):
                rows, columns = out_h[:, None], in_h[:, None]
                full[o, rows, out_w, group * ins + c, columns, in_w] = part.weight[o, c, *offsets]
    return full.reshape(int(np.prod(made)), -1)


def _taps(
    made: int, size: int, stride: int, padding: int, offset: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Window positions and the input positions that a tap at `offset` reads there."""
    windows = np.arange(made)
    read = windows * stride - padding + offset
    inside = (read >= 0) & (read < size)
    return windows[inside], read[inside]
