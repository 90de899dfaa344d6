"""The optimizer, and its state by parameter name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from spikeport.trainer.chip import AnyNetwork
from spikeport.trainer.config import Optimizer, TrainConfig
from spikeport.trainer.exits import Exits

KEPT = {
    Optimizer.SGD: ("momentum_buffer",),
    Optimizer.ADAMW: ("exp_avg", "exp_avg_sq", "step"),
}
"""The state that torch keeps for each parameter between steps."""


def trained_parameters(
    network: AnyNetwork, exits: Exits | None
) -> Iterator[tuple[str, nn.Parameter]]:
    """What training changes, by name; names of the exits begin with "exits."."""
    named = list(network.named_parameters())
    if exits is not None:
        named += [(f"exits.{name}", parameter) for name, parameter in exits.named_parameters()]
    return ((name, parameter) for name, parameter in named if parameter.requires_grad)


def build_optimizer(
    config: TrainConfig, network: AnyNetwork, exits: Exits | None, state: Mapping[str, Tensor]
) -> torch.optim.Optimizer:
    """Build the optimizer of `config`, continuing from `state`; weight decay applies to weights,
    not to biases and batch norms.
    """
    named = dict(trained_parameters(network, exits))
    trained = list(named.values())
    weights = [*network.weight_parameters(), *([] if exits is None else exits.weight_parameters())]
    known = {id(parameter) for parameter in weights}
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
    for name, parameter in named.items():
        for kind in KEPT[config.optimizer]:
            if (value := state.get(f"{kind}.{name}")) is not None:
                # the step count stays where torch keeps it, on the CPU
                device = value.device if kind == "step" else parameter.device
                optimizer.state[parameter][kind] = value.to(device, copy=True)
    return optimizer


def state_of(
    network: AnyNetwork, exits: Exits | None, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """The state that `build_optimizer` continues from: "kind.parameter name"; may be empty."""
    return {
        f"{kind}.{name}": value
        for name, parameter in trained_parameters(network, exits)
        for kind, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    }
