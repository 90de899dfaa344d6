"""Stopping a training run that is no longer finite, with the layer in which it began."""

from __future__ import annotations

import torch
from torch import Tensor

from spikeport.errors import InputError
from spikeport.trainer.network import Record, SpikingNetwork


def check_finite(network: SpikingNetwork, loss: Tensor, record: Record, epoch: int) -> None:
    """Stop before the weights take a step that is not finite; `epoch` counts from 0.

    A NaN charge never spikes, so it can hide behind a finite loss; its gradient cannot.

    Raises:
        InputError: naming the layer in which it began.
    """
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    norm = torch.stack([gradient.abs().max() for gradient in gradients]).sum()
    if torch.isfinite(loss + norm):
        return
    what, layer = _origin(network, loss, record)
    raise InputError(
        f"training: {what} in epoch {epoch + 1}, first in layer '{layer}', is NaN or infinite; "
        "a lower lr may help"
    )


def _origin(network: SpikingNetwork, loss: Tensor, record: Record) -> tuple[str, str]:
    for node in network.nodes:
        if not record.finite(node.name):
            return "activation", node.name
    if not torch.isfinite(loss):
        return "loss", network.output
    for node in reversed(network.nodes):
        parameters = network.layers[node.name].parameters() if node.name in network.layers else ()
        if any(p.grad is not None and not p.grad.isfinite().all() for p in parameters):
            return "gradient", node.name
    return "gradient", network.output
