"""One batch of training: forward, loss, backward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from spikeport.trainer.chip import AnyNetwork
from spikeport.trainer.energy import EnergyLoss
from spikeport.trainer.loop.distillation import Teacher
from spikeport.trainer.network import PassRecord

Forward = Callable[[Tensor], tuple[Tensor, PassRecord]]
"""Differentiable scores (B, N) and the spike pass's record of samples."""


def step(
    network: AnyNetwork,
    x: Tensor,
    y: Tensor,
    whole: int | None = None,
    forward: Forward | None = None,
    energy: EnergyLoss | None = None,
    teacher: Teacher | None = None,
) -> tuple[Tensor, Tensor, PassRecord]:
    """One forward and backward pass; returns loss, scores (B, N) and the spike pass's record.

    The gradient is scaled as the network's rule has it (1/T), the loss returned is not; it is the
    cross-entropy alone. Of a batch that is shared by several processes, `whole` is the size, and
    loss and gradient are this process's part.

    Args:
        forward: stands for `training_pass` of the network, as torch has compiled it.
        energy: adds its gradient.
        teacher: has its say beside the labels, in the loss returned too.
    """
    scores, record = (forward or network.training_pass)(x)
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    wanted = y if teacher is None else teacher.targets(x, y)
    size = whole or len(y)
    loss = functional.cross_entropy(wide, wanted, reduction="sum") / size
    total = loss if energy is None else loss + energy(network, x, record, len(y) / size)
    (total * network.gradient_scale).backward()  # type: ignore[no-untyped-call]
    return loss.detach(), scores.detach(), record
