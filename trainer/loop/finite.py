"""Stop training when values are no longer finite, and name the layer where this began."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from spikeport.errors import TrainingError
from spikeport.trainer.chip import AnyNetwork
from spikeport.trainer.exits import Exits
from spikeport.trainer.loop.optimizer import trained_parameters
from spikeport.trainer.network import PassRecord


def check_finite(
    network: AnyNetwork,
    loss: Tensor,
    record: PassRecord,
    epoch: int,
    exits: Exits | None = None,
) -> None:
    """Stop before a step with non-finite values is applied; `epoch` counts from 0.

    A NaN membrane never spikes, so it can be hidden by a finite loss, but not by its gradient.

    Raises:
        InputError: names the layer in which it began.
    """
    gradients = [p.grad for _, p in trained_parameters(network, exits) if p.grad is not None]
    norm = torch.stack([gradient.abs().max() for gradient in gradients]).sum()
    if torch.isfinite(loss + norm):
        return
    what, layer = _origin(network, loss, record, exits)
    raise TrainingError(
        f"training: {what} in epoch {epoch + 1}, first in layer '{layer}', is NaN or infinite; "
        "a lower lr may help"
    )


def _origin(
    network: AnyNetwork, loss: Tensor, record: PassRecord, exits: Exits | None
) -> tuple[str, str]:
    for name in network.layer_names:
        if not record.finite(name):
            return "activation", name
    if not torch.isfinite(loss):
        return "loss", network.output
    for place, branch in () if exits is None else exits.branches.items():
        if not _all_finite(branch.parameters()):
            return "gradient", f"exit of {place}"
    for name in reversed(network.layer_names):
        if not _all_finite(network.parameters_of(name)):
            return "gradient", name
    return "gradient", network.output


def _all_finite(parameters: Iterable[Tensor]) -> bool:
    """Whether all gradients are."""
    return all(bool(p.grad.isfinite().all()) for p in parameters if p.grad is not None)
