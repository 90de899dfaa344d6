"""Training in several processes (torchrun): the rank of this one, and sums over all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the other processes if torchrun started this one; otherwise do nothing."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or distributed.is_initialized():
        yield
        return
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def share() -> tuple[int, int]:
    """(rank, number of processes); (0, 1) for a single process."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return (0, 1)
    return (distributed.get_rank(), distributed.get_world_size())


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of `value` over all processes, the same on each; `value` itself for a single process.

    Not differentiable; `value` may be overwritten.
    """
    if share()[1] > 1:
        distributed.all_reduce(value)
    return value


def count_over_ranks(count: int, device: torch.device) -> int:
    """The sum of `count` over all processes."""
    return count if share()[1] == 1 else int(sum_over_ranks(torch.tensor(count, device=device)))


def mean_over_ranks(means: Tensor, count: int) -> Tensor:
    """The mean over all processes of `means` over `count` values each."""
    if share()[1] == 1:
        return means
    total = torch.cat([means.flatten() * count, means.new_tensor([count])])
    distributed.all_reduce(total)
    return (total[:-1] / total[-1]).view(means.shape)


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their sum over all processes, in a single message."""
    if share()[1] == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, total in zip(gradients, parts, strict=True):
        gradient.copy_(total.view_as(gradient))
