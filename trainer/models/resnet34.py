"""Three ResNet-34 for ImageNet: ordinary and SEW, with spikes only, and PreAct.

All: conv7x7 stride 2 of 64 (`width`) and BN, a pool of stride 2, stages of 64, 128, 256, 512 with
3, 4, 6, 3 blocks, global average, linear; initial weights are Kaiming-normal (fan-out).

Sources: He et al., CVPR 2016, arXiv 1512.03385 (ordinary; no biases of convolutions); Yu et al.,
NeurIPS 2024, and their code (SEW and PreAct: max-pool 3x3, convolutions with biases).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from spikeport.network import Input
from spikeport.trainer.models.resnet import residual_block
from spikeport.trainer.models.sketch import Sketch, published_lif
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.neurons import LIF, Activation

_BLOCKS = (3, 4, 6, 3)


def resnet34(
    input: Input, classes: int, steps: int, lif: LIF | Activation | None = None, *, width: int = 64
) -> SpikingNetwork:
    """ResNet-34 with blocks as in `resnet18`, and a 2x2 average pool instead of the max-pool.

    The pool is after a LIF layer, and shortcuts begin after one: every connection carries spikes.
    """
    sketch = Sketch(input, lif or published_lif())
    source = sketch.neurons("stem_lif", sketch.conv("stem", input.name, width, 7, 2))
    source = sketch.add("stem_pool", nn.AvgPool2d(2), source)
    return _finished(sketch, _stages(sketch, source, width, residual_block), classes, steps)


def sew_resnet34(
    input: Input, classes: int, steps: int, lif: LIF | Activation | None = None, *, width: int = 64
) -> SpikingNetwork:
    """Spike-element-wise ResNet-34, ADD: conv-BN-LIF twice, plus the block's input.

    If the shape changes, the shortcut is conv1x1-BN-LIF. A LIF layer precedes the max-pool.
    """
    sketch = Sketch(input, lif or published_lif())
    source = sketch.conv("stem", input.name, width, 7, 2, bias=True)
    source = _max_pool(sketch, sketch.neurons("stem_lif", source))
    return _finished(sketch, _stages(sketch, source, width, _sew_block), classes, steps)


def preact_resnet34(
    input: Input, classes: int, steps: int, lif: LIF | Activation | None = None, *, width: int = 64
) -> SpikingNetwork:
    """Pre-activation ResNet-34: LIF-conv-BN twice, plus the block's input.

    Not spike-only: weighted sums pass from block to block without neurons in between, and a
    conv1x1-BN acts on them if the shape changes. It can be trained, but not run on a neuromorphic
    chip.
    """
    sketch = Sketch(input, lif or published_lif())
    source = _max_pool(sketch, sketch.conv("stem", input.name, width, 7, 2, bias=True))
    return _finished(sketch, _stages(sketch, source, width, _preact_block), classes, steps)


def _max_pool(sketch: Sketch, source: str) -> str:
    return sketch.add("stem_pool", nn.MaxPool2d(3, 2, 1), source)


def _stages(
    sketch: Sketch,
    source: str,
    width: int,
    add_block: Callable[[Sketch, str, str, int, int], str],
) -> str:
    for stage, count in enumerate(_BLOCKS, start=1):
        for block in range(1, count + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            name = f"s{stage}b{block}"
            source = add_block(sketch, name, source, width << (stage - 1), stride)
    return source


def _sew_block(sketch: Sketch, name: str, source: str, channels: int, stride: int) -> str:
    out = sketch.conv(f"{name}_conv1", source, channels, stride=stride, bias=True)
    out = sketch.neurons(f"{name}_lif1", out)
    out = sketch.conv(f"{name}_conv2", out, channels, bias=True)
    out = sketch.neurons(f"{name}_lif2", out)
    if sketch.shapes[source] != sketch.shapes[out]:
        source = sketch.conv(f"{name}_skip", source, channels, 1, stride, bias=True)
        source = sketch.neurons(f"{name}_skip_lif", source)
    return sketch.add(f"{name}_sum", nn.Identity(), out, source)


def _preact_block(sketch: Sketch, name: str, source: str, channels: int, stride: int) -> str:
    out = sketch.neurons(f"{name}_lif1", source)
    out = sketch.conv(f"{name}_conv1", out, channels, stride=stride, bias=True)
    out = sketch.neurons(f"{name}_lif2", out)
    out = sketch.conv(f"{name}_conv2", out, channels, bias=True)
    if sketch.shapes[source] != sketch.shapes[out]:
        source = sketch.conv(f"{name}_skip", source, channels, 1, stride, bias=True)
    return sketch.add(f"{name}_sum", nn.Identity(), out, source)


def _finished(sketch: Sketch, source: str, classes: int, steps: int) -> SpikingNetwork:
    sketch.linear("readout", sketch.global_average("average", source), classes)
    for node in sketch.nodes:
        if isinstance(node.op, nn.Conv2d):
            nn.init.kaiming_normal_(node.op.weight, mode="fan_out", nonlinearity="relu")
    return sketch.network(steps)
