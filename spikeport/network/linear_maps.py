"""Linear maps between feature maps: factors, convolutions (and pools), matrices.

Shapes are (N,), (C, L) or (C, H, W), with neurons in C order. All is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import NetworkError
from spikeport.network.geometry import Shape, taps_of_windows

Array = NDArray[np.float64]
Index: TypeAlias = Any
"""What indexes an array."""
Sides = tuple[int, ...]
"""A number for each axis of the positions: (length,) or (rows, columns)."""
MAX_ENTRIES = 2**24
"""Weights of a map that replaces others: as many 8-bit synapses as a Loihi chip stores."""
MAX_DIAGONAL = 2**27
"""Largest diagonal matrix, 1 GiB."""
_SAME = 1e-12
"""Relative difference of float64 numbers that are equal but were added up in another order."""
PADDED = "zeros are padded between them"
UNEVEN = "factors differ between the positions of a channel"
FLATTENED = "it is flattened before its neurons"
SHIFTED = "its bias differs between the positions of a channel"
LARGE = "one kernel for both would be too large"
LINEAR = "a linear layer follows without neurons in between"
REMEDIES = {
    PADDED: "put neurons in between, or pad nothing there",
    UNEVEN: "use one factor for each channel",
    FLATTENED: "flatten after the neurons",
    SHIFTED: "pad nothing after the shift",
    LARGE: "put neurons in between",
    LINEAR: "put neurons in between",
}
"""What to do where a matrix would be too large."""


@dataclass(frozen=True, slots=True, eq=False)
class Elementwise:
    """y = factor x, for each neuron.

    Attributes:
        factor: of the shape `source`.
    """

    source: Shape
    target: Shape
    factor: Array

    def apply(self, x: Array) -> Array:
        """y (..., *target) of x (..., *source)."""
        made: Array = (x * self.factor).reshape(*_lead(x, self.source), *self.target)
        return made

    def back(self, y: Array) -> Array:
        """The transposed map: (..., *source) of (..., *target)."""
        made: Array = y.reshape(*_lead(y, self.target), *self.source) * self.factor
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Cross-correlation: y[o, p] = sum over i, k of weight[o, i, k] x[i, stride p - before + d k].

    x is zero outside of `source`; `positions` says how many p there are along each axis.

    Attributes:
        weight: (C_out, C_in / groups, K) or (C_out, C_in / groups, KH, KW).
        before: zeros in front of x; how many follow it is a matter of `positions`.
        target: (C_out, *positions), or the same flattened.
    """

    source: Shape
    target: Shape
    weight: Array
    stride: Sides
    before: Sides
    dilation: Sides
    positions: Sides
    groups: int = 1

    @property
    def unflattened(self) -> Shape:
        """(C_out, *positions)."""
        return (len(self.weight), *self.positions)

    def apply(self, x: Array) -> Array:
        """y (..., *target) of x (..., *source)."""
        lead = _lead(x, self.source)
        given = x.reshape(-1, self.groups, self.source[0] // self.groups, *self.source[1:])
        made = np.zeros((len(given), self.groups, len(self.weight) // self.groups, *self.positions))
        for weight, out, read in self._taps():
            made[out] += mixed(weight, given[read], 1)
        return made.reshape(*lead, *self.target)

    def back(self, y: Array) -> Array:
        """The transposed map: (..., *source) of (..., *target)."""
        lead = _lead(y, self.target)
        given = y.reshape(-1, self.groups, len(self.weight) // self.groups, *self.positions)
        shape = (self.groups, self.source[0] // self.groups, *self.source[1:])
        made = np.zeros((len(given), *shape))
        for weight, out, read in self._taps():
            made[read] += mixed(weight.swapaxes(1, 2), given[out], 1)
        return made.reshape(*lead, *self.source)

    def _taps(self) -> Iterator[tuple[Array, Index, Index]]:
        """Each tap: its weights (groups, out, in), and which positions it connects."""
        weights = grouped(self, self.groups)
        axes = range(len(self.positions))
        for tap in np.ndindex(*self.weight.shape[2:]):
            sides = [
                taps_of_windows(
                    self.positions[a],
                    self.source[1 + a],
                    self.stride[a],
                    self.before[a],
                    tap[a] * self.dilation[a],
                )
                for a in axes
            ]
            out, read = (np.ix_(*each) for each in zip(*sides, strict=True))
            every = slice(None)
            yield weights[:, :, :, *tap], (every, every, every, *out), (every, every, every, *read)


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """y = weight x, with x and y flattened.

    Attributes:
        weight: (N_target, N_source).
        reason: why convolutions became this matrix; empty if it was one from the start.
    """

    source: Shape
    target: Shape
    weight: Array
    reason: str = ""

    def apply(self, x: Array) -> Array:
        """y (..., *target) of x (..., *source)."""
        lead = _lead(x, self.source)
        return (x.reshape(*lead, -1) @ self.weight.T).reshape(*lead, *self.target)

    def back(self, y: Array) -> Array:
        """The transposed map: (..., *source) of (..., *target)."""
        lead = _lead(y, self.target)
        return (y.reshape(*lead, -1) @ self.weight).reshape(*lead, *self.source)


LinearMap: TypeAlias = Elementwise | Kernel | Matrix


def convolution(
    source: Shape,
    weight: Array,
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int = 1,
) -> Kernel:
    """A convolution with (before, after) zeros along each axis."""
    sides = zip(source[1:], weight.shape[2:], stride, padding, dilation, strict=True)
    positions = tuple((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides)
    before = tuple(side[0] for side in padding)
    shape = (len(weight), *positions)
    return Kernel(source, shape, weight, tuple(stride), before, tuple(dilation), positions, groups)


def sum_pool(
    source: Shape, size: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Kernel:
    """The sum of each window of each channel."""
    weight = np.ones((source[0], 1, *size))
    both = [(n, n) for n in padding]
    return convolution(source, weight, stride, both, [1] * len(size), source[0])


def flattened(made: LinearMap, target: Shape) -> LinearMap:
    """The same map with another shape for the same outputs."""
    return replace(made, target=target)


def as_matrix(made: LinearMap, reason: str = UNEVEN) -> Matrix:
    """The same map with a weight for each pair of neurons.

    Raises:
        InputError: they are more than `MAX_ENTRIES`.
    """
    if isinstance(made, Matrix):
        return made
    count = math.prod(made.target)
    check_entries(count, math.prod(made.source), reason)
    weight = made.back(np.eye(count).reshape(-1, *made.target)).reshape(count, -1)
    return Matrix(made.source, made.target, weight, reason)


def diagonal(made: Elementwise) -> Matrix:
    """Factors as a matrix.

    Raises:
        InputError: more than `MAX_DIAGONAL` entries, or `MAX_ENTRIES` for feature maps.
    """
    count, reason = made.factor.size, UNEVEN if len(made.source) > 1 else ""
    if reason:
        check_entries(count, count, reason)
    elif count**2 > MAX_DIAGONAL:
        raise NetworkError(
            f"{count} neurons feed {count} others one to one, as a matrix of {count} x {count} "
            f"weights, limit {MAX_DIAGONAL}; give them the shape (C, H, W)"
        )
    return Matrix(made.source, made.target, np.diag(made.factor.reshape(-1)), reason)


def features(made: LinearMap) -> Shape | None:
    """The shape (C, L) or (C, H, W) of the outputs before any flattening.

    None if there is none: no kernel has these outputs.
    """
    match made:
        case Kernel():
            return made.unflattened
        case Elementwise() if len(made.source) > 1 and uniform(made.factor) is not None:
            return made.source
    return None


def symmetric(made: Kernel) -> Kernel:
    """The same map with as many zeros after as before each axis, as PyTorch and the chip have it.

    Where the zeros differ, the kernel gets zero weights at one end.

    Raises:
        InputError: it would get more than `MAX_ENTRIES`.
    """
    for axis in range(len(made.positions)):
        made = _symmetric_along(made, axis)
    return made


def regrouped(made: Kernel, most: int) -> Kernel:
    """The same map with at most `most` groups, the largest divisor of its own that is allowed."""
    groups = max(n for n in range(1, min(made.groups, most) + 1) if made.groups % n == 0)
    weight = grouped(made, groups)
    return replace(made, weight=weight.reshape(len(made.weight), *weight.shape[2:]), groups=groups)


def uniform(values: Array) -> Array | None:
    """Values (C, ...) as one for each channel, (C,); None if they differ within a channel."""
    flat = values.reshape(len(values), -1)
    if np.allclose(flat, flat[:, :1], rtol=_SAME, atol=_SAME * np.abs(flat).max(initial=0)):
        return flat[:, 0].copy()
    return None


def grouped(made: Kernel, groups: int) -> Array:
    """Weights (groups, out, in, *K) for fewer groups, a divisor of the kernel's own."""
    own = made.groups // groups
    rows, columns = len(made.weight) // made.groups, made.weight.shape[1]
    size = made.weight.shape[2:]
    given = made.weight.reshape(groups, own, rows, columns, *size)
    full = np.zeros((groups, own, rows, own, columns, *size))
    for each in range(own):
        full[:, each, :, each] = given[:, each]
    return full.reshape(groups, own * rows, own * columns, *size)


def mixed(weight: Array, x: Array, lead: int) -> Array:
    """weight (G, O, I) times x (*lead axes, G, I, *rest) along I."""
    rest = x.shape[lead + 2 :]
    made = weight @ x.reshape(*x.shape[: lead + 2], math.prod(rest))
    return made.reshape(*made.shape[:-1], *rest)


def check_entries(rows: int, columns: int, reason: str) -> None:
    """Raise an InputError if a matrix that replaces others would be too large."""
    if rows * columns > MAX_ENTRIES:
        raise NetworkError(
            f"{reason}; as one map they are a matrix of {rows} x {columns} weights, limit "
            f"{MAX_ENTRIES}; {REMEDIES[reason]}"
        )


def _symmetric_along(made: Kernel, axis: int) -> Kernel:
    stride, before, spacing = (side[axis] for side in (made.stride, made.before, made.dilation))
    size = made.weight.shape[2 + axis]
    reach = (made.positions[axis] - 1) * stride + spacing * (size - 1) + 1
    least = reach - made.source[1 + axis] - before  # zeros after, up to stride - 1 more
    if before >= 0 and least <= before < least + stride:
        return made
    front = max(least - before, -before, 0)
    back = max(before + front - least - stride + 1, 0)
    if front % spacing or back % spacing:
        # Taps next to each other can be moved by single positions.
        return _symmetric_along(_dense_along(made, axis), axis)
    _check_weights(made.weight.size // size * (size + (front + back) // spacing))
    wider = [(0, 0)] * made.weight.ndim
    wider[2 + axis] = (front // spacing, back // spacing)
    padded = [*made.before]
    padded[axis] = before + front
    return replace(made, weight=np.pad(made.weight, wider), before=tuple(padded))


def _dense_along(made: Kernel, axis: int) -> Kernel:
    """The same map with dilation 1 along one axis."""
    spacing = made.dilation[axis]
    shape = list(made.weight.shape)
    shape[2 + axis] = spacing * (shape[2 + axis] - 1) + 1
    _check_weights(math.prod(shape))
    weight = np.zeros(shape)
    place: list[slice] = [slice(None)] * weight.ndim
    place[2 + axis] = slice(None, None, spacing)
    weight[tuple(place)] = made.weight
    dilation = [*made.dilation]
    dilation[axis] = 1
    return replace(made, weight=weight, dilation=tuple(dilation))


def _check_weights(count: int) -> None:
    if count > MAX_ENTRIES:
        raise NetworkError(
            f"with as many zeros before as after it, its kernel has {count} weights, limit "
            f"{MAX_ENTRIES}; use padding that is the same on both sides"
        )


def _lead(x: Array, shape: Shape) -> Shape:
    return x.shape[: x.ndim - len(shape)]
