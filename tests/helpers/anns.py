"""Small ANNs to convert: random ones, and one trained on digits."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import nn

from spikeport.network import Coding, Input
from spikeport.trainer import (
    Dataset,
    GradientRule,
    SpikingNetwork,
    TrainConfig,
    build_network,
    from_ann,
    load_dataset,
    train,
)
from spikeport.trainer.config import Activation

IMAGE = Input("image", (2, 6, 6), Coding.GRADED, -64, 64, scale=32.0)


class Residual(nn.Module):
    """Blocks with analog shortcuts, batch norms after sums, an average pool and a shared ReLU."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, width, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(4))
        self.inner = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(width * 9, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in range(2):
            y = self.relu(self.norms[block](x))
            y = self.relu(self.inner(self.convs[2 * block](y)) if block else self.convs[0](y))
            x = x + self.convs[2 * block + 1](y)
        x = self.relu(self.norms[2](x))
        return self.head(self.pool(x).flatten(1))  # type: ignore[no-any-return]


def random_ann(seed: int = 0) -> SpikingNetwork:
    """`Residual` with random weights and running statistics that are not 0 and 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Residual().eval()
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.uniform_(norm.weight, 0.5, 1.5)
                nn.init.normal_(norm.bias, 0.2, 0.3)
                assert norm.running_mean is not None
                assert norm.running_var is not None
                norm.running_mean.normal_(0, 0.3)
                norm.running_var.uniform_(0.5, 2)
    return from_ann(module, IMAGE).eval()


def random_images(count: int, seed: int = 0) -> torch.Tensor:
    """Samples that `IMAGE` accepts exactly."""
    values = np.random.default_rng(seed).integers(-64, 65, (count, *IMAGE.shape))
    return torch.tensor(values / 32, dtype=torch.float32)


@functools.cache
def digits() -> Dataset:
    return load_dataset("digits")


@functools.cache
def trained_ann(architecture: str = "preact_resnet20") -> SpikingNetwork:
    """A narrow network with ReLUs, trained on digits; do not change it."""
    config = TrainConfig(
        architecture=architecture,
        widths=(8, 12) if architecture == "conv" else (4,),
        activation=Activation.RELU,
        steps=1,
        rule=GradientRule.BPTT_M,
        epochs=4,
        lr=0.1,
        weight_decay=5e-4,
    )
    network = build_network(config, digits().input, digits().classes)
    model = train(config, digits(), network=network).model
    assert isinstance(model, SpikingNetwork)
    return model
