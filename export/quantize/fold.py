"""Fold a path through a NIR graph, from neurons to neurons, into one linear map and its biases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError, UnsupportedError
from spikeport.export.nir.shapes import conv_padding, conv_sides, output_shape
from spikeport.network import Shape, SumPool2d
from spikeport.network.composition import became, compose, composed_kernel
from spikeport.network.geometry import IntPair
from spikeport.network.linear_maps import (
    FLATTENED,
    Elementwise,
    Kernel,
    LinearMap,
    Matrix,
    as_matrix,
    convolution,
    diagonal,
    features,
    flattened,
    sum_pool,
    symmetric,
    uniform,
)

Array = NDArray[np.float64]
Complain = Callable[[str], None]
MAPS = (nir.Affine, nir.Linear, nir.Conv1d, nir.Conv2d)


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """y = map(pool(x)) + biases, with the means of pools, every `Scale` and the gain in the map.

    Attributes:
        biases: what the bias of each map on the path adds to y, by the place of that map.
        rewrites: a sentence for each group of nodes that became one.
    """

    map: LinearMap
    biases: dict[int, Array]
    rewrites: tuple[str, ...]
    pool: SumPool2d | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A linear map with the weights and the geometry of a `FloatConnection`."""

    weight: Array
    stride: IntPair = (1, 1)
    padding: IntPair = (0, 0)
    dilation: IntPair = (1, 1)
    groups: int = 1


def weights(made: LinearMap, shape: Shape) -> Weights:
    """The weights of a map into neurons of `shape`.

    Factors one to one are a depthwise convolution of size 1, or a diagonal matrix.

    Raises:
        InputError: the map is not in the form of these neurons, and its matrix would be too large.
    """
    if isinstance(made, Kernel) and made.unflattened == shape:
        kernel = symmetric(made)
        return Weights(
            kernel.weight,
            _rows_and_columns(1, *kernel.stride),
            _rows_and_columns(0, *kernel.before),
            _rows_and_columns(1, *kernel.dilation),
            kernel.groups,
        )
    if isinstance(made, Elementwise) and features(made) == shape:
        per_channel = uniform(made.factor)
        if per_channel is not None:
            weight = per_channel.reshape(-1, *(1,) * len(shape))
            return Weights(weight, groups=len(per_channel))
    if isinstance(made, Elementwise):
        return Weights(diagonal(made).weight)
    return Weights(as_matrix(made, FLATTENED).weight)


def fold(
    path: tuple[tuple[str, Any], ...],
    source: Shape,
    gain: Array | None,
    complain: Complain,
    *,
    pools: bool = True,
) -> Folded | None:
    """Fold the named nodes of `path`, in order from a source of shape `source`.

    Args:
        gain: factor per target neuron, or None for an Output.
        pools: whether pools in front of all maps may stay pools; otherwise they become part of the
            map, such as a strided convolution with repeated weights.
        complain: called with the reason if there is no such map; the result is then None.
    """
    build = _Fold(source, pools)
    name = "direct edge"
    try:
        for place, (name, node) in enumerate(path):
            build.add(place, name, node)
        return build.done(gain)
    except InputError as reason:
        complain(f"node '{name}': {reason}")
        return None


class _Fold:
    """The nodes of a path so far, as a pool and one map."""

    def __init__(self, source: Shape, pools: bool) -> None:
        self._may_pool = pools
        self._front: Kernel | None = None
        self._pools: list[str] = []
        self._map: LinearMap = Elementwise(source, source, np.ones(source))
        self._biases: dict[int, Array] = {}
        self._merged: list[str] = []
        self._weight = np.empty(0)

    def add(self, place: int, name: str, node: Any) -> None:
        """Append a node.

        Raises:
            InputError: it is not linear, its weights do not fit, or the map becomes too large.
        """
        shape = self._map.target
        match node:
            case nir.Delay():
                pass
            case nir.Flatten():
                flat = output_shape(name, node, shape)
                self._map = flattened(self._map, flat)
                self._biases = {at: bias.reshape(flat) for at, bias in self._biases.items()}
            case nir.Scale():
                self._append(name, Elementwise(shape, shape, np.asarray(node.scale, np.float64)))
            case nir.SumPool2d() | nir.AvgPool2d():
                self._append_pool(name, node)
            case _ if isinstance(node, MAPS):
                step = _map(node, shape)
                self._append(name, step)
                self._weight = step.weight
                bias = np.asarray(getattr(node, "bias", 0.0), np.float64)
                axes = (1,) * (len(self._map.target) - 1)
                self._biases[place] = np.broadcast_to(bias.reshape(-1, *axes), self._map.target)
            case _:
                raise UnsupportedError(f"{type(node).__name__} has no counterpart on the chip")

    def done(self, gain: Array | None) -> Folded:
        """The result, for neurons of this gain.

        Raises:
            InputError: the map becomes too large.
        """
        if gain is not None:
            self._map = compose(self._map, Elementwise(gain.shape, gain.shape, gain))
            self._biases = {at: bias * gain for at, bias in self._biases.items()}
        pool = None if self._front is None else _as_sum_pool(self._front)
        return Folded(self._map, self._biases, tuple(self._sentences()), pool)

    def _append(self, name: str, step: LinearMap) -> None:
        self._map = compose(self._map, step)
        self._biases = {at: step.apply(bias) for at, bias in self._biases.items()}
        self._merged.append(name)

    def _append_pool(self, name: str, node: Any) -> None:
        """Append a pool: pools in front of all maps may be one sum-pool, if they do not overlap."""
        shape = self._map.target
        size, stride, padding = (
            tuple(int(n) for n in side) for side in (node.kernel_size, node.stride, node.padding)
        )
        step = sum_pool(shape, size, stride, padding)
        mean = 1 / step.weight[0].size if isinstance(node, nir.AvgPool2d) else 1.0
        factors = uniform(self._map.factor) if isinstance(self._map, Elementwise) else None
        if self._may_pool and factors is not None and not self._biases:
            whole = step if self._front is None else composed_kernel(self._front, step)
            if whole is not None and _as_sum_pool(whole) is not None:
                self._front = whole
                self._pools.append(name)
                each = np.broadcast_to(mean * factors[:, None, None], step.target)
                self._map = Elementwise(step.target, step.target, each)
                return
        self._append(name, replace(step, weight=mean * step.weight))

    def _sentences(self) -> Iterator[str]:
        """What became of the nodes, where they are no longer what they were."""
        if len(self._pools) > 1:
            assert self._front is not None  # of the pools
            yield became(self._pools, self._front, "sum-pool")
        made = symmetric(self._map) if isinstance(self._map, Kernel) else self._map
        changed = isinstance(made, Kernel) and made.weight.shape != self._weight.shape
        if len(self._merged) > 1 or changed or (isinstance(made, Matrix) and made.reason):
            yield became(self._merged, made)


def _as_sum_pool(made: Kernel) -> SumPool2d | None:
    """The pool that sums the same windows; None if they overlap or have gaps."""
    if not (made.weight == 1).all() or max(made.dilation) > 1:
        return None
    sides = made.weight.shape[2:], made.stride, made.before
    try:
        pool = SumPool2d(*((int(rows), int(columns)) for rows, columns in sides))
    except InputError:
        return None
    return pool if pool.output_shape(made.source) == made.unflattened else None


def _map(node: Any, shape: Shape) -> Kernel | Matrix:
    weight = np.asarray(node.weight, np.float64)
    if not isinstance(node, nir.Conv1d | nir.Conv2d):
        if weight.ndim != 2 or weight.shape[1] != int(np.prod(shape)):
            raise UnsupportedError(f"weight has shape {weight.shape}, its input is {shape}")
        return Matrix(shape, (len(weight),), weight)
    groups = int(node.groups)
    if weight.ndim != 1 + len(shape) or weight.shape[1] * groups != shape[0]:
        raise UnsupportedError(
            f"weight has shape {weight.shape} with groups {groups}, its input is {shape}"
        )
    stride, dilation = conv_sides(node, "stride"), conv_sides(node, "dilation")
    return convolution(shape, weight, stride, conv_padding(node), dilation, groups)


def _rows_and_columns(first: int, *sides: int) -> IntPair:
    """A number for each of two axes; with one axis, `first` is used for the rows."""
    rows, columns = (first, *sides)[-2:]
    return rows, columns
