"""The order of neurons inside this simulator: channels last, rows padded to whole masks.

A neuron (c, y, x) of a population (C, H, W) lies at (y * W + x) * C + c, so that what one source
adds to one position of a convolution is contiguous; (C, L) is like (C, 1, L). (N,) stays as it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import Shape
from spikeport.simulators.native.vectors import MASK


def padded(size: int) -> int:
    """`size` rounded up to so many bytes as are looked through at once."""
    return -(-size // MASK) * MASK


def channels_last(values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """(..., *shape) as (..., N) in the inner order; a view where that is possible."""
    lead = values.shape[: values.ndim - len(shape)]
    values = np.moveaxis(values, -len(shape), -1)
    return values.reshape(*lead, math.prod(shape))


def channels_first(values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """(..., N) in the inner order as (..., *shape)."""
    lead = values.shape[:-1]
    return np.moveaxis(values.reshape(*lead, *shape[1:], shape[0]), -1, -len(shape))
