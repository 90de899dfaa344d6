"""One batch of training: forward, loss, backward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from spikeport.trainer.chip import AnyNetwork
from spikeport.trainer.energy_loss import EnergyLoss
from spikeport.trainer.passes import Record

Forward = Callable[[Tensor], tuple[Tensor, Record]]
"""Differentiable scores (B, N) and the spike pass's record of samples."""


def step(
    network: AnyNetwork,
    x: Tensor,
    y: Tensor,
    whole: int | None = None,
    forward: Forward | None = None,
    energy: EnergyLoss | None = None,
) -> tuple[Tensor, Tensor, Record]:
    """One forward and backward pass; returns loss, scores (B, N) and the spike pass's record.

    The gradient is scaled as the network's rule has it (1/T), the loss returned is not; it is the
    cross-entropy alone. Of a batch that is shared by several processes, `whole` is the size, and
    loss and gradient are this process's part.

    Args:
        forward: stands for `training_pass` of the network, as torch has compiled it.
        energy: adds its gradient.
    """
    scores, record = (forward or network.training_pass)(x)
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    loss = functional.cross_entropy(wide, y, reduction="sum") / (whole or len(y))
    target = (
        loss if energy is None else loss + energy(network, x, record, len(y) / (whole or len(y)))
    )
    (target * network.gradient_scale).backward()  # type: ignore[no-untyped-call]
    return loss.detach(), scores.detach(), record
