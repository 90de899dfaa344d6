"""The internal order of neurons: channels last, rows padded to whole masks.

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
