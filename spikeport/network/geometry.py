"""Shapes of convolutions and sum-pools, and the number of synapses of each source neuron."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
IntPair = tuple[int, int]
PerNeuron = NDArray[np.int64]
"""One count or sum for each neuron."""


def window_count(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Number of window positions along one axis: floor((n + 2p - d(k-1) - 1) / s) + 1."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def taps_per_position(
    size: int, kernel: int, stride: int, padding: int, dilation: int = 1
) -> NDArray[np.bool_]:
    """Which (input position, kernel tap) pairs meet at a window position; shape (size, kernel).

    Tap k of window o reads input o * stride - padding + k * dilation.
    """
    reach = np.zeros((size, kernel), np.bool_)
    windows = window_count(size, kernel, stride, padding, dilation)
    for tap in range(kernel):
        read = np.arange(windows) * stride - padding + tap * dilation
        reach[read[(read >= 0) & (read < size)], tap] = True
    return reach


def pooled_index(size: int, kernel: int, stride: int, padding: int) -> NDArray[np.int64]:
    """For each input position its pooling window, or -1; windows do not overlap."""
    windows = window_count(size, kernel, stride, padding)
    position = np.arange(size, dtype=np.int64) + padding
    window = position // stride
    inside = (position % stride < kernel) & (window < windows)
    return np.where(inside, window, -1)


def taps_of_windows(
    windows: int, size: int, stride: int, padding: int, offset: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Window positions and the input positions that a tap at `offset` reads there."""
    position = np.arange(windows)
    read = position * stride - padding + offset
    inside = (read >= 0) & (read < size)
    return position[inside], read[inside]
