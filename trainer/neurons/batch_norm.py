"""Batch norm over a spike sequence, and its rule in the rate pass.

y = gamma h + beta, h = k (x - mean), k = 1 / sqrt(variance + eps), per channel. In multi-step mode,
mean and biased variance are taken over all steps, samples and positions; in single-step mode each
step has its own, and the rate pass uses the means over time of `mean` and of k. Parameters and
running statistics are those of PyTorch's `BatchNorm1d` and `BatchNorm2d`. With torch.distributed,
all statistics are taken over all processes together, however many samples each of them has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeport.errors import TrainingError
from spikeport.trainer.ranks import count_over_ranks, mean_over_ranks, share
from spikeport.trainer.rules import GradientRule

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


@dataclass(frozen=True, slots=True)
class Statistics:
    """Per channel, shape (C,): mean, and k = 1 / sqrt(variance + eps)."""

    mean: Tensor
    scale: Tensor


class SequenceNorm:
    """A batch norm during a sample of `steps` steps.

    With a single-step rule, each step has its own statistics. For the rate pass of
    RATE_S_PUBLISHED, the mean and 1 / sqrt(variance + 2 eps) of the last step are kept.
    """

    def __init__(self, norm: BatchNorm, steps: int, rule: GradientRule) -> None:
        self.norm = norm
        self._rule = rule
        self._updates = steps if rule.single_step else 1
        self._sums: Statistics | None = None

    def __call__(self, x: Tensor, steps: int) -> Tensor:
        """y of x, (K, B, C, ...) or (1, B, C, ...) if constant, which covers `steps` steps."""
        y, now = normalize_batch(self.norm, x)
        repeats = steps if self._rule.single_step else 1
        count = count_over_ranks(steps * x[0].numel() // x.shape[2] // repeats, x.device)
        for _ in range(repeats):
            update_running(self.norm, now, count)
        if self._rule is GradientRule.RATE_S_PUBLISHED:
            again = torch.rsqrt(now.scale**-2 + self.norm.eps)
            self._sums = Statistics(now.mean * self._updates, again * self._updates)
        elif self._sums is None:
            self._sums = Statistics(now.mean * repeats, now.scale * repeats)
        else:
            mean, scale = self._sums.mean + now.mean, self._sums.scale + now.scale
            self._sums = Statistics(mean, scale)
        return y

    def recorded(self) -> Statistics:
        """The statistics used by the rate pass."""
        assert self._sums is not None  # __call__ comes first
        return Statistics(self._sums.mean / self._updates, self._sums.scale / self._updates)


def normalize_batch(norm: BatchNorm, x: Tensor) -> tuple[Tensor, Statistics]:
    """y of x (K, B, C, ...) with its own statistics, differentiable; running statistics unchanged.

    Raises:
        InputError: there is only one value per channel, which would be normalised to 0.
    """
    rows = x.flatten(0, 1)
    if rows.numel() == rows.shape[1] and share()[1] == 1:
        raise TrainingError(
            f"batch norm of {rows.shape[1]} channels: one value per channel in training, needs "
            "several; use more than one sample per batch"
        )
    if share()[1] > 1:
        statistics = _common_statistics(norm, rows)
        return rate_norm(norm, rows, statistics).view(x.shape), statistics
    y, mean, scale = torch.native_batch_norm(
        rows, norm.weight, norm.bias, None, None, True, 0.0, norm.eps
    )
    return y.view(x.shape), Statistics(mean.detach(), scale.detach())


def normalize(norm: BatchNorm, x: Tensor) -> Tensor:
    """y of x (K, B, C, ...) with the running statistics, as in inference."""
    y = functional.batch_norm(
        x.flatten(0, 1),
        norm.running_mean,
        norm.running_var,
        norm.weight,
        norm.bias,
        training=False,
        eps=norm.eps,
    )
    return y.view(x.shape)


@torch.no_grad()
def update_running(norm: BatchNorm, statistics: Statistics, count: int) -> None:
    """Move the running statistics towards those of `count` values per channel.

    As in PyTorch: the variance is the unbiased one, and a momentum of None means the plain
    average of all updates.
    """
    assert norm.running_mean is not None  # SpikingNetwork accepts no other norms
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    momentum = norm.momentum
    if momentum is None:
        momentum = 1 / int(norm.num_batches_tracked)
    variance = (statistics.scale**-2 - norm.eps).clamp_min_(0)
    norm.running_mean.lerp_(statistics.mean.to(norm.running_mean), momentum)
    norm.running_var.lerp_((variance * (count / max(count - 1, 1))).to(norm.running_var), momentum)


def rate_norm(norm: BatchNorm, c: Tensor, statistics: Statistics) -> Tensor:
    """Batch norm of mean inputs c (B, C, ...) with the statistics of the spike sequence.

    The backward pass is that of ordinary batch norm with these statistics instead of those of c;
    with upstream gradient G, and means over samples and positions:

        dbeta = sum G        dgamma = sum G h
        dc = gamma k (G - mean G - (h - mean h) mean(G h))
    """
    y: Tensor = _RateNorm.apply(  # type: ignore[no-untyped-call]
        c, norm.weight, norm.bias, statistics.mean, statistics.scale
    )
    return y


class _RateNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, c: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, scale: Tensor
    ) -> Tensor:
        shape = (1, -1, *[1] * (c.ndim - 2))
        h = (c - mean.view(shape)) * scale.view(shape)
        ctx.save_for_backward(h, gamma.view(shape) * scale.view(shape))
        return torch.addcmul(beta.view(shape), gamma.view(shape), h)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        h, factor = ctx.saved_tensors
        dims = [axis for axis in range(h.ndim) if axis != 1]
        count = h.numel() // h.shape[1]
        of_gamma, of_beta = (upstream * h).sum(dims), upstream.sum(dims)
        means = mean_over_ranks(torch.stack((of_gamma, of_beta, h.sum(dims))) / count, count)
        product, gradient, offset = means.view(3, *factor.shape)
        # dc = factor (G - mean G - (h - mean h) mean(G h)), with one temporary
        dc = torch.addcmul(upstream - (gradient - offset * product), h, product, value=-1)
        return dc.mul_(factor), of_gamma, of_beta, None, None


def _common_statistics(norm: BatchNorm, rows: Tensor) -> Statistics:
    dims = [axis for axis in range(rows.ndim) if axis != 1]
    variance, mean = torch.var_mean(rows.detach(), dims, correction=0)
    both = torch.stack((mean, variance + mean**2))
    mean, square = mean_over_ranks(both, rows.numel() // rows.shape[1])
    return Statistics(mean, torch.rsqrt(square - mean**2 + norm.eps))
