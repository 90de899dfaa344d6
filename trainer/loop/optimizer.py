"""The optimizer, and its state by parameter name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from spikeport.trainer.chip import AnyNetwork
from spikeport.trainer.config import Optimizer, TrainConfig

KEPT = {
    Optimizer.SGD: ("momentum_buffer",),
    Optimizer.ADAMW: ("exp_avg", "exp_avg_sq", "step"),
}
"""The state that torch keeps for each parameter between steps."""


def build_optimizer(
    config: TrainConfig, network: AnyNetwork, state: Mapping[str, Tensor]
) -> torch.optim.Optimizer:
    """Build the optimizer of `config`, continuing from `state`; weight decay applies to weights,
    not to biases and batch norms.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    known = {id(parameter) for parameter in network.weight_parameters()}
    groups = [
        {
            "params": [p for p in trained if id(p) in known],
            "weight_decay": config.weight_decay,
        },
        {"params": [p for p in trained if id(p) not in known], "weight_decay": 0.0},
    ]
    optimizer: torch.optim.Optimizer
    if config.optimizer is Optimizer.ADAMW:
        optimizer = torch.optim.AdamW(groups, lr=config.lr)
    else:
        optimizer = torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    for name, parameter in network.named_parameters():
        for kind in KEPT[config.optimizer]:
            if (value := state.get(f"{kind}.{name}")) is not None:
                # the step count stays where torch keeps it, on the CPU
                device = value.device if kind == "step" else parameter.device
                optimizer.state[parameter][kind] = value.to(device, copy=True)
    return optimizer


def state_of(network: AnyNetwork, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state that `build_optimizer` continues from: "kind.parameter name"; may be empty."""
    return {
        f"{kind}.{name}": value
        for name, parameter in network.named_parameters()
        for kind, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    }
