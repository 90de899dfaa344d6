"""Pre-activation residual networks for CIFAR: ResNet-20, -56 and -110 with analog shortcuts.

A block is BN-ReLU-conv3x3 twice, plus the block's input; where the shape changes, its shortcut is a
1x1 convolution of the first activation. Sums pass from block to block without a neuron in between;
BN and an activation precede the global average. Convolutions have no bias.

Source: He et al., ECCV 2016, arXiv 1603.05027 (without bottlenecks).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from spikeport.network import Input
from spikeport.trainer.models.sketch import Sketch, published_lif
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.neurons import LIF, Activation


def preact_resnet20(
    input: Input,
    classes: int,
    steps: int,
    lif: LIF | Activation | None = None,
    *,
    width: int = 16,
) -> SpikingNetwork:
    """conv3x3 of 16 (`width`), stages of 16, 32, 64 with three blocks each, linear."""
    return _network(input, classes, steps, lif, width, (3, 3, 3))


def preact_resnet56(
    input: Input,
    classes: int,
    steps: int,
    lif: LIF | Activation | None = None,
    *,
    width: int = 16,
) -> SpikingNetwork:
    """Like `preact_resnet20`, with nine blocks in each stage."""
    return _network(input, classes, steps, lif, width, (9, 9, 9))


def preact_resnet110(
    input: Input,
    classes: int,
    steps: int,
    lif: LIF | Activation | None = None,
    *,
    width: int = 16,
) -> SpikingNetwork:
    """Like `preact_resnet20`, with eighteen blocks in each stage."""
    return _network(input, classes, steps, lif, width, (18, 18, 18))


def _network(
    input: Input,
    classes: int,
    steps: int,
    lif: LIF | Activation | None,
    width: int,
    blocks: Sequence[int],
) -> SpikingNetwork:
    sketch = Sketch(input, lif or published_lif())
    source = sketch.plain_conv("stem", input.name, width)
    for stage, count in enumerate(blocks, start=1):
        for block in range(1, count + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            source = _block(sketch, f"s{stage}b{block}", source, width << (stage - 1), stride)
    source = sketch.neurons("final_lif", sketch.norm("final_norm", source))
    sketch.linear("readout", sketch.global_average("average", source), classes)
    return sketch.network(steps)


def _block(sketch: Sketch, name: str, source: str, channels: int, stride: int) -> str:
    active = sketch.neurons(f"{name}_lif1", sketch.norm(f"{name}_norm1", source))
    out = sketch.conv(f"{name}_conv1", active, channels, stride=stride)
    out = sketch.plain_conv(f"{name}_conv2", sketch.neurons(f"{name}_lif2", out), channels)
    if sketch.shapes[source] != sketch.shapes[out]:
        source = sketch.plain_conv(f"{name}_skip", active, channels, 1, stride)
    return sketch.add(f"{name}_sum", nn.Identity(), out, source)
