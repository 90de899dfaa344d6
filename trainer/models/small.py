"""A multilayer perceptron and a small convolutional network."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from spikeport.errors import TrainingError
from spikeport.network import Input
from spikeport.trainer.models.sketch import Sketch
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.neurons import LIF, Activation


def mlp(
    input: Input,
    classes: int,
    hidden: Sequence[int],
    steps: int,
    lif: LIF | Activation | None = None,
) -> SpikingNetwork:
    """linear-BN-LIF per hidden size, then a linear readout whose mean over time is the scores."""
    sketch = Sketch(input, lif or LIF())
    source = input.name
    for index, width in enumerate(hidden, start=1):
        linear = nn.Linear(math.prod(sketch.shapes[source]), width, bias=False)
        source = sketch.add(f"linear{index}", linear, source)
        source = sketch.neurons(f"lif{index}", sketch.norm(f"norm{index}", source))
    sketch.linear("readout", source, classes)
    return sketch.network(steps)


def small_conv(
    input: Input,
    classes: int,
    channels: Sequence[int],
    steps: int,
    lif: LIF | Activation | None = None,
) -> SpikingNetwork:
    """conv3x3-BN-LIF per channel count, a 2x2 average pool before all but the first, readout.

    Raises:
        InputError: the input is not an image, or too small for that many pools.
    """
    sketch = Sketch(input, lif or LIF())
    source = input.name
    if min(sketch.image(source)[1:]) >> (len(channels) - 1) < 1:
        raise TrainingError(
            f"input '{input.name}': shape {input.shape} is too small for the "
            f"{len(channels) - 1} pools of {len(channels)} convolutions"
        )
    for index, count in enumerate(channels, start=1):
        if index > 1:
            source = sketch.add(f"pool{index}", nn.AvgPool2d(2), source)
        conv = nn.Conv2d(sketch.shapes[source][0], count, 3, padding=1, bias=False)
        source = sketch.norm(f"norm{index}", sketch.add(f"conv{index}", conv, source))
        source = sketch.neurons(f"lif{index}", source)
    sketch.linear("readout", source, classes)
    return sketch.network(steps)
