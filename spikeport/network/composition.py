"""Linear maps between feature maps, and their exact composition.

Two linear maps in a row are one linear map. If both are convolutions (a pool is one, with ones for
weights), so is their composition, of kernel (K2 - 1) d2 s1 + (K1 - 1) d1 + 1 and stride s1 s2,
unless the second pads with zeros where the first, continued beyond its border, would not be zero.
Such a composition, and factors that differ between the positions of a channel, need a weight for
each pair of neurons: a `Matrix`, which may have at most `MAX_ENTRIES`. All is computed in float64;
nothing is approximated.

Shapes are (N,), (C, L) or (C, H, W), and neurons are counted in C order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.network.geometry import Shape, taps_of_windows

Array = NDArray[np.float64]
Index: TypeAlias = Any
"""What indexes an array."""
Sides = tuple[int, ...]
"""A number for each axis of the positions: (length,) or (rows, columns)."""

MAX_ENTRIES = 2**24
"""Largest matrix that replaces convolutions: as many 8-bit synapses as a Loihi chip stores."""
_SAME = 1e-12
"""Relative difference of float64 numbers that are equal but were added up in another order."""


_PADDED = "zeros are padded between them"
_UNEVEN = "factors differ between the positions of a channel"
_LINEAR = "a linear layer follows without neurons in between"
_REMEDIES = {
    _PADDED: "put neurons in between, or pad nothing there",
    _UNEVEN: "use one factor for each channel",
    _LINEAR: "put neurons in between",
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
            made[out] += _mixed(weight, given[read], 1)
        return made.reshape(*lead, *self.target)

    def back(self, y: Array) -> Array:
        """The transposed map: (..., *source) of (..., *target)."""
        lead = _lead(y, self.target)
        given = y.reshape(-1, self.groups, len(self.weight) // self.groups, *self.positions)
        shape = (self.groups, self.source[0] // self.groups, *self.source[1:])
        made = np.zeros((len(given), *shape))
        for weight, out, read in self._taps():
            made[read] += _mixed(weight.swapaxes(1, 2), given[out], 1)
        return made.reshape(*lead, *self.source)

    def _taps(self) -> Iterator[tuple[Array, Index, Index]]:
        """Each tap: its weights (groups, out, in), and which positions it connects."""
        grouped = _grouped(self, self.groups)
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
            yield grouped[:, :, :, *tap], (every, every, every, *out), (every, every, every, *read)


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


def compose(first: LinearMap, second: LinearMap) -> LinearMap:
    """`second` after `first`, as one map.

    Raises:
        InputError: it needs a matrix of more than `MAX_ENTRIES` entries; says why.
    """
    if isinstance(second, Matrix):
        if not isinstance(first, Elementwise):
            _check_entries(len(second.weight), math.prod(first.source), _LINEAR)
        reason = second.reason or (first.reason if isinstance(first, Matrix) else "")
        weight = first.back(second.weight.reshape(-1, *first.target)).reshape(
            len(second.weight), -1
        )
        return Matrix(first.source, second.target, weight, reason)
    if isinstance(first, Matrix):
        columns = second.apply(first.weight.T.reshape(-1, *second.source))
        weight = np.ascontiguousarray(columns.reshape(len(columns), -1).T)
        return Matrix(first.source, second.target, weight, first.reason)
    if isinstance(first, Elementwise) and isinstance(second, Elementwise):
        factor = first.factor * second.factor.reshape(first.source)
        return Elementwise(first.source, second.target, factor)
    made = _composed(first, second)
    return compose(as_matrix(first, made), second) if isinstance(made, str) else made


def composed_kernel(first: Kernel, second: Kernel) -> Kernel | None:
    """`second` after `first` as one kernel, None if there is none."""
    made = _composed(first, second)
    return None if isinstance(made, str) else made


def as_matrix(made: LinearMap, reason: str = _UNEVEN) -> Matrix:
    """The same map with a weight for each pair of neurons.

    Raises:
        InputError: they are more than `MAX_ENTRIES`.
    """
    if isinstance(made, Matrix):
        return made
    count = math.prod(made.target)
    _check_entries(count, math.prod(made.source), reason)
    weight = made.back(np.eye(count).reshape(-1, *made.target)).reshape(count, -1)
    return Matrix(made.source, made.target, weight, reason)


def symmetric(made: Kernel) -> Kernel:
    """The same map with as many zeros after as before each axis, as PyTorch and the chip have it.

    Where the zeros differ, the kernel gets zero weights at one end.
    """
    for axis in range(len(made.positions)):
        made = _symmetric_along(made, axis)
    return made


def uniform(values: Array) -> Array | None:
    """Values (C, ...) as one for each channel, (C,); None if they differ within a channel."""
    flat = values.reshape(len(values), -1)
    if np.allclose(flat, flat[:, :1], rtol=_SAME, atol=_SAME * np.abs(flat).max(initial=0)):
        return flat[:, 0].copy()
    return None


def became(names: Sequence[str], made: LinearMap, kind: str = "convolution") -> str:
    """One sentence: the layers `names`, in order, are now the one map `made`.

    Args:
        kind: what a `Kernel` is called.
    """
    *most, last = (f"'{name}'" for name in names)
    subject = f"{', '.join(most)} and {last} became one" if most else f"{last} became a"
    match made:
        case Matrix():
            because = f", because {made.reason}" if made.reason else ""
            return f"{subject} matrix of {_sides(made.weight.shape)}{because}"
        case Kernel():
            return f"{subject} {kind} of kernel {_sides(made.weight.shape[2:])}, stride " + (
                _sides(made.stride if len(set(made.stride)) > 1 else made.stride[:1])
            )
    return f"{subject} connection of neurons one to one"


def _composed(first: Elementwise | Kernel, second: Elementwise | Kernel) -> Kernel | str:
    """`second` after `first` as one kernel, or why none is shared by all positions."""
    if isinstance(second, Elementwise):
        assert isinstance(first, Kernel)  # see compose()
        rows = uniform(second.factor.reshape(first.unflattened))
        if rows is None:
            return _UNEVEN
        weight = first.weight * rows.reshape(-1, *(1,) * (first.weight.ndim - 1))
        return replace(first, weight=weight, target=second.target)
    if isinstance(first, Elementwise):
        columns = uniform(first.factor.reshape(second.source))
        if columns is None:
            return _UNEVEN
        ones = (1,) * len(second.positions)
        scaled = _grouped(second, second.groups) * columns.reshape(second.groups, 1, -1, *ones)
        return replace(second, weight=scaled.reshape(second.weight.shape), source=first.source)
    if not all(_zero_beyond(first, second, axis) for axis in range(len(second.positions))):
        return _PADDED
    axes = [_axis(first, second, axis) for axis in range(len(second.positions))]
    groups = math.gcd(first.groups, second.groups)
    inner, outer = _grouped(first, groups), _grouped(second, groups)
    size = tuple(axis.size for axis in axes)
    made = np.zeros((groups, outer.shape[1], inner.shape[2], *size))
    for tap in np.ndindex(*second.weight.shape[2:]):
        place = tuple(
            slice(k * a.outer, k * a.outer + (n - 1) * a.inner + 1, a.inner)
            for k, a, n in zip(tap, axes, first.weight.shape[2:], strict=True)
        )
        made[:, :, :, *place] += _mixed(outer[:, :, :, *tap], inner, 0)
    return Kernel(
        source=first.source,
        target=second.target,
        weight=made.reshape(len(second.weight), -1, *size),
        stride=tuple(a * b for a, b in zip(first.stride, second.stride, strict=True)),
        before=tuple(
            b1 + b2 * s for b1, b2, s in zip(first.before, second.before, first.stride, strict=True)
        ),
        dilation=tuple(axis.dilation for axis in axes),
        positions=second.positions,
        groups=groups,
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    """The kernel of a composition along one axis; taps of the parts are `outer`, `inner` apart."""

    size: int
    dilation: int
    outer: int
    inner: int


def _axis(first: Kernel, second: Kernel, axis: int) -> _Axis:
    last1, last2 = first.weight.shape[2 + axis] - 1, second.weight.shape[2 + axis] - 1
    inner, outer = first.dilation[axis], second.dilation[axis] * first.stride[axis]
    dilation = math.gcd(inner if last1 else 0, outer if last2 else 0) or 1
    size = (last2 * outer + last1 * inner) // dilation + 1
    return _Axis(size, dilation, max(outer // dilation, 1), max(inner // dilation, 1))


def _zero_beyond(first: Kernel, second: Kernel, axis: int) -> bool:
    """Whether `first`, continued beyond its border, is zero where `second` pads with zeros."""
    inside = first.positions[axis]
    read = (
        np.arange(second.positions[axis])[:, None] * second.stride[axis]
        - second.before[axis]
        + second.dilation[axis] * _used(second, axis)
    )
    padding = np.unique(read[(read < 0) | (read >= inside)])
    reached = (
        padding[:, None] * first.stride[axis]
        - first.before[axis]
        + first.dilation[axis] * _used(first, axis)
    )
    return not ((reached >= 0) & (reached < first.source[1 + axis])).any()


def _used(made: Kernel, axis: int) -> NDArray[np.int64]:
    """The taps along one axis at which a weight is not zero."""
    others = tuple(a for a in range(made.weight.ndim) if a != 2 + axis)
    return np.flatnonzero(made.weight.any(axis=others))


def _grouped(made: Kernel, groups: int) -> Array:
    """Weights (groups, out, in, *K) for fewer groups, a divisor of the kernel's own."""
    own = made.groups // groups
    rows, columns = len(made.weight) // made.groups, made.weight.shape[1]
    size = made.weight.shape[2:]
    given = made.weight.reshape(groups, own, rows, columns, *size)
    full = np.zeros((groups, own, rows, own, columns, *size))
    for each in range(own):
        full[:, each, :, each] = given[:, each]
    return full.reshape(groups, own * rows, own * columns, *size)


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
    weight = np.zeros(shape)
    place: list[slice] = [slice(None)] * weight.ndim
    place[2 + axis] = slice(None, None, spacing)
    weight[tuple(place)] = made.weight
    dilation = [*made.dilation]
    dilation[axis] = 1
    return replace(made, weight=weight, dilation=tuple(dilation))


def _mixed(weight: Array, x: Array, lead: int) -> Array:
    """weight (G, O, I) times x (*lead axes, G, I, *rest) along I."""
    rest = x.shape[lead + 2 :]
    made = weight @ x.reshape(*x.shape[: lead + 2], math.prod(rest))
    return made.reshape(*made.shape[:-1], *rest)


def _lead(x: Array, shape: Shape) -> Shape:
    return x.shape[: x.ndim - len(shape)]


def _check_entries(rows: int, columns: int, reason: str) -> None:
    if rows * columns > MAX_ENTRIES:
        raise InputError(
            f"{reason}; as one map they are a matrix of {rows} x {columns} weights, limit "
            f"{MAX_ENTRIES}; {_REMEDIES[reason]}"
        )


def _sides(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))
