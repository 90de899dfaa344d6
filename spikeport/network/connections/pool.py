"""`SumPool2d`: sums of windows before the weights of a connection."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from spikeport import checks
from spikeport.errors import NetworkError
from spikeport.network.geometry import (
    IntPair,
    PerNeuron,
    Shape,
    pooled_index,
    taps_of_windows,
    window_count,
)


@dataclass(frozen=True, slots=True)
class SumPool2d:
    """Sums of non-overlapping windows of the source, taken before the weights.

    The pool and the following linear map form one linear map, so it costs no step and no spike.
    """

    kernel_size: IntPair
    stride: IntPair
    padding: IntPair = (0, 0)

    def __post_init__(self) -> None:
        for name in ("kernel_size", "stride", "padding"):
            object.__setattr__(self, name, checks.pair(f"sum-pool: {name}", getattr(self, name)))
        _check_windows(self)

    @property
    def area(self) -> int:
        """Neurons of a window."""
        return math.prod(self.kernel_size)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape (C, H', W') of the pooled source."""
        height, width = (
            window_count(n, k, s, p)
            for n, k, s, p in zip(
                shape[1:], self.kernel_size, self.stride, self.padding, strict=True
            )
        )
        return (shape[0], height, width)

    def window(self, source: Shape, position: int) -> Iterator[int]:
        """The source neurons of the pooled sum at `position`."""
        c, oy, ox = (int(i) for i in np.unravel_index(position, self.output_shape(source)))
        _, height, width = source
        for ky, kx in product(range(self.kernel_size[0]), range(self.kernel_size[1])):
            y = oy * self.stride[0] - self.padding[0] + ky
            x = ox * self.stride[1] - self.padding[1] + kx
            if 0 <= y < height and 0 <= x < width:
                yield (c * height + y) * width + x

    def windows_of(self, source: Shape) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The window of each row and of each column, or -1."""
        rows, columns = (
            pooled_index(*axis)
            for axis in zip(source[1:], self.kernel_size, self.stride, self.padding, strict=True)
        )
        return rows, columns

    def before(self, source: Shape, reached: PerNeuron) -> PerNeuron:
        """Synapses reached by each source neuron, given those of each pooled sum."""
        rows, columns = self.windows_of(source)
        inside = (rows >= 0)[:, None] & (columns >= 0)
        return np.where(inside, reached[:, rows[:, None], columns], 0)

    def matrix(self, source: Shape) -> NDArray[np.float64]:
        """Matrix of ones where a window (row) contains a source neuron (column)."""
        made = self.output_shape(source)
        full = np.zeros((*made, *source))
        channels = np.arange(source[0])
        for taps in product(range(self.kernel_size[0]), range(self.kernel_size[1])):
            (out_h, in_h), (out_w, in_w) = (
                taps_of_windows(made[1 + a], source[1 + a], self.stride[a], self.padding[a], tap)
                for a, tap in enumerate(taps)
            )
            full[
                channels[:, None, None],
                out_h[:, None],
                out_w,
                channels[:, None, None],
                in_h[:, None],
                in_w,
            ] = 1
        return full.reshape(int(np.prod(made)), -1)


def _check_windows(part: SumPool2d) -> None:
    """Check that windows do not overlap: a spike would reach a synapse along two paths."""
    for kernel, stride, padding in zip(part.kernel_size, part.stride, part.padding, strict=True):
        if kernel < 1 or stride < kernel:
            NetworkError.fail(
                f"sum-pool: kernel {kernel} with stride {stride}: windows must not overlap "
                "(stride >= kernel >= 1)"
            )
        if padding >= kernel:
            NetworkError.fail(
                f"sum-pool: padding {padding} must be smaller than the kernel {kernel}"
            )
