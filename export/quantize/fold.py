"""Fold a path through a NIR graph, from neurons to neurons, into one linear map and a bias."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.nir.shapes import conv_padding, conv_sides
from spikeport.network import Shape, SumPool2d
from spikeport.network.geometry import IntPair, window_count

Array = NDArray[np.float64]
Complain = Callable[[str], None]
MAPS = (nir.Affine, nir.Linear, nir.Conv1d, nir.Conv2d)


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """y = W pool(x) + bias, with the pool's mean, every `Scale` and the target's gain in W.

    Attributes:
        weight, stride, padding, dilation: as those of a `FloatConnection`.
        shape: of y.
        direct: no map on the path; `weight` is then an identity times factors.
    """

    weight: Array
    bias: Array
    shape: Shape
    direct: bool
    stride: IntPair = (1, 1)
    padding: IntPair = (0, 0)
    dilation: IntPair = (1, 1)
    groups: int = 1
    pool: SumPool2d | None = None


class _UnfoldableError(Exception):
    """The path cannot be expressed as one linear map."""


def fold(
    path: tuple[tuple[str, Any], ...], source: Shape, gain: Array | None, complain: Complain
) -> Folded | None:
    """Fold the named nodes of `path`, in order from a source of shape `source`.

    Args:
        gain: factor per target neuron, or None for an Output.
        complain: called with the reason if there is no such map; the result is then None.
    """
    try:
        return _fold(path, source, gain)
    except (_UnfoldableError, InputError) as reason:
        complain(str(reason))
        return None


def _fold(path: tuple[tuple[str, Any], ...], source: Shape, gain: Array | None) -> Folded:
    shape, factor, bias = source, np.ones(source), np.zeros(source)
    pool: SumPool2d | None = None
    folded: Folded | None = None
    for name, node in path:
        match node:
            case nir.Scale():
                values = np.asarray(node.scale, np.float64)
                factor, bias = factor * values, bias * values
            case nir.Flatten():
                if folded is not None and len(shape) > 1:
                    raise _UnfoldableError(
                        f"node '{name}': Flatten between a convolution and its neurons; "
                        "flatten after the neurons instead"
                    )
                shape = (int(np.prod(shape)),)
                factor, bias = factor.reshape(shape), bias.reshape(shape)
            case nir.SumPool2d() | nir.AvgPool2d():
                if folded is not None or pool is not None:
                    raise _UnfoldableError(
                        f"node '{name}': a pool must be the only node before its map, "
                        "directly after neurons or an input"
                    )
                pool, factor = _pool(name, node, shape, factor)
                shape = factor.shape
                bias = np.zeros(shape)
            case _ if isinstance(node, MAPS):
                if folded is not None:
                    raise _UnfoldableError(
                        f"node '{name}': a second linear map without neurons in between"
                    )
                folded = _map(name, node, shape, factor, pool)
                shape, bias, factor = folded.shape, folded.bias, np.ones(folded.shape)
            case nir.Delay():
                pass
            case _:
                raise _UnfoldableError(
                    f"node '{name}': {type(node).__name__} has no counterpart on the chip"
                )
    name = path[-1][0] if path else "direct edge"
    if gain is not None:
        factor, bias = factor * gain, bias * gain
    if folded is None:
        return _identity(factor, shape, pool)
    return Folded(
        weight=folded.weight * _rows(name, folded.weight, factor),
        bias=bias,
        shape=shape,
        direct=False,
        stride=folded.stride,
        padding=folded.padding,
        dilation=folded.dilation,
        groups=folded.groups,
        pool=pool,
    )


def _map(name: str, node: Any, shape: Shape, factor: Array, pool: SumPool2d | None) -> Folded:
    weight = np.asarray(node.weight, np.float64)
    offset = np.asarray(getattr(node, "bias", 0.0), np.float64)
    if not isinstance(node, nir.Conv1d | nir.Conv2d):
        if weight.ndim != 2 or weight.shape[1] != int(np.prod(shape)):
            raise _UnfoldableError(
                f"node '{name}': weight has shape {weight.shape}, its input is {shape}"
            )
        made: Shape = (weight.shape[0],)
        bias = np.broadcast_to(offset, made)
        return Folded(weight * factor.reshape(1, -1), bias, made, direct=False, pool=pool)
    groups = int(node.groups)
    if weight.ndim != 1 + len(shape) or weight.shape[1] * groups != shape[0]:
        raise _UnfoldableError(
            f"node '{name}': weight has shape {weight.shape} with groups {groups}, "
            f"its input is {shape}"
        )
    axes = (1,) * (len(shape) - 1)
    per_channel = _channels(name, factor).reshape(groups, 1, weight.shape[1], *axes)
    grouped = weight.reshape(groups, -1, *weight.shape[1:]) * per_channel
    stride, dilation = conv_sides(node, "stride"), conv_sides(node, "dilation")
    padding = _padding(name, node)
    sides = zip(shape[1:], weight.shape[2:], stride, padding, dilation, strict=True)
    made = (weight.shape[0], *(window_count(*side) for side in sides))
    return Folded(
        weight=grouped.reshape(weight.shape),
        bias=np.broadcast_to(offset.reshape(-1, *axes), made),
        shape=made,
        direct=False,
        stride=_rows_and_columns(1, *stride),
        padding=_rows_and_columns(0, *padding),
        dilation=_rows_and_columns(1, *dilation),
        groups=groups,
        pool=pool,
    )


def _identity(factor: Array, shape: Shape, pool: SumPool2d | None) -> Folded:
    """One synapse per neuron: a depthwise convolution of size 1, or a diagonal matrix."""
    bias = np.zeros(shape)
    if len(shape) > 1:
        weight = _channels("direct edge", factor).reshape(-1, *(1,) * len(shape))
        return Folded(weight, bias, shape, direct=True, groups=shape[0], pool=pool)
    return Folded(np.diag(factor), bias, shape, direct=True, pool=pool)


def _pool(name: str, node: Any, shape: Shape, factor: Array) -> tuple[SumPool2d, Array]:
    if len(shape) != 3:
        raise _UnfoldableError(f"node '{name}': a pool needs an input (C, H, W), got {shape}")
    try:
        pool = SumPool2d(_pair(node.kernel_size), _pair(node.stride), _pair(node.padding))
    except InputError as error:
        raise _UnfoldableError(f"node '{name}': {error}") from error
    area = int(np.prod(pool.kernel_size)) if isinstance(node, nir.AvgPool2d) else 1
    per_channel = _channels(name, factor) / area
    made = pool.output_shape(shape)
    return pool, np.broadcast_to(per_channel[:, None, None], made)


def _rows(name: str, weight: Array, factor: Array) -> Array:
    """Convert a factor per output to a factor per row of `weight`."""
    if weight.ndim == 2:
        return factor.reshape(-1, 1)
    return _channels(name, factor).reshape(-1, *(1,) * factor.ndim)


def _channels(name: str, factor: Array) -> Array:
    """Factors (C, L) or (C, H, W) as one per channel, shape (C,)."""
    flat = factor.reshape(len(factor), -1)
    if not np.allclose(flat, flat[:, :1], rtol=1e-9, atol=0):
        raise _UnfoldableError(
            f"node '{name}': factors differ within a channel, but its kernel is shared"
        )
    return flat[:, 0].copy()


def _pair(value: Any) -> IntPair:
    first, second = np.broadcast_to(np.asarray(value), (2,))
    return int(first), int(second)


def _padding(name: str, node: Any) -> tuple[int, ...]:
    """Padding with equal zeros on both sides, as in the chip's convolution."""
    sides = conv_padding(node)
    if any(before != after for before, after in sides):
        raise _UnfoldableError(f"node '{name}': padding 'same' needs kernels of odd size")
    return tuple(before for before, _ in sides)


def _rows_and_columns(first: int, *sides: int) -> IntPair:
    """A number for each of two axes; with one axis, `first` is used for the rows."""
    rows, columns = (first, *sides)[-2:]
    return rows, columns
