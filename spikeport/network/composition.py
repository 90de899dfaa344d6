"""The exact composition of linear maps.

Two linear maps in a row are one linear map. If both are convolutions (a pool is one, with ones for
weights), so is their composition, of kernel (K2 - 1) d2 s1 + (K1 - 1) d1 + 1 and stride s1 s2,
unless the second pads with zeros where the first, continued beyond its border, would not be zero.
Such a composition, and factors that differ between the positions of a channel, need a weight for
each pair of neurons: a `Matrix`, which may have at most `MAX_ENTRIES`. Nothing is approximated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spikeport.network.linear_maps import (
    LARGE,
    LINEAR,
    MAX_ENTRIES,
    PADDED,
    UNEVEN,
    Elementwise,
    Kernel,
    LinearMap,
    Matrix,
    as_matrix,
    check_entries,
    grouped,
    mixed,
    uniform,
)


def compose(first: LinearMap, second: LinearMap) -> LinearMap:
    """`second` after `first`, as one map.

    Raises:
        InputError: it needs a matrix of more than `MAX_ENTRIES` entries; says why.
    """
    if isinstance(second, Matrix):
        if not isinstance(first, Elementwise):
            check_entries(len(second.weight), math.prod(first.source), LINEAR)
        reason = second.reason or (first.reason if isinstance(first, Matrix) else "")
        weight = first.back(second.weight.reshape(-1, *first.target)).reshape(
            len(second.weight), -1
        )
        return Matrix(first.source, second.target, weight, reason)
    if isinstance(first, Matrix):
        check_entries(math.prod(second.target), math.prod(first.source), first.reason or LINEAR)
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


def added(one: LinearMap, other: LinearMap) -> LinearMap | None:
    """The sum of two maps of the same source and target; None if one map does not hold it."""
    match one, other:
        case Elementwise(), Elementwise():
            return replace(one, factor=one.factor + other.factor)
        case Matrix(), _:
            return replace(one, weight=one.weight + as_matrix(other).weight)
        case Kernel(), Kernel():
            geometry = [
                (k.stride, k.before, k.dilation, k.positions, k.groups, k.weight.shape)
                for k in (one, other)
            ]
            if geometry[0] == geometry[1]:
                return replace(one, weight=one.weight + other.weight)
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
            return UNEVEN
        weight = first.weight * rows.reshape(-1, *(1,) * (first.weight.ndim - 1))
        return replace(first, weight=weight, target=second.target)
    if isinstance(first, Elementwise):
        columns = uniform(first.factor.reshape(second.source))
        if columns is None:
            return UNEVEN
        ones = (1,) * len(second.positions)
        scaled = grouped(second, second.groups) * columns.reshape(second.groups, 1, -1, *ones)
        return replace(second, weight=scaled.reshape(second.weight.shape), source=first.source)
    if not all(_zero_beyond(first, second, axis) for axis in range(len(second.positions))):
        return PADDED
    axes = [_axis(first, second, axis) for axis in range(len(second.positions))]
    groups = math.gcd(first.groups, second.groups)
    if _weights_of_parts(first, second, groups, math.prod(a.size for a in axes)) > MAX_ENTRIES:
        return LARGE
    inner, outer = grouped(first, groups), grouped(second, groups)
    size = tuple(axis.size for axis in axes)
    made = np.zeros((groups, outer.shape[1], inner.shape[2], *size))
    for tap in np.ndindex(*second.weight.shape[2:]):
        place = tuple(
            slice(k * a.outer, k * a.outer + (n - 1) * a.inner + 1, a.inner)
            for k, a, n in zip(tap, axes, first.weight.shape[2:], strict=True)
        )
        made[:, :, :, *place] += mixed(outer[:, :, :, *tap], inner, 0)
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


def _weights_of_parts(first: Kernel, second: Kernel, groups: int, size: int) -> int:
    """The largest number of weights at any time while two kernels are composed."""
    inner, middle, outer = (
        n // groups for n in (first.source[0], len(first.weight), len(second.weight))
    )
    taps1, taps2 = (math.prod(k.weight.shape[2:]) for k in (first, second))
    return groups * max(middle * inner * taps1, outer * middle * taps2, outer * inner * size)


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


def _sides(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))
