"""The internal order of neurons: channels last, rows padded to whole masks, at cache lines.

A neuron (c, y, x) of a population (C, H, W) is at (y * W + x) * C + c, so that the contribution of
one source to one position of a convolution is contiguous; (C, L) is like (C, 1, L), (N,) unchanged.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import Shape
from spikeport.simulators.native.vectors import MASK

CACHE_LINE = 64


def aligned(size: int) -> int:
    """`size` bytes rounded up to whole cache lines."""
    return size + -size % CACHE_LINE


def uninitialised(shape: tuple[int, ...], kind: Any, unit: int = CACHE_LINE) -> NDArray[Any]:
    """An array that begins at a multiple of `unit` bytes and has whole units of memory.

    At a cache line, fewer of its vectors extend over two.
    """
    dtype = np.dtype(kind)
    size = math.prod(shape) * dtype.itemsize
    room = np.empty(size + 2 * unit, np.uint8)
    first = -room.ctypes.data % unit
    array: NDArray[Any] = room[first : first + size].view(dtype).reshape(shape)
    return array


def padded(size: int) -> int:
    """`size` rounded up to a multiple of the number of bytes examined at once."""
    return -(-size // MASK) * MASK


def channels_last(values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """(..., *shape) as (..., N) in the internal order; a view if possible."""
    if len(shape) == 1:
        return values
    lead = values.shape[: values.ndim - len(shape)]
    values = np.moveaxis(values, -len(shape), -1)
    return values.reshape(*lead, math.prod(shape))


def channels_first(values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """(..., N) in the internal order as (..., *shape)."""
    if len(shape) == 1:
        return values
    lead = values.shape[:-1]
    return np.moveaxis(values.reshape(*lead, *shape[1:], shape[0]), -1, -len(shape))
