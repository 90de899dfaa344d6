"""The layers allowed in a spiking network: valid options, and output shapes."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from spikeport.errors import InputError
from spikeport.network import Shape
from spikeport.network.geometry import IntPair, window_count
from spikeport.trainer.neurons import LI, LIF

Convolution = nn.Conv1d | nn.Conv2d
Map = Convolution | nn.Linear
Norm = nn.BatchNorm1d | nn.BatchNorm2d
Dropout = nn.Dropout | nn.Dropout2d
Op: TypeAlias = Map | Norm | Dropout | nn.AvgPool2d | nn.MaxPool2d | nn.Identity | LIF | LI
"""`nn.Identity` is a sum: like every layer, it adds up its inputs."""


def stateless(op: Op, x: Tensor) -> Tensor:
    """Apply a convolution, linear layer, pool or sum to (B, ...)."""
    return op(x.flatten(1) if isinstance(op, nn.Linear) else x)  # type: ignore[no-any-return]


def over_time(op: Op, x: Tensor) -> Tensor:
    """`stateless` on all steps at once, (K, B, ...)."""
    if isinstance(op, nn.Identity):
        return x
    y = stateless(op, x.flatten(0, 1))
    return y.view(*x.shape[:2], *y.shape[1:])


def with_value(source: Tensor, value: Tensor) -> Tensor:
    """`value`, with the gradient of `source`."""
    out: Tensor = _WithValue.apply(source, value)  # type: ignore[no-untyped-call]
    return out


class _WithValue(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return upstream, None


def map_with_value(op: Map, x: Tensor, value: Tensor) -> Tensor:
    """`value`, with the gradient of `stateless(op, x)`, which is not computed."""
    out: Tensor
    if isinstance(op, nn.Linear):
        out = _LinearWithValue.apply(x.flatten(1), op.weight, op.bias, value)  # type: ignore[no-untyped-call]
    else:
        options = op.stride, op.padding, op.dilation, False, (0,) * len(op.stride), op.groups
        out = _ConvolutionWithValue.apply(x, op.weight, op.bias, value, options)  # type: ignore[no-untyped-call]
    return out


class _LinearWithValue(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, value: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        return (
            upstream @ weight if of_x else None,
            upstream.t() @ x if of_weight else None,
            upstream.sum(0) if of_bias else None,
            None,
        )


class _ConvolutionWithValue(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, value: Tensor, options: Any
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.options = options
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3])
        sizes = [len(weight)] if wanted[2] else None
        found = torch.ops.aten.convolution_backward(
            upstream, x, weight, sizes, *ctx.options, wanted
        )
        return (*found, None, None)


def unsupported(op: object) -> str | None:
    """Why a layer or its options cannot be used in a spiking network; None if they can."""
    match op:
        case nn.Conv1d() | nn.Conv2d():
            if op.padding_mode != "zeros" or isinstance(op.padding, str):
                return f"padding {op.padding!r} ({op.padding_mode}) must be numbers, with zeros"
        case nn.AvgPool2d():
            padded = op.padding not in (0, (0, 0)) and not op.count_include_pad
            if op.ceil_mode or padded or op.divisor_override:
                return (
                    "an average pool must include padding in its counts and use whole windows only"
                )
        case nn.MaxPool2d():
            if op.ceil_mode or op.return_indices:
                return "a max-pool must use whole windows only and return no indices"
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            if not (op.affine and op.track_running_stats):
                return "a batch norm must have gamma, beta and running statistics"
        case nn.Linear() | nn.Dropout() | nn.Dropout2d() | nn.Identity() | LIF() | LI():
            return None
        case nn.AvgPool1d() | nn.MaxPool1d():
            return "pools along one axis are not supported; use a strided convolution"
        case _:
            return f"{type(op).__name__} is not a layer that a spiking network can contain"
    return None


def output_shape(name: str, op: Op, given: Shape) -> Shape:
    """Output shape of a layer for an input of shape `given`, both without time and batch.

    Raises:
        InputError: they do not fit; the message names the layer.
    """
    subject = f"layer '{name}'"
    match op:
        case nn.Linear():
            _meet(subject, "features", op.in_features, math.prod(given))
            return (op.out_features,)
        case nn.Conv1d():
            _axes(subject, given, "(C, L)")
            _meet(subject, "channels", op.in_channels, given[0])
            assert not isinstance(op.padding, str)  # checked by unsupported()
            options = op.kernel_size, op.stride, op.padding, op.dilation
            return (op.out_channels, *_windows(subject, given, *options))
        case nn.Conv2d():
            _axes(subject, given, "(C, H, W)")
            _meet(subject, "channels", op.in_channels, given[0])
            assert not isinstance(op.padding, str)  # checked by unsupported()
            return (
                op.out_channels,
                *_windows(subject, given, op.kernel_size, op.stride, op.padding, op.dilation),
            )
        case nn.AvgPool2d():
            _axes(subject, given, "(C, H, W)")
            sides = _windows(subject, given, op.kernel_size, op.stride, op.padding, 1)
            return (given[0], *sides)
        case nn.MaxPool2d():
            _axes(subject, given, "(C, H, W)")
            sides = _windows(subject, given, op.kernel_size, op.stride, op.padding, op.dilation)
            return (given[0], *sides)
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            if (len(given) == 3) != isinstance(op, nn.BatchNorm2d):
                raise InputError(f"{subject}: {type(op).__name__} received shape {given}")
            _meet(subject, "channels", op.num_features, given[0])
    return given


def pair(value: int | tuple[int, ...]) -> IntPair:
    """PyTorch's one or two sizes as a pair."""
    height, width = _sides(value, 2)
    return (height, width)


def _sides(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(int(side) for side in value)


def _windows(subject: str, given: Shape, *options: int | tuple[int, ...]) -> tuple[int, ...]:
    axes = len(given) - 1
    sides = tuple(map(window_count, given[1:], *(_sides(option, axes) for option in options)))
    if min(sides) < 1:
        raise InputError(f"{subject}: its window does not fit into {given}")
    return sides


def _axes(subject: str, given: Shape, axes: str) -> None:
    if len(given) != 1 + axes.count(","):
        raise InputError(f"{subject}: needs an input {axes}, received {given}")


def _meet(subject: str, what: str, expected: int, found: int) -> None:
    if expected != found:
        raise InputError(f"{subject}: expects {expected} {what}, received {found}")
