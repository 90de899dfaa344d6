"""`Sketch`: builds a network layer by layer."""

from __future__ import annotations

import copy

from torch import nn

from spikeport.errors import TrainingError
from spikeport.network import Input, Reset, Shape
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.network.layers import Op, output_shape
from spikeport.trainer.neurons import LI, LIF, Activation, QuantizedReLU


def published_lif() -> LIF:
    """The neuron of the paper: lambda 0.2, theta = 1, soft and detached reset."""
    return LIF(0.2, 1.0, Reset.SUBTRACT, strict=False)


def with_readout(network: SpikingNetwork, neurons: LIF | LI) -> SpikingNetwork:
    """Append neurons to the last layer of a network; the other layers are shared.

    Scores are then spike counts over T (`LIF`) or the last membrane (`LI`), not a mean over time.
    """
    node = Node("readout_neurons", (network.output,), neurons)
    nodes = [*network.nodes, node]
    read = SpikingNetwork(network.input, nodes, network.steps, network.rule)
    return read.train(network.training)


class Sketch:
    """The layers so far; each method adds some and returns the name of the last one.

    Raises:
        InputError: a layer does not fit the shape of its input.
    """

    def __init__(self, input: Input, lif: LIF | Activation) -> None:
        self.input = input
        self.lif = lif
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {input.name: input.shape}

    def add(self, name: str, op: Op, *sources: str) -> str:
        """Add any layer."""
        self.shapes[name] = output_shape(name, op, self.shapes[sources[0]])
        self.nodes.append(Node(name, sources, op))
        return name

    def norm(self, name: str, source: str) -> str:
        """Add a batch norm."""
        channels, *image = self.shapes[source]
        return self.add(name, (nn.BatchNorm2d if image else nn.BatchNorm1d)(channels), source)

    def conv(
        self,
        name: str,
        source: str,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        bias: bool = False,
    ) -> str:
        """Add a convolution with padding kernel // 2, and its batch norm `name`_norm."""
        conv = self.plain_conv(name, source, channels, kernel, stride, bias=bias)
        return self.norm(f"{name}_norm", conv)

    def plain_conv(
        self,
        name: str,
        source: str,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        bias: bool = False,
    ) -> str:
        """Add a convolution with padding kernel // 2, without batch norm."""
        conv = nn.Conv2d(
            self.image(source)[0], channels, kernel, stride, padding=kernel // 2, bias=bias
        )
        return self.add(name, conv, source)

    def neurons(self, name: str, *sources: str) -> str:
        """Add neurons, or the activation of an ANN, on the sum of `sources`."""
        trained = isinstance(self.lif, QuantizedReLU)  # each layer has a threshold of its own
        return self.add(name, copy.deepcopy(self.lif) if trained else self.lif, *sources)

    def global_average(self, name: str, source: str) -> str:
        """Add the mean of each channel."""
        _, height, width = self.image(source)
        return self.add(name, nn.AvgPool2d((height, width)), source)

    def linear(self, name: str, source: str, size: int) -> str:
        """Add a linear layer with bias."""
        inputs = 1
        for side in self.shapes[source]:
            inputs *= side
        return self.add(name, nn.Linear(inputs, size), source)

    def image(self, source: str) -> Shape:
        """The shape (C, H, W) of `source`.

        Raises:
            InputError: it has another number of axes.
        """
        shape = self.shapes[source]
        if len(shape) != 3:
            raise TrainingError(
                f"input '{source}': shape {shape}, a convolutional network needs (C, H, W)"
            )
        return shape

    def network(self, steps: int) -> SpikingNetwork:
        """Build the network of the layers added so far."""
        return SpikingNetwork(self.input, self.nodes, steps)
