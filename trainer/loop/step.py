"""One batch of training: forward, loss, backward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from spikeport.trainer.chip import AnyNetwork
from spikeport.trainer.energy import EnergyLoss
from spikeport.trainer.exits import Exits
from spikeport.trainer.loop.distillation import Teacher
from spikeport.trainer.network import PassRecord

Forward = Callable[[Tensor], tuple[Tensor, PassRecord]]
"""Maps samples to differentiable scores (B, N) and the record of the spiking pass."""


def step(
    network: AnyNetwork,
    x: Tensor,
    y: Tensor,
    whole: int | None = None,
    forward: Forward | None = None,
    energy: EnergyLoss | None = None,
    teacher: Teacher | None = None,
    exits: Exits | None = None,
) -> tuple[Tensor, Tensor, PassRecord]:
    """Run one forward and backward pass; return loss, scores (B, N) and the spiking pass's record.

    The gradient is scaled as required by the network's rule (1/T); the returned loss is not, and
    does not include energy. If several processes share a batch, `whole` is its size, and loss and
    gradient are the part of this process.

    Args:
        forward: used instead of the network's `training_pass`, such as a compiled version of it.
        energy: an energy loss; only its gradient is added.
        teacher: adds a distillation term, which is included in the returned loss.
        exits: add their loss; only its gradient is added.
    """
    scores, record = (forward or network.training_pass)(x)
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    wanted = y if teacher is None else teacher.targets(x, y)
    size = whole or len(y)
    loss = functional.cross_entropy(wide, wanted, reduction="sum") / size
    total = loss if energy is None else loss + energy(network, x, record, len(y) / size)
    if exits is not None:
        total = total + exits.loss(record.rates, wide, y, size)
    (total * network.gradient_scale).backward()  # type: ignore[no-untyped-call]
    return loss.detach(), scores.detach(), record
