"""Layers as linear maps of NumPy arrays, and back."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeport.network import Shape
from spikeport.network.linear_maps import (
    Elementwise,
    Kernel,
    LinearMap,
    Matrix,
    convolution,
    diagonal,
    flattened,
    regrouped,
    sum_pool,
    symmetric,
    uniform,
)
from spikeport.trainer.network.layers import Channels, Map, Op, sides, zeros

Array = NDArray[np.float64]
MAX_GROUPS = 64
"""Lava allows at most 127 groups; with more channels, one-to-one kernels are diagonal per group."""


def linear_map(op: Op, shape: Shape) -> tuple[LinearMap, Array]:
    """A linear layer for inputs of `shape` in inference, and its bias, both in float64.

    The bias has the shape of the output.
    """
    every = Elementwise(shape, shape, np.ones(shape))
    match op:
        case nn.Flatten():
            made: LinearMap = flattened(every, (math.prod(shape),))
            return made, np.zeros(made.target)
        case Channels():
            chosen = np.eye(shape[0])[op.chosen]
            one = chosen.reshape(*chosen.shape, *(1,) * (len(shape) - 1))
            made = _kernel(shape, one) if len(shape) > 1 else Matrix(shape, (len(one),), one)
            return made, np.zeros(made.target)
        case nn.AvgPool1d() | nn.AvgPool2d():
            size, stride, padding = (
                sides(side, len(shape) - 1) for side in (op.kernel_size, op.stride, op.padding)
            )
            pool = sum_pool(shape, size, stride, padding)
            divisor = getattr(op, "divisor_override", None) or math.prod(size)
            made = replace(pool, weight=pool.weight / divisor)
            return made, np.zeros(made.target)
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            assert op.running_mean is not None  # SpikingNetwork accepts no other norms
            assert op.running_var is not None
            factor = array(op.weight) / np.sqrt(array(op.running_var) + op.eps)
            offset = array(op.bias) - array(op.running_mean) * factor
            each, shift = (_over(values, shape) for values in (factor, offset))
            return Elementwise(shape, shape, each), shift
        case nn.Linear():
            made = Matrix(shape, (op.out_features,), array(op.weight))
        case nn.Conv1d() | nn.Conv2d():
            made = convolution(
                shape, array(op.weight), op.stride, zeros(op), op.dilation, op.groups
            )
        case _:
            raise AssertionError(f"{type(op).__name__} is not linear")
    bias = np.zeros(made.target[:1]) if op.bias is None else array(op.bias)
    return made, _over(bias, made.target)


def layer(made: LinearMap, bias: Array | None, like: Tensor) -> Map:
    """The layer of torch that computes `made`, with a bias for each row of its weights.

    Its parameters have the type and device of `like` and are not trained.
    """
    op: Map
    if isinstance(made, Matrix):
        rows, columns = made.weight.shape
        op = nn.Linear(columns, rows, bias is not None, device="meta")
    else:
        assert isinstance(made, Kernel)  # see `connection`
        kind: Any = nn.Conv1d if len(made.positions) == 1 else nn.Conv2d
        op = kind(
            made.source[0],
            len(made.weight),
            made.weight.shape[2:],
            made.stride,
            made.before,
            made.dilation,
            made.groups,
            bias is not None,
            device="meta",
        )
    op.weight = _parameter(made.weight, like)
    if bias is not None:
        op.bias = _parameter(bias, like)
    return op


def connection(made: LinearMap) -> Kernel | Matrix:
    """The same map as a convolution with even padding, or a matrix."""
    match made:
        case Matrix():
            return made
        case Kernel():
            return symmetric(made)
    rows = uniform(made.factor) if len(made.source) > 1 else None
    if rows is None or made.target != made.source:
        return diagonal(made)
    weight = rows.reshape(-1, *(1,) * len(made.source))
    return regrouped(_kernel(made.source, weight, len(rows)), MAX_GROUPS)


def window_sums(op: nn.MaxPool2d, shape: Shape) -> Kernel:
    """The number of ones in each window of a max-pool."""
    size, stride, padding, dilation = (
        sides(side, 2) for side in (op.kernel_size, op.stride, op.padding, op.dilation)
    )
    ones = np.ones((shape[0], 1, *size))
    both = [(n, n) for n in padding]
    return regrouped(convolution(shape, ones, stride, both, dilation, shape[0]), MAX_GROUPS)


def array(tensor: Tensor) -> Array:
    """A copy in float64."""
    return tensor.detach().cpu().numpy().astype(np.float64)


def _kernel(shape: Shape, weight: Array, groups: int = 1) -> Kernel:
    axes = len(shape) - 1
    return convolution(shape, weight, (1,) * axes, ((0, 0),) * axes, (1,) * axes, groups)


def _over(values: Array, shape: Shape) -> Array:
    """Values for each channel as one for each neuron."""
    return np.broadcast_to(values.reshape(-1, *(1,) * (len(shape) - 1)), shape)


def _parameter(values: Array, like: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values).to(like), requires_grad=False)
