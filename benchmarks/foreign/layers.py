"""Layers with random weights, more of them positive, so that neurons fire."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Layer = TypeVar("Layer", nn.Linear, nn.Conv1d, nn.Conv2d)


def linear(inputs: int, outputs: int, gain: float = 4.0, bias: bool = True) -> nn.Linear:
    """Weights in -gain / 2 .. gain, divided by the root of their number."""
    return lively(nn.Linear(inputs, outputs, bias=bias), gain)


def conv(inputs: int, outputs: int, gain: float = 4.0, bias: bool = True) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the size."""
    return lively(nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias), gain)


@torch.no_grad()
def lively(layer: Layer, gain: float = 4.0) -> Layer:
    """The layer with such weights, and biases up to a tenth of the gain."""
    count = layer.weight[0].numel()
    layer.weight.uniform_(-gain / 2, gain).div_(count**0.5)
    if layer.bias is not None:
        layer.bias.uniform_(-gain / 10, gain / 10)
    return layer


def norm(channels: int) -> nn.BatchNorm2d:
    """A batch norm that has seen data."""
    layer = nn.BatchNorm2d(channels)
    for values in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
        assert values is not None
        nn.init.uniform_(values, 0.5, 1.5)
    return layer
