"""Residual networks for CIFAR: ResNet-18 and -19 of the SNN literature, ResNet-20, -56 and -110.

A block is conv-BN-LIF-conv-BN, plus the block's input (through a 1x1 conv-BN if the shape
changes), then LIF; so every connection carries spikes. Convolutions have no bias.

Sources: Yu et al., NeurIPS 2024, and their code (18, 19); He et al., CVPR 2016, section 4.2
(20, 56, 110), with 1x1 convolutions in the two shortcuts that change shape.
"""

from __future__ import annotations

from collections.abc import Sequence

from spikeport.network import Input
from spikeport.trainer.models.sketch import Sketch, published_lif
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.neurons import LIF, Activation


def resnet18(
    input: Input, classes: int, steps: int, lif: LIF | Activation | None = None, *, width: int = 64
) -> SpikingNetwork:
    """conv3x3 of 64 (`width`), stages of 64, 128, 256, 512 with two blocks each, linear."""
    sketch = Sketch(input, lif or published_lif())
    return _finished(sketch, _stages(sketch, width, (2, 2, 2, 2)), classes, steps)


def resnet19(
    input: Input, classes: int, steps: int, lif: LIF | Activation | None = None, *, width: int = 128
) -> SpikingNetwork:
    """conv3x3 of 128 (`width`), stages of 128, 256, 512 with 3, 3, 2 blocks, linear 256, LIF."""
    sketch = Sketch(input, lif or published_lif())
    source = sketch.global_average("average", _stages(sketch, width, (3, 3, 2)))
    source = sketch.neurons("hidden_lif", sketch.linear("hidden", source, 2 * width))
    sketch.linear("readout", source, classes)
    return sketch.network(steps)


def resnet20(
    input: Input, classes: int, steps: int, lif: LIF | Activation | None = None, *, width: int = 16
) -> SpikingNetwork:
    """conv3x3 of 16 (`width`), stages of 16, 32, 64 with three blocks each, linear."""
    sketch = Sketch(input, lif or published_lif())
    return _finished(sketch, _stages(sketch, width, (3, 3, 3)), classes, steps)


def resnet56(
    input: Input, classes: int, steps: int, lif: LIF | Activation | None = None, *, width: int = 16
) -> SpikingNetwork:
    """Like `resnet20`, with nine blocks in each stage."""
    sketch = Sketch(input, lif or published_lif())
    return _finished(sketch, _stages(sketch, width, (9, 9, 9)), classes, steps)


def resnet110(
    input: Input,
    classes: int,
    steps: int,
    lif: LIF | Activation | None = None,
    *,
    width: int = 16,
) -> SpikingNetwork:
    """Like `resnet20`, with eighteen blocks in each stage."""
    sketch = Sketch(input, lif or published_lif())
    return _finished(sketch, _stages(sketch, width, (18, 18, 18)), classes, steps)


def _stages(sketch: Sketch, width: int, blocks: Sequence[int]) -> str:
    source = sketch.neurons("stem_lif", sketch.conv("stem", sketch.input.name, width))
    for stage, count in enumerate(blocks, start=1):
        for block in range(1, count + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            name = f"s{stage}b{block}"
            source = residual_block(sketch, name, source, width << (stage - 1), stride)
    return source


def residual_block(sketch: Sketch, name: str, source: str, channels: int, stride: int) -> str:
    """conv-BN-LIF-conv-BN, plus `source` (by a 1x1 conv-BN if the shape changes), then LIF."""
    first = sketch.conv(f"{name}_conv1", source, channels, stride=stride)
    first = sketch.neurons(f"{name}_lif1", first)
    second = sketch.conv(f"{name}_conv2", first, channels)
    skip = source
    if sketch.shapes[source] != sketch.shapes[second]:
        skip = sketch.conv(f"{name}_skip", source, channels, 1, stride)
    return sketch.neurons(f"{name}_lif2", second, skip)


def _finished(sketch: Sketch, source: str, classes: int, steps: int) -> SpikingNetwork:
    sketch.linear("readout", sketch.global_average("average", source), classes)
    return sketch.network(steps)
