"""Apply layers without state, and attach the gradient of one computation to another's value."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeport.trainer.network.layers import Convolution, Map, Op, zeros
from spikeport.trainer.network.spike_sums import sum_spikes


def stateless(op: Op, x: Tensor) -> Tensor:
    """Apply a convolution, linear layer, pool or sum to (B, ...)."""
    if isinstance(op, nn.Conv2d) and (value := sum_spikes(op, x)) is not None:
        return map_with_value(op, x, value)
    if isinstance(op, nn.Conv1d | nn.Conv2d) and (isinstance(op.padding, str) or _thinned(op, x)):
        # torch would warn about uneven padding, which is as exact as any other
        return convolved(op, x, op.weight, op.bias)
    return op(x.flatten(1) if isinstance(op, nn.Linear) else x)  # type: ignore[no-any-return]


def convolved(op: Convolution, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution with another weight and bias, (B, C, ...)."""
    x, options = _general(op, x)
    return torch.convolution(x, weight, bias, *options)


def weight_gradient(op: Convolution, x: Tensor, upstream: Tensor) -> Tensor:
    """Gradient of the weight of a convolution of x, for that of its output; sums over B."""
    x, options = _general(op, x)
    weight, wanted = op.weight.detach(), [False, True, False]
    found = torch.ops.aten.convolution_backward(upstream, x, weight, None, *options, wanted)
    gradient: Tensor = found[1]
    return gradient


def _general(op: Convolution, x: Tensor) -> tuple[Tensor, tuple[Any, ...]]:
    """Input and options of torch's general convolution, along any number of axes.

    It adds as many zeros before as after each axis; others are added here.
    """
    sides = zeros(op)
    padding = tuple(before for before, _ in sides)
    if any(before != after for before, after in sides):
        x = functional.pad(x, [n for side in reversed(sides) for n in side])
        padding = (0,) * len(sides)
    if _thinned(op, x):
        rows, columns = op.stride
        return x[:, :, ::rows, ::columns], ((1, 1), padding, op.dilation, False, (0, 0), op.groups)
    return x, (op.stride, padding, op.dilation, False, (0,) * len(sides), op.groups)


def _thinned(op: Convolution, x: Tensor) -> bool:
    """Whether to take every n-th position before a convolution of single positions, not in it.

    The gradient of such a convolution with strides writes beyond its memory on the CPU, for images
    with their channels innermost and fewer channels than a vector register holds (torch 2.13).
    """
    return (
        x.device.type == "cpu"
        and x.ndim == 4
        and op.kernel_size == (1, 1)
        and op.stride != (1, 1)
        and not any(map(any, zeros(op)))
        and not x.is_contiguous()
    )


def over_time(op: Op, x: Tensor) -> Tensor:
    """`stateless` on all steps at once, (K, B, ...)."""
    if isinstance(op, nn.Identity):
        return x
    y = stateless(op, x.flatten(0, 1))
    return y.view(*x.shape[:2], *y.shape[1:])


def mean_over_steps(x: Tensor) -> Tensor:
    """Mean of (K, B, ...) over K, float32 or wider.

    On the CPU, steps are added one after the other: torch's sum over the outermost axis of images
    with their channels innermost takes several times as long.
    """
    kind = torch.promote_types(x.dtype, torch.float32)
    if x.device.type != "cpu":
        return x.mean(0, dtype=kind)
    first, *others = x.unbind(0)
    total = first.to(kind)
    for k, step in enumerate(others):
        total = total.add_(step) if k else total + step
    return total.div_(len(x)) if others else total


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
        x, options = _general(op, x)
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
