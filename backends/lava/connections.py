"""`lava_kind`: the lava-nc 0.10.0 process of each kind of connection.

Lava's arrays are (W, H, C), the reverse of ours, so every array is transposed completely, and the
columns and rows of a Dense or Sparse are permuted to match. Lava convolves where we correlate, so
kernels are flipped. Its convolutions have two axes; a 1D convolution has a height of 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.backends import UnsupportedFeature
from spikeport.backends.lava.neurons import Beyond
from spikeport.network import (
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Shape,
    Sparse,
    WeightedConnection,
    implementation_of,
    sum_bound,
)

Made = tuple[str, dict[str, Any], dict[str, NDArray[Any]]]
"""Kind of a process, its fields and its arrays."""

CONNECTIONS = "lava-nc 0.10.0, proc/dense/models.py"
SPARSE = "lava-nc 0.10.0, proc/sparse/models.py"
CONV = "lava-nc 0.10.0, proc/conv/models.py"
CONV_FIELD_MAX = 127
"""Lava's Conv stores kernel size, stride, padding, dilation and groups in int8."""
CONV_STOCK_SUM = 2**31
"""Lava's Conv casts its sums from float64 to int32 before wrapping them to 24 bits."""
CONV_EXACT_SUM = 2**53


@dataclass(frozen=True, slots=True)
class LavaKind:
    """A kind of connection in Lava.

    Attributes:
        stock: Lava's process for it.
        source: where that is defined.
        process: the process for a map from one shape to another.
        obstacles: reasons why a connection cannot run at all.
        wide: reasons why the stock process cannot run it, so that our WideConv is used.
    """

    stock: str
    source: str
    process: Callable[[DeployedNetwork, Any, Shape, Shape], Made]
    obstacles: Callable[[DeployedNetwork, Any], list[UnsupportedFeature]] = lambda network, part: []
    wide: Callable[[DeployedNetwork, Any], list[Beyond]] = lambda network, part: []


def _dense(network: DeployedNetwork, part: Dense, shape: Shape, target: Shape) -> Made:
    weights = part.weight[np.ix_(lava_order(target), lava_order(shape))]
    return "Dense", {}, {"weights": weights}


def _sparse(network: DeployedNetwork, part: Sparse, shape: Shape, target: Shape) -> Made:
    rows = np.argsort(lava_order(target))[part.rows]
    columns = np.argsort(lava_order(shape))[part.indices]
    order = np.lexsort((columns, rows))
    arrays: dict[str, NDArray[Any]] = {
        "weights": part.weight[order].astype(np.int32),
        "indices": columns[order],
        "indptr": np.searchsorted(rows[order], np.arange(len(part.indptr))),
    }
    return "Sparse", {"columns": part.columns}, arrays


def _conv2d(network: DeployedNetwork, part: Conv2d, shape: Shape, target: Shape) -> Made:
    fields = {
        "input_shape": shape[::-1],
        "stride": part.stride[::-1],
        "padding": part.padding[::-1],
        "dilation": part.dilation[::-1],
        "groups": part.groups,
    }
    flipped = part.weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
    kind = "WideConv" if _wide_conv(network, part) else "Conv"
    return kind, fields, {"weight": flipped}


def _conv1d(network: DeployedNetwork, part: Conv1d, shape: Shape, target: Shape) -> Made:
    return _conv2d(network, part.as_conv2d(), (shape[0], 1, shape[1]), target)


def _conv_obstacles(network: DeployedNetwork, part: Conv1d | Conv2d) -> list[UnsupportedFeature]:
    found = []
    label = f"connection '{part.name}'"
    fields = {
        "kernel": max(part.weight.shape[2:]),
        "stride": int(np.max(part.stride)),
        "padding": int(np.max(part.padding)),
        "dilation": int(np.max(part.dilation)),
        "groups": part.groups,
    }
    for field, value in fields.items():
        if value > CONV_FIELD_MAX:
            fix = f"lower its {field} to {CONV_FIELD_MAX}, or replace the convolution by several"
            found.append(
                UnsupportedFeature(label, field, value, CONV_FIELD_MAX, fix, CONV, stops=True)
            )
    if (bound := sum_bound(network, part)) >= CONV_EXACT_SUM:
        fix = "use a smaller kernel or pool: Lava adds in float64, exact only up to this limit"
        found.append(
            UnsupportedFeature(
                label, "sum of a step", bound, CONV_EXACT_SUM - 1, fix, CONV, stops=True
            )
        )
    return found


def _wide_conv(network: DeployedNetwork, part: Conv1d | Conv2d) -> list[Beyond]:
    bound = sum_bound(network, part)
    found = [Beyond("weight exponent", part.exponent, 0)] if part.exponent else []
    if bound >= CONV_STOCK_SUM:
        found.append(Beyond("sum of a step", bound, CONV_STOCK_SUM - 1))
    return found


KINDS: Mapping[type[WeightedConnection], LavaKind] = {
    Dense: LavaKind("Dense", CONNECTIONS, _dense),
    Sparse: LavaKind("Sparse", SPARSE, _sparse),
    Conv1d: LavaKind("Conv", CONV, _conv1d, _conv_obstacles, _wide_conv),
    Conv2d: LavaKind("Conv", CONV, _conv2d, _conv_obstacles, _wide_conv),
}


def lava_kind(part: WeightedConnection) -> LavaKind:
    """The Lava process for a connection."""
    return implementation_of(KINDS, part, "in Lava")


def lava_order(shape: Shape) -> NDArray[np.intp]:
    """Our flat index of each neuron in Lava's order."""
    return np.arange(np.prod(shape), dtype=np.intp).reshape(shape).T.ravel()
