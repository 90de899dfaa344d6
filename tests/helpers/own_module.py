"""A module of a user's own with the layers of the built-in small convolutional network."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from spikeport.network import Input
from spikeport.trainer import SpikingNetwork, TrainConfig, from_module
from spikeport.trainer.neurons import LIF
from tests.helpers.training import TINY

CONFIG = dataclasses.replace(TINY, decay=0.5, validation=0.2)


class Mine(nn.Module):
    """`small_conv` of widths (3, 4) on (1, 4, 4), layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(3)
        self.lif1 = LIF()
        self.pool2 = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(4)
        self.lif2 = LIF()
        self.readout = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lif1(self.norm1(self.conv1(x)))
        x = self.lif2(self.norm2(self.conv2(self.pool2(x))))
        scores: Tensor = self.readout(x.flatten(1))
        return scores


def own_network(config: TrainConfig, input: Input, seed: int | None = None) -> SpikingNetwork:
    """The network of `Mine`, initialised as the built-in one would be."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed if seed is None else seed)
        return from_module(Mine(), input, config.steps, config.rule)
