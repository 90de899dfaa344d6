"""Connections of a `DeployedNetwork`: weighted ones, and inputs that are written into biases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeport import checks
from spikeport.network import fixed_point as fx
from spikeport.network.fixed_point import WEIGHT_BITS
from spikeport.network.geometry import IntPair, Shape, window_count


@dataclass(frozen=True, slots=True)
class SumPool2d:
    """Sums of non-overlapping windows of the source, taken before the weights.

    The pool and the linear map behind it are one linear map, so it costs no step and no spike.
    """

    kernel_size: IntPair
    stride: IntPair
    padding: IntPair = (0, 0)

    def __post_init__(self) -> None:
        for name in ("kernel_size", "stride", "padding"):
            object.__setattr__(self, name, checks.pair(f"sum-pool: {name}", getattr(self, name)))
        _check_windows(self)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape (C, H', W') of the pooled source."""
        height, width = (
            window_count(n, k, s, p)
            for n, k, s, p in zip(
                shape[1:], self.kernel_size, self.stride, self.padding, strict=True
            )
        )
        return (shape[0], height, width)


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """Every source neuron to every target neuron; sources and targets flattened in C order.

    Attributes:
        weight: mantissas, shape (N_target, N_source), on the chip's grid, int16.
        exponent: shifts the accumulated sum, left if positive.
        delay: logical steps; at least 1 somewhere on every cycle.
    """

    source: str
    target: str
    weight: NDArray[np.int16]
    exponent: int = 0
    weight_bits: int = WEIGHT_BITS
    delay: int = 0
    pool: SumPool2d | None = None
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.source}_to_{self.target}")
        object.__setattr__(self, "weight", _weight(self, dims=2))
        _check_scalars(self)


@dataclass(frozen=True, slots=True, eq=False)
class Conv2d:
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
    weight_bits: int = WEIGHT_BITS
    delay: int = 0
    pool: SumPool2d | None = None
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.source}_to_{self.target}")
        for name in ("stride", "padding", "dilation"):
            object.__setattr__(self, name, checks.pair(f"{self.name}: {name}", getattr(self, name)))
        object.__setattr__(self, "weight", _weight(self, dims=4))
        _check_scalars(self)

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


@dataclass(frozen=True, slots=True, eq=False)
class Conv1d:
    """`Conv2d` along one axis, wrapping alike; for sources (C, L).

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
    weight_bits: int = WEIGHT_BITS
    delay: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.source}_to_{self.target}")
        for name in ("stride", "padding", "dilation"):
            object.__setattr__(self, name, checks.side(f"{self.name}: {name}", getattr(self, name)))
        object.__setattr__(self, "weight", _weight(self, dims=3))
        _check_scalars(self)

    @property
    def pool(self) -> None:
        """There is no sum-pool along one axis, as there is none in NIR."""
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


@dataclass(frozen=True, slots=True)
class BiasInjection:
    """An input of coding BIAS, one to one, into a population's bias mantissas for each step.

    b = (bias + x) << bias_exponent; no synapse is crossed.
    """

    source: str
    target: str
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.source}_to_{self.target}")


Convolution = Conv1d | Conv2d
WeightedConnection = Dense | Conv1d | Conv2d
Connection = WeightedConnection | BiasInjection


def check_shapes(
    part: WeightedConnection, source: tuple[int, ...], target: tuple[int, ...]
) -> None:
    """Check that the connection maps the shape of its source to that of its target."""
    subject = f"connection '{part.name}'"
    if part.pool is not None:
        if len(source) != 3:
            checks.fail(f"{subject}: a sum-pool needs a source (C, H, W), got {source}")
        source = part.pool.output_shape(source)
        if min(source) < 1:
            checks.fail(f"{subject}: the sum-pool leaves nothing of its source: {source}")
    if isinstance(part, Dense):
        expected = (int(np.prod(target)), int(np.prod(source)))
        if part.weight.shape != expected:
            checks.fail(f"{subject}: weight has shape {part.weight.shape}, must be {expected}")
        return
    if len(source) != part.weight.ndim - 1:
        axes = "(C, L)" if isinstance(part, Conv1d) else "(C, H, W)"
        checks.fail(f"{subject}: a convolution needs a source {axes}, got {source}")
    if source[0] != part.weight.shape[1] * part.groups:
        checks.fail(
            f"{subject}: source has {source[0]} channels, weight {part.weight.shape} with "
            f"groups {part.groups} needs {part.weight.shape[1] * part.groups}"
        )
    made = part.output_shape(source)
    if made != target:
        checks.fail(f"{subject}: gives shape {made}, but '{part.target}' has {target}")


def _check_windows(part: SumPool2d) -> None:
    """Windows that do not overlap: otherwise a spike would reach one synapse along two ways."""
    for kernel, stride, padding in zip(part.kernel_size, part.stride, part.padding, strict=True):
        if kernel < 1 or stride < kernel:
            checks.fail(
                f"sum-pool: kernel {kernel} with stride {stride}: windows must not overlap "
                "(stride >= kernel >= 1)"
            )
        if padding >= kernel:
            checks.fail(f"sum-pool: padding {padding} must be smaller than the kernel {kernel}")


def _weight(part: WeightedConnection, dims: int) -> NDArray[np.int16]:
    """Mantissas with the right number of axes, on the chip's grid."""
    subject = f"connection '{part.name}'"
    checks.settle(part, subject, weight_bits=(1, fx.WEIGHT_BITS))
    bits = part.weight_bits
    array = checks.integers(f"{subject}: weight", part.weight, np.int16)
    if array.ndim != dims or 0 in array.shape:
        checks.fail(f"{subject}: weight has shape {array.shape}, must have {dims} non-empty axes")
    wrong = fx.off_grid(array, bits)
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        mixed = fx.is_mixed(array)
        low, high, step = fx.weight_grid(mixed=mixed, bits=bits)
        signs = "mixed signs" if mixed else "one sign, as magnitudes"
        checks.fail(
            f"{subject}: weight {array[index]} at {index} is off the {bits}-bit grid for {signs} "
            f"({low}..{high} in steps of {step}); {int(wrong.sum())} of {array.size} are off"
        )
    return array


def _check_scalars(part: WeightedConnection) -> None:
    """Scalars of a connection within what the chip expresses."""
    subject = f"connection '{part.name}'"
    checks.settle(
        part,
        subject,
        exponent=(fx.WEIGHT_EXPONENT_MIN, fx.WEIGHT_EXPONENT_MAX),
        delay=(0, fx.DELAY_MAX),
    )
    if hasattr(part, "groups"):
        checks.settle(part, subject, groups=(1, part.weight.shape[0]))
        groups = part.groups
        if part.weight.shape[0] % groups:
            checks.fail(
                f"{subject}: groups {groups} must divide {part.weight.shape[0]} output channels"
            )
        for name in ("stride", "dilation"):
            if np.min(getattr(part, name)) < 1:
                checks.fail(f"{subject}: {name} {getattr(part, name)} must be at least 1")
