"""Batch norm over a spike sequence, and its rule in the rate pass.

y = gamma h + beta, h = (x - mean) / sqrt(variance + eps), with the mean and biased variance per
channel over all steps, samples and positions. Parameters and running statistics live in PyTorch's
own `BatchNorm1d` and `BatchNorm2d`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeport.trainer.ranks import count_over_ranks, mean_over_ranks, share

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


@dataclass(frozen=True, slots=True)
class Statistics:
    """Per channel, shape (C,): mean and biased variance."""

    mean: Tensor
    variance: Tensor


def sequence_statistics(x: Tensor) -> Statistics:
    """Statistics of x (T, B, C, ...); (1, B, C, ...) of a constant input has the same ones."""
    dims = [axis for axis in range(x.ndim) if axis != 2]
    wide = x.float() if x.dtype is torch.bfloat16 else x
    variance, mean = torch.var_mean(wide, dims, correction=0)
    if share()[1] == 1:
        return Statistics(mean, variance)
    both = torch.stack([mean, variance + mean**2])
    mean, square = mean_over_ranks(both, x.numel() // x.shape[2])
    return Statistics(mean, square - mean**2)


def running_statistics(norm: BatchNorm) -> Statistics:
    """The statistics that inference uses."""
    assert norm.running_mean is not None  # SpikingNetwork admits no other norms
    assert norm.running_var is not None
    return Statistics(norm.running_mean, norm.running_var)


def update_running(norm: BatchNorm, statistics: Statistics, count: int) -> None:
    """Move the running statistics towards those of `count` values per channel.

    The running variance is the unbiased one, as in PyTorch.
    """
    running = running_statistics(norm)
    count = count_over_ranks(count, statistics.mean.device)
    momentum = norm.momentum if norm.momentum is not None else 0.1
    variance = statistics.variance * (count / max(count - 1, 1))
    running.mean.lerp_(statistics.mean.to(running.mean), momentum)
    running.variance.lerp_(variance.to(running.variance), momentum)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked += 1


def normalize(norm: BatchNorm, x: Tensor, statistics: Statistics) -> Tensor:
    """y of x (T, B, C, ...) with fixed statistics."""
    y = functional.batch_norm(
        x.flatten(0, 1),
        statistics.mean,
        statistics.variance,
        norm.weight,
        norm.bias,
        training=False,
        eps=norm.eps,
    )
    return y.view(x.shape)


def rate_norm(norm: BatchNorm, c: Tensor, statistics: Statistics) -> Tensor:
    """Batch norm of mean inputs c (B, C, ...) with the statistics of the spike sequence.

    Backward is ordinary batch norm's with that variance in place of c's own; G upstream,
    means over samples and positions:

        dbeta = sum G        dgamma = sum G h
        dc = gamma / sqrt(variance + eps) (G - mean G - (h - mean h) mean(G h))
    """
    y: Tensor = _RateNorm.apply(  # type: ignore[no-untyped-call]
        c, norm.weight, norm.bias, statistics.mean, statistics.variance, norm.eps
    )
    return y


class _RateNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        c: Tensor,
        gamma: Tensor,
        beta: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
    ) -> Tensor:
        shape = (1, -1, *[1] * (c.ndim - 2))
        deviation = torch.sqrt(variance + eps).view(shape)
        h = (c - mean.view(shape)) / deviation
        ctx.save_for_backward(h, gamma.view(shape) / deviation)
        return gamma.view(shape) * h + beta.view(shape)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        h, factor = ctx.saved_tensors
        dims = [axis for axis in range(h.ndim) if axis != 1]
        product = upstream * h
        means = torch.stack([x.mean(dims, keepdim=True) for x in (upstream, product, h)])
        of_upstream, of_product, of_h = mean_over_ranks(means, h.numel() // h.shape[1])
        dc = factor * (upstream - of_upstream - (h - of_h) * of_product)
        return dc, product.sum(dims), upstream.sum(dims), None, None, None
