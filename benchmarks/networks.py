"""The benchmark networks, as `DeployedNetwork`s with seeded random weights.

All neurons are LIF: v <- v - v/4 + W s, a spike if v > vth, then v <- 0. Thresholds are set by
`calibrate`, so that every population fires at about the rate of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spikeport.network import (
    Connection,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Shape,
    SumPool2d,
)

DECAY_V = 1024
SEED = 20241123
INPUT = "input"
_VGG = ((64,), (128, 256), (512, 512), (512,), (512, 512))
"""Channels of VGG-11's convolutions for 32x32 images; with 2x2 pools between the groups and a
global sum per channel at the end."""
_RESNET = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and first stride of the four stages of ResNet-18, with two blocks each."""


@dataclass(frozen=True, slots=True)
class Case:
    """A benchmark network.

    Attributes:
        samples: B of one timed run.
        quick: B with --quick.
    """

    title: str
    build: Callable[[], DeployedNetwork]
    samples: int
    quick: int


def dense_chain(*sizes: int, steps: int) -> DeployedNetwork:
    """Fully connected layers of `sizes` neurons, the first being the input."""
    sketch = Sketch()
    source = sketch.input((sizes[0],))
    for depth, size in enumerate(sizes[1:]):
        source = sketch.dense(source, f"layer{depth:02d}", size)
    return sketch.network(source, steps)


def recurrent(inputs: int, hidden: int, outputs: int, steps: int) -> DeployedNetwork:
    """A hidden layer with feedback to itself, delayed by one step."""
    sketch = Sketch()
    source = sketch.dense(sketch.input((inputs,)), "hidden", hidden)
    sketch.connections.append(
        Dense(source, source, sketch.weight(hidden, hidden), delay=1, name="hidden_to_itself")
    )
    return sketch.network(sketch.dense(source, "output", outputs), steps)


def vgg11(steps: int) -> DeployedNetwork:
    """VGG-11 on 32x32x3; each pool is part of the connection after it."""
    sketch = Sketch()
    source = sketch.input((3, 32, 32))
    halved = SumPool2d((2, 2), (2, 2))
    for group, widths in enumerate(_VGG):
        for place, channels in enumerate(widths):
            pool = halved if group and not place else None
            source = sketch.conv(source, f"conv{group}_{place}", channels, pool=pool)
    return sketch.network(sketch.dense(source, "output", 10, pool=halved), steps)


def resnet18(steps: int) -> DeployedNetwork:
    """ResNet-18 on 32x32x3: two convolutions and a shortcut per block."""
    sketch = Sketch()
    source = sketch.conv(sketch.input((3, 32, 32)), "stem", 64)
    for stage, (channels, first) in enumerate(_RESNET):
        for block, stride in enumerate((first, 1)):
            name = f"stage{stage}_block{block}"
            middle = sketch.conv(source, f"{name}_a", channels, stride=stride)
            end = sketch.conv(middle, f"{name}_b", channels)
            sketch.shortcut(source, end, stride)
            source = end
    return sketch.network(sketch.dense(source, "output", 10, pool=SumPool2d((4, 4), (4, 4))), steps)


def nmnist_cnn(steps: int) -> DeployedNetwork:
    """The network of the NIR paper for N-MNIST: three convolutions, two pools, two dense layers."""
    sketch = Sketch()
    halved = SumPool2d((2, 2), (2, 2))
    source = sketch.conv(sketch.input((2, 34, 34)), "conv0", 16, side=5, stride=2)
    source = sketch.conv(source, "conv1", 16)
    source = sketch.conv(source, "conv2", 8, pool=halved)
    source = sketch.dense(source, "dense", 256, pool=halved)
    return sketch.network(sketch.dense(source, "output", 10), steps)


@dataclass
class Sketch:
    """A network under construction; thresholds are still 0."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(SEED))
    inputs: list[Input] = field(default_factory=list)
    populations: list[Population] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    def input(self, shape: Shape) -> str:
        """Add the input."""
        self.inputs.append(Input(INPUT, shape))
        return INPUT

    def dense(self, source: str, name: str, size: int, pool: SumPool2d | None = None) -> str:
        """Add a population that receives from every (pooled) neuron of `source`."""
        shape = self.shape(source)
        seen = int(np.prod(shape if pool is None else pool.output_shape(shape)))
        self.populations.append(Population(name, (size,), vth=0, decay_v=DECAY_V))
        self.connections.append(Dense(source, name, self.weight(size, seen), pool=pool))
        return name

    def conv(
        self,
        source: str,
        name: str,
        channels: int,
        *,
        side: int = 3,
        stride: int = 1,
        pool: SumPool2d | None = None,
    ) -> str:
        """Add a population after a convolution with padding 1."""
        shape = self.shape(source)
        part = Conv2d(
            source,
            name,
            self.weight(channels, shape[0], side, side),
            stride=(stride, stride),
            padding=(1, 1),
            pool=pool,
        )
        seen = shape if pool is None else pool.output_shape(shape)
        self.populations.append(Population(name, part.output_shape(seen), vth=0, decay_v=DECAY_V))
        self.connections.append(part)
        return name

    def shortcut(self, source: str, target: str, stride: int) -> None:
        """Connect two populations by a 1x1 convolution, or one to one if they have the same shape.

        One to one means 64 groups with a diagonal each, because Lava allows at most 127 groups.
        """
        before, after = self.shape(source)[0], self.shape(target)[0]
        if stride == 1:
            groups = min(before, 64)
            eye = np.eye(before // groups, dtype=np.int16)
            weight = np.tile(128 * eye, (groups, 1))[:, :, None, None]
        else:
            groups, weight = 1, self.weight(after, before, 1, 1)
        self.connections.append(
            Conv2d(
                source,
                target,
                weight,
                stride=(stride, stride),
                groups=groups,
                name=f"{source}_past_{target}",
            )
        )

    def weight(self, *shape: int) -> NDArray[np.int16]:
        """Even mantissas, normal with standard deviation 40."""
        drawn = np.rint(self.rng.standard_normal(shape, np.float32) * 20)
        return (2 * np.clip(drawn, -127, 127)).astype(np.int16)

    def shape(self, name: str) -> Shape:
        """Shape of the input or of a population."""
        parts: list[Input | Population] = [*self.inputs, *self.populations]
        return next(part.shape for part in parts if part.name == name)

    def network(self, output: str, steps: int) -> DeployedNetwork:
        """The network so far, read out by the spikes of `output`."""
        return DeployedNetwork(
            tuple(self.inputs),
            tuple(self.populations),
            tuple(self.connections),
            (Readout(output),),
            steps,
        )


def random_spikes(network: DeployedNetwork, samples: int, activity: float) -> NDArray[np.uint8]:
    """Independent input spikes of probability `activity`, (T, B, *shape)."""
    rng = np.random.default_rng(SEED + 1)
    shape = (network.steps, samples, *network.inputs[0].shape)
    return (rng.random(shape, np.float32) < activity).astype(np.uint8)


CASES = {
    "mlp": Case("784-512-10", lambda: dense_chain(784, 512, 10, steps=20), 256, 64),
    "wide": Case("784-8192-10", lambda: dense_chain(784, 8192, 10, steps=20), 64, 16),
    "deep": Case("20 x 128", lambda: dense_chain(*[128] * 21, steps=20), 256, 64),
    "recurrent": Case("700-256-20 rec.", lambda: recurrent(700, 256, 20, steps=100), 64, 16),
    "vgg11": Case("VGG-11", lambda: vgg11(steps=4), 16, 4),
    "resnet18": Case("ResNet-18", lambda: resnet18(steps=4), 16, 4),
}
