"""VGG-11 for CIFAR, the network for event cameras that the paper also calls VGG-11, and VGG-16.

Sources: Yu et al., NeurIPS 2024, layers and initial weights as in their code (VGG-11); Simonyan and
Zisserman, ICLR 2015, arXiv 1409.1556, configuration D (VGG-16).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from spikeport.network import Input
from spikeport.trainer.models.sketch import Sketch, published_lif
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.neurons import LIF, Activation

POOL = "A"
_VGG11 = (1, POOL, 2, 4, POOL, 8, 8, POOL, 8, POOL, 8, 8)
_VGG16 = (1, 1, POOL, 2, 2, POOL, 4, 4, 4, POOL, 8, 8, 8, POOL, 8, 8, 8, POOL)
_DVS = (1, 2, POOL, 4, 4, POOL, 8, 8, POOL, 8, 8, POOL)


def vgg11(
    input: Input, classes: int, steps: int, lif: LIF | Activation | None = None, *, width: int = 64
) -> SpikingNetwork:
    """64, A, 128, 256, A, 512, 512, A, 512, A, 512, 512, global average, linear.

    Numbers are channels of conv3x3 (bias)-BN-LIF, A is a 2x2 average pool; `width` is the first.
    Initial weights are drawn from N(0, 0.5^2), biases are 0.

    Raises:
        InputError: the input is not an image, or smaller than 16 x 16.
    """
    sketch = Sketch(input, lif or published_lif())
    source = _features(sketch, _VGG11, width)
    return _finished(sketch, sketch.global_average("average", source), classes, steps)


def dvs_net(
    input: Input, classes: int, steps: int, lif: LIF | Activation | None = None, *, width: int = 64
) -> SpikingNetwork:
    """64, 128, A, 256, 256, A, 512, 512, A, 512, 512, A, linear; like `vgg11`, for 2 x 48 x 48."""
    sketch = Sketch(input, lif or published_lif())
    return _finished(sketch, _features(sketch, _DVS, width), classes, steps)


def vgg16(
    input: Input, classes: int, steps: int, lif: LIF | Activation | None = None, *, width: int = 64
) -> SpikingNetwork:
    """64, 64, A, 128, 128, A, three of 256, 512, 512 with A after each, linear 4096 twice, linear.

    Like `vgg11`, but initial weights are Kaiming-normal. The two hidden layers have LIF, no batch
    norm and no dropout; their size is 64 `width`. For 32 x 32 (CIFAR) as for 224 x 224 (ImageNet).

    Raises:
        InputError: the input is not an image, or smaller than 32 x 32.
    """
    sketch = Sketch(input, lif or published_lif())
    source = _features(sketch, _VGG16, width)
    for hidden in (1, 2):
        source = sketch.linear(f"hidden{hidden}", source, 64 * width)
        source = sketch.neurons(f"hidden{hidden}_lif", source)
    sketch.linear("readout", source, classes)
    for node in sketch.nodes:
        if isinstance(node.op, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(node.op.weight, nonlinearity="relu")
            assert node.op.bias is not None  # both layers have one
            nn.init.zeros_(node.op.bias)
    return sketch.network(steps)


def _features(sketch: Sketch, plan: Sequence[int | str], width: int) -> str:
    source, index = sketch.input.name, 0
    for step in plan:
        if isinstance(step, str):
            source = sketch.add(f"pool{index}", nn.AvgPool2d(2), source)
            continue
        index += 1
        conv = nn.Conv2d(sketch.image(source)[0], step * width, 3, padding=1)
        source = sketch.norm(f"norm{index}", sketch.add(f"conv{index}", conv, source))
        source = sketch.neurons(f"lif{index}", source)
    return source


def _finished(sketch: Sketch, source: str, classes: int, steps: int) -> SpikingNetwork:
    sketch.linear("readout", source, classes)
    for node in sketch.nodes:
        if isinstance(node.op, nn.Conv2d | nn.Linear):
            nn.init.normal_(node.op.weight, 0, 0.5)
            assert node.op.bias is not None  # both layers have one
            nn.init.zeros_(node.op.bias)
    return sketch.network(steps)
