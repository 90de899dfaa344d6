"""SGD with momentum, and its state by parameter name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from spikeport.trainer.config import TrainConfig
from spikeport.trainer.layers import Map
from spikeport.trainer.network import SpikingNetwork


def build_optimizer(
    config: TrainConfig, network: SpikingNetwork, momentum: Mapping[str, Tensor]
) -> torch.optim.SGD:
    """SGD, going on from `momentum`; weight decay only on the weights of convolutions and linear
    layers.
    """
    decayed = [op.weight for op in network.layers.values() if isinstance(op, Map)]
    known = {id(parameter) for parameter in decayed}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in known]
    optimizer = torch.optim.SGD(
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ],
        lr=config.lr,
        momentum=config.momentum,
    )
    for name, parameter in network.named_parameters():
        if name in momentum:
            buffer = momentum[name].to(parameter.device, copy=True)
            optimizer.state[parameter]["momentum_buffer"] = buffer
    return optimizer


def momentum_of(network: SpikingNetwork, optimizer: torch.optim.SGD) -> dict[str, Tensor]:
    """The momentum buffers by parameter name, empty before the first step."""
    buffers = {
        name: optimizer.state[parameter].get("momentum_buffer")
        for name, parameter in network.named_parameters()
    }
    return {name: buffer for name, buffer in buffers.items() if buffer is not None}
