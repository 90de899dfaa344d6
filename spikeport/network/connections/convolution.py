"""`Conv1d` and `Conv2d`: a kernel shared by all positions of a feature map."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeport import checks
from spikeport.errors import NetworkError
from spikeport.network.arithmetic import LOIHI
from spikeport.network.connections.base import (
    Synapse,
    check_scalars,
    checked_weights,
    column_counts,
    signed_row_sums,
)
from spikeport.network.connections.pool import SumPool2d
from spikeport.network.geometry import (
    IntPair,
    PerNeuron,
    Shape,
    taps_of_windows,
    taps_per_position,
    window_count,
)


class _Kernel:
    """What both kinds share; the fields are those of the kind itself."""

    __slots__ = ()

    storage: ClassVar[str] = "conv"
    wraps: ClassVar[bool] = True
    spatial: ClassVar[bool] = True

    @property
    def extent(self: Any) -> str:
        """Shape of the weights, for tables."""
        return "x".join(map(str, self.weight.shape))

    def row_sums(self: Any) -> tuple[PerNeuron, PerNeuron]:
        """Sums of the positive and of the negative weights of each target channel."""
        return signed_row_sums(self.weight.reshape(len(self.weight), -1))

    def macs(self: Any, targets: int) -> int:
        """Multiply-accumulates of one pass: every target neuron reads one kernel."""
        return targets * int(math.prod(self.weight.shape[1:]))


@dataclass(frozen=True, slots=True, eq=False)
class Conv2d(_Kernel):
    """Cross-correlation as in PyTorch and NIR, zero padding.

    Its accumulated sum wraps to signed 24 bits before the exponent acts, as in Lava's Conv.

    Attributes:
        weight: mantissas, shape (C_out, C_in / groups, KH, KW), on the chip's grid, int16.
    """

    source: str
    target: str
    weight: NDArray[np.int16]
    stride: IntPair = (1, 1)
    padding: IntPair = (0, 0)
    dilation: IntPair = (1, 1)
    groups: int = 1
    exponent: int = 0
    weight_bits: int = LOIHI.weight_bits
    delay: int = 0
    pool: SumPool2d | None = None
    name: str = ""

    def __post_init__(self) -> None:
        _settle(self, checks.pair, dims=4)

    def check_map(self, shape: Shape, target: Shape) -> None:
        """Check that the kernel maps `shape` to `target`."""
        _check_map(self, shape, target, "(C, H, W)")

    def output_shape(self, shape: Shape) -> Shape:
        """Shape (C_out, H', W') for a source (after its pool) of shape (C_in, H, W)."""
        height, width = (
            window_count(n, k, s, p, d)
            for n, k, s, p, d in zip(
                shape[1:],
                self.weight.shape[2:],
                self.stride,
                self.padding,
                self.dilation,
                strict=True,
            )
        )
        return (self.weight.shape[0], height, width)

    def taps(self, shape: Shape) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether a tap meets a row, (H, KH), or a column, (W, KW), at some position."""
        rows, columns = (
            taps_per_position(*axis)
            for axis in zip(
                shape[1:],
                self.weight.shape[2:],
                self.stride,
                self.padding,
                self.dilation,
                strict=True,
            )
        )
        return rows, columns

    def reached(self, shape: Shape) -> tuple[PerNeuron, PerNeuron]:
        """Synapses that each neuron of `shape` reaches: (non-zero, stored)."""
        per_group = len(self.weight) // self.groups
        size = (shape[0], *self.weight.shape[2:])
        grouped = (self.weight != 0).reshape(self.groups, per_group, -1)
        nonzero = np.stack([column_counts(group) for group in grouped]).reshape(size)
        stored = np.full(size, per_group, np.int64)
        rows, columns = (taps.astype(np.int64) for taps in self.taps(shape))
        return rows @ nonzero @ columns.T, rows @ stored @ columns.T

    def row(self, shape: Shape, target: int) -> Iterator[Synapse]:
        """Every synapse of one target neuron, zero weights included."""
        o, oy, ox = (int(i) for i in np.unravel_index(target, self.output_shape(shape)))
        _, height, width = shape
        first = _first_channel(self, o)
        for (i, ky, kx), weight in np.ndenumerate(self.weight[o]):
            y = oy * self.stride[0] - self.padding[0] + ky * self.dilation[0]
            x = ox * self.stride[1] - self.padding[1] + kx * self.dilation[1]
            if 0 <= y < height and 0 <= x < width:
                yield ((first + i) * height + y) * width + x, int(weight)

    def matrix(self, shape: Shape) -> NDArray[np.int16]:
        """The convolution unrolled, (N_target, N_source)."""
        made = self.output_shape(shape)
        full = np.zeros((*made, *shape), np.int16)
        for offsets in np.ndindex(*self.weight.shape[2:]):
            (out_h, in_h), (out_w, in_w) = (
                taps_of_windows(
                    made[1 + a], shape[1 + a], self.stride[a], self.padding[a], k * self.dilation[a]
                )
                for a, k in enumerate(offsets)
            )
            rows, columns = out_h[:, None], in_h[:, None]
            for o in range(made[0]):
                first = _first_channel(self, o)
                for c in range(self.weight.shape[1]):
                    full[o, rows, out_w, first + c, columns, in_w] = self.weight[o, c, *offsets]
        return full.reshape(math.prod(made), -1)


@dataclass(frozen=True, slots=True, eq=False)
class Conv1d(_Kernel):
    """`Conv2d` along one axis, with the same wrapping, for sources (C, L).

    Attributes:
        weight: mantissas, shape (C_out, C_in / groups, K), on the chip's grid, int16.
    """

    source: str
    target: str
    weight: NDArray[np.int16]
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    exponent: int = 0
    weight_bits: int = LOIHI.weight_bits
    delay: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        _settle(self, checks.side, dims=3)

    def check_map(self, shape: Shape, target: Shape) -> None:
        """Check that the kernel maps `shape` to `target`."""
        _check_map(self, shape, target, "(C, L)")

    @property
    def pool(self) -> None:
        """None: there is no sum-pool along one axis, as in NIR."""
        return None

    def output_shape(self, shape: Shape) -> Shape:
        """Shape (C_out, L') for a source of shape (C_in, L)."""
        kernel = self.weight.shape[2]
        length = window_count(shape[1], kernel, self.stride, self.padding, self.dilation)
        return (self.weight.shape[0], length)

    def as_conv2d(self) -> Conv2d:
        """The same map for a source (C, 1, L) and a target (C', 1, L')."""
        return Conv2d(
            self.source,
            self.target,
            self.weight[:, :, None],
            stride=(1, self.stride),
            padding=(0, self.padding),
            dilation=(1, self.dilation),
            groups=self.groups,
            exponent=self.exponent,
            weight_bits=self.weight_bits,
            delay=self.delay,
            name=self.name,
        )

    def reached(self, shape: Shape) -> tuple[PerNeuron, PerNeuron]:
        """Synapses that each neuron of `shape` reaches: (non-zero, stored)."""
        nonzero, stored = self.as_conv2d().reached((shape[0], 1, shape[1]))
        return nonzero.reshape(shape), stored.reshape(shape)

    def row(self, shape: Shape, target: int) -> Iterator[Synapse]:
        """Every synapse of one target neuron, zero weights included."""
        o, ox = (int(i) for i in np.unravel_index(target, self.output_shape(shape)))
        _, length = shape
        first = _first_channel(self, o)
        for (i, k), weight in np.ndenumerate(self.weight[o]):
            x = ox * self.stride - self.padding + k * self.dilation
            if 0 <= x < length:
                yield (first + i) * length + x, int(weight)

    def matrix(self, shape: Shape) -> NDArray[np.int16]:
        """The convolution unrolled, (N_target, N_source)."""
        return self.as_conv2d().matrix((shape[0], 1, shape[1]))


def _first_channel(part: Conv1d | Conv2d, channel: int) -> int:
    """The first source channel that a target channel reads."""
    sources: int = part.weight.shape[1]
    return channel // (len(part.weight) // part.groups) * sources


def _settle(part: Conv1d | Conv2d, side: Callable[[str, Any], Any], dims: int) -> None:
    """Check a convolution under construction; `side` checks stride, padding and dilation."""
    object.__setattr__(part, "name", part.name or f"{part.source}_to_{part.target}")
    for name in ("stride", "padding", "dilation"):
        object.__setattr__(part, name, side(f"{part.name}: {name}", getattr(part, name)))
    object.__setattr__(part, "weight", checked_weights(part, dims))
    check_scalars(part)
    subject = f"connection '{part.name}'"
    checks.settle(part, subject, groups=(1, part.weight.shape[0]))
    groups = part.groups
    if part.weight.shape[0] % groups:
        NetworkError.fail(
            f"{subject}: groups {groups} must divide {part.weight.shape[0]} output channels"
        )
    for name in ("stride", "dilation"):
        if np.min(getattr(part, name)) < 1:
            NetworkError.fail(f"{subject}: {name} {getattr(part, name)} must be at least 1")


def _check_map(part: Conv1d | Conv2d, shape: Shape, target: Shape, axes: str) -> None:
    subject = f"connection '{part.name}'"
    if len(shape) != part.weight.ndim - 1:
        NetworkError.fail(f"{subject}: a convolution needs a source {axes}, got {shape}")
    if shape[0] != part.weight.shape[1] * part.groups:
        NetworkError.fail(
            f"{subject}: source has {shape[0]} channels, weight {part.weight.shape} with "
            f"groups {part.groups} needs {part.weight.shape[1] * part.groups}"
        )
    made = part.output_shape(shape)
    if made != target:
        NetworkError.fail(f"{subject}: gives shape {made}, but '{part.target}' has {target}")
