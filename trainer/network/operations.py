"""Apply layers without state, and attach the gradient of one computation to another's value."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spikeport.trainer.network.layers import Convolution, Map, Op


def stateless(op: Op, x: Tensor) -> Tensor:
    """Apply a convolution, linear layer, pool or sum to (B, ...)."""
    return op(x.flatten(1) if isinstance(op, nn.Linear) else x)  # type: ignore[no-any-return]


def convolved(op: Convolution, x: Tensor, weight: Tensor) -> Tensor:
    """A convolution with another weight and no bias, (B, C, ...)."""
    return torch.convolution(x, weight, None, *_options(op))


def weight_gradient(op: Convolution, x: Tensor, upstream: Tensor) -> Tensor:
    """Gradient of the weight of a convolution of x, for that of its output; sums over B."""
    weight, wanted = op.weight.detach(), [False, True, False]
    found = torch.ops.aten.convolution_backward(upstream, x, weight, None, *_options(op), wanted)
    gradient: Tensor = found[1]
    return gradient


def _options(op: Convolution) -> tuple[Any, ...]:
    """The options of torch's general convolution, along any number of axes."""
    return op.stride, op.padding, op.dilation, False, (0,) * len(op.stride), op.groups


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
        out = _ConvolutionWithValue.apply(x, op.weight, op.bias, value, _options(op))  # type: ignore[no-untyped-call]
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
