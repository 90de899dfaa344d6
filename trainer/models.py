"""Network architectures: a multilayer perceptron and a small convolutional network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from spikeport.errors import InputError
from spikeport.network import Input
from spikeport.trainer.lif import LIF
from spikeport.trainer.network import Node, SpikingNetwork


def mlp(
    input: Input, classes: int, hidden: Sequence[int], steps: int, lif: LIF | None = None
) -> SpikingNetwork:
    """linear-BN-LIF per hidden size, then a linear readout whose time mean is the scores."""
    lif = lif or LIF()
    nodes: list[Node] = []
    source, size = input.name, input.size
    for index, width in enumerate(hidden, start=1):
        linear = nn.Linear(size, width, bias=False)
        nodes += _block(index, source, "linear", linear, nn.BatchNorm1d(width), lif)
        source, size = nodes[-1].name, width
    nodes.append(Node("readout", (source,), nn.Linear(size, classes)))
    return SpikingNetwork(input, nodes, steps)


def small_conv(
    input: Input, classes: int, channels: Sequence[int], steps: int, lif: LIF | None = None
) -> SpikingNetwork:
    """conv3x3-BN-LIF per channel count, a 2x2 average pool before all but the first, readout.

    Raises:
        InputError: the input is no image, or too small for that many pools.
    """
    lif = lif or LIF()
    if len(input.shape) != 3:
        raise InputError(
            f"input '{input.name}': shape {input.shape}, a convolutional network needs (C, H, W)"
        )
    nodes: list[Node] = []
    source, (size, height, width) = input.name, input.shape
    for index, count in enumerate(channels, start=1):
        if index > 1:
            height, width = height // 2, width // 2
            if not min(height, width):
                raise InputError(
                    f"input '{input.name}': shape {input.shape} is too small for the "
                    f"{len(channels) - 1} pools of {len(channels)} convolutions"
                )
            nodes.append(Node(f"pool{index}", (source,), nn.AvgPool2d(2)))
            source = nodes[-1].name
        conv = nn.Conv2d(size, count, 3, padding=1, bias=False)
        nodes += _block(index, source, "conv", conv, nn.BatchNorm2d(count), lif)
        source, size = nodes[-1].name, count
    nodes.append(Node("readout", (source,), nn.Linear(size * height * width, classes)))
    return SpikingNetwork(input, nodes, steps)


def _block(
    index: int,
    source: str,
    kind: str,
    linear: nn.Linear | nn.Conv2d,
    norm: nn.BatchNorm1d | nn.BatchNorm2d,
    lif: LIF,
) -> list[Node]:
    return [
        Node(f"{kind}{index}", (source,), linear),
        Node(f"norm{index}", (f"{kind}{index}",), norm),
        Node(f"lif{index}", (f"norm{index}",), lif),
    ]
