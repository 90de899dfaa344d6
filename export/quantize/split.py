"""Split layers whose neurons differ in what a population has only one of: decays and start.

A population of a chip has one decay of u, one of v, and one initial v. A layer with several becomes
one population for each combination, in order of decay_u, decay_v and start, named `lif_1`, `lif_2`
and so on. Decays are compared as the integers of the chip, in 1/4096, so no more populations are
made than rounding tells apart. Every connection then has its rows of each target and its columns of
each source; blocks of zeros are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import UnsupportedError
from spikeport.export.float_graph import unused
from spikeport.export.quantize.lowered import FloatConnection, FloatPopulation
from spikeport.export.quantize.rounding import round_decays
from spikeport.network import Shape
from spikeport.network.composition import compose
from spikeport.network.linear_maps import (
    MAX_ENTRIES,
    Kernel,
    LinearMap,
    Matrix,
    as_matrix,
    convolution,
    grouped,
    sum_pool,
)
from spikeport.storage.limits import MAX_PARTS

Array = NDArray[np.float64]
_SAME = 1e-9
"""Relative difference of numbers that are one, but went through other arithmetic."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Neurons of a node before they are split: each field but `threshold` has `shape`."""

    name: str
    shape: Shape
    keep_u: Array
    keep_v: Array
    bias: Array
    threshold: float | None
    start: Array
    unit: Array
    zero: Array


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What became of a layer, an input or a population of `shape`.

    Attributes:
        names: of its populations.
        indices: the neurons of each, flattened in C order; None if it was not split.
        channels: the channels of each, None if some channel belongs to several.
    """

    shape: Shape
    names: tuple[str, ...]
    indices: tuple[NDArray[np.int64], ...] | None = None
    channels: tuple[NDArray[np.int64], ...] | None = None


def split_layer(layer: Layer, taken: Iterable[str]) -> tuple[tuple[FloatPopulation, ...], Parts]:
    """The populations of a layer, which has the layer's name if there is one."""
    keys = np.stack(
        [
            round_decays(_merged(layer.keep_u)),
            round_decays(_merged(layer.keep_v)),
            _merged(layer.start),
        ],
        axis=-1,
    ).reshape(-1, 3)
    found, of = np.unique(keys, axis=0, return_inverse=True)
    if len(found) == 1:
        whole = Parts(layer.shape, (layer.name,))
        return (_population(layer, layer.name, layer.shape, None),), whole
    if len(found) > MAX_PARTS:
        raise UnsupportedError(
            f"node '{layer.name}': its neurons have {len(found)} different decays or starts, limit "
            f"{MAX_PARTS} populations; use fewer time constants"
        )
    names: list[str] = []
    for place in range(len(found)):
        names.append(unused(f"{layer.name[:58]}_{place + 1}", taken, names))
    each = np.cumsum(np.bincount(of.reshape(-1)))[:-1]
    indices = tuple(np.split(np.argsort(of.reshape(-1), kind="stable"), each))
    channels = _channels(layer.shape, indices)
    positions = layer.shape[1:] if channels else ()
    parts = Parts(layer.shape, tuple(names), indices, channels)
    return tuple(
        _population(layer, name, (len(index) // math.prod(positions), *positions), index)
        for name, index in zip(names, indices, strict=True)
    ), parts


def split_connections(
    connections: Sequence[FloatConnection], parts: Mapping[str, Parts]
) -> tuple[FloatConnection, ...]:
    """Every connection as its blocks between the parts of its source and of its target.

    Raises:
        InputError: there are more than `MAX_PARTS`, or a convolution needs too large a matrix.
    """
    count = sum(len(parts[c.source].names) * len(parts[c.target].names) for c in connections)
    if count > MAX_PARTS and any(one.indices for one in parts.values()):
        name, most = max(parts.items(), key=lambda item: len(item[1].names))
        raise UnsupportedError(
            f"node '{name}': its neurons have {len(most.names)} different decays or starts; with a "
            f"population for each, the network would have {count} connections, limit {MAX_PARTS}; "
            "use fewer time constants"
        )
    made: list[FloatConnection] = []
    for connection in connections:
        source, target = parts[connection.source], parts[connection.target]
        if source.indices is None and target.indices is None:
            made.append(connection)
            continue
        made += _blocks(connection, source, target)
    return tuple(made)


def _merged(values: Array) -> Array:
    """Values with those that are the same up to noise made equal."""
    size = float(np.abs(values).max(initial=0))
    return np.full_like(values, values.flat[0]) if np.ptp(values) <= _SAME * size else values


def _channels(
    shape: Shape, indices: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], ...] | None:
    """The channels of each part, None if a channel belongs to several."""
    size = math.prod(shape[1:])
    channels = tuple(np.unique(index // size) for index in indices)
    return channels if sum(map(len, channels)) == shape[0] else None


def _population(
    layer: Layer, name: str, shape: Shape, index: NDArray[np.int64] | None
) -> FloatPopulation:
    def own(values: Array) -> Array:
        return values if index is None else values.reshape(-1)[index].reshape(shape)

    def one(values: Array) -> Array | float:
        same = np.ptp(values) <= _SAME * np.abs(values).max()
        return float(values.flat[0]) if same else values

    return FloatPopulation(
        name=name,
        shape=shape,
        keep_u=one(own(layer.keep_u)),
        keep_v=one(own(layer.keep_v)),
        bias=own(layer.bias),
        threshold=layer.threshold,
        start=float(own(layer.start).flat[0]),
        unit=own(layer.unit),
        zero=own(layer.zero),
        node=layer.name,
        index=index,
    )


def _blocks(connection: FloatConnection, columns: Parts, rows: Parts) -> Iterator[FloatConnection]:
    """The blocks that are not zero, from the parts of the source to those of the target."""
    spatial = all(part.indices is None or part.channels for part in (columns, rows))
    convolves = connection.weight.ndim > 2
    ends = f"{connection.source}_to_{connection.target}"  # in the name if it has no map
    if convolves and spatial:
        whole = _kernel(connection, columns.shape)
    elif convolves or (connection.pool is not None and not spatial):
        connection = _as_dense(connection, columns.shape)
    for row, into in enumerate(rows.names):
        for column, out in enumerate(columns.names):
            groups = connection.groups
            if convolves and spatial:
                weight, groups = _sub_kernel(
                    whole,
                    None if rows.channels is None else rows.channels[row],
                    None if columns.channels is None else columns.channels[column],
                )
            else:
                weight = connection.weight
                if rows.indices is not None:
                    weight = weight[rows.indices[row]]
                if columns.indices is not None:
                    weight = weight[:, _columns(connection, columns, column)]
            if weight.any():
                name = connection.name.replace(ends, f"{out}_to_{into}", 1)
                yield replace(
                    connection, name=name, source=out, target=into, weight=weight, groups=groups
                )


def _columns(connection: FloatConnection, of: Parts, place: int) -> NDArray[np.int64]:
    """The columns of a matrix for one part of its source, after a pool if there is one."""
    assert of.indices is not None  # of a source that was split
    if connection.pool is None:
        return of.indices[place]
    assert of.channels is not None  # see _blocks
    size = math.prod(connection.pool.output_shape(of.shape)[1:])
    return (of.channels[place][:, None] * size + np.arange(size)).reshape(-1)


def _kernel(connection: FloatConnection, source: Shape) -> Kernel:
    """A convolution as a map, from the shape that its weights are applied to."""
    if connection.pool is not None:
        source = connection.pool.output_shape(source)
    axes = connection.weight.ndim - 2
    stride, padding, dilation = (
        side[-axes:] for side in (connection.stride, connection.padding, connection.dilation)
    )
    both = [(n, n) for n in padding]
    return convolution(source, connection.weight, stride, both, dilation, connection.groups)


def _sub_kernel(
    whole: Kernel, rows: NDArray[np.int64] | None, columns: NDArray[np.int64] | None
) -> tuple[Array, int]:
    """The weights and groups of a convolution between some channels.

    The groups are kept if as many of the channels are in each group, or none.
    """
    rows = np.arange(len(whole.weight)) if rows is None else rows
    columns = np.arange(whole.source[0]) if columns is None else columns
    outs, ins = len(whole.weight) // whole.groups, whole.source[0] // whole.groups
    per_group = np.stack(
        [
            np.bincount(rows // outs, minlength=whole.groups),
            np.bincount(columns // ins, minlength=whole.groups),
        ]
    )
    used = per_group[:, per_group.any(axis=0)]
    if (used == used[:, :1]).all() and used.all():
        kept = np.stack([columns[columns // ins == row // outs] % ins for row in rows])
        return np.take_along_axis(
            whole.weight[rows], kept.reshape(*kept.shape, *(1,) * (whole.weight.ndim - 2)), axis=1
        ), used.shape[1]
    full = grouped(whole, 1)[0]
    return full[rows][:, columns], 1


def _as_dense(connection: FloatConnection, source: Shape) -> FloatConnection:
    """The same connection, pool included, as a matrix.

    Raises:
        InputError: it would have more than `MAX_ENTRIES`.
    """
    pool = connection.pool
    made: Kernel | Matrix
    if connection.weight.ndim > 2:
        made = _kernel(connection, source)
    else:
        assert pool is not None  # else it is one already
        rows = (len(connection.weight),)
        made = Matrix(pool.output_shape(source), rows, connection.weight)
    shape = math.prod(made.target), math.prod(source)
    if math.prod(shape) > MAX_ENTRIES:
        raise UnsupportedError(
            f"connection '{connection.name}': decays or starts differ between the positions of a "
            f"channel, which makes it a matrix of {shape[0]} x {shape[1]} weights, limit "
            f"{MAX_ENTRIES}; use one for each channel"
        )
    whole: LinearMap = made
    if pool is not None:
        front = sum_pool(source, pool.kernel_size, pool.stride, pool.padding)
        whole = compose(front, made)
    return replace(
        connection,
        weight=as_matrix(whole).weight,
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
        groups=1,
        pool=None,
    )
