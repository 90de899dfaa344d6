"""`SpikingNetwork`: ordinary PyTorch layers and LIF neurons as one graph, run for T steps.

With `net.train()` a network is an ordinary module whose scores are differentiable by its `rule`:

    loss = cross_entropy(net(x), y)
    (loss * net.gradient_scale).backward()    # 1/T for rate-based rules; the logged loss is whole

Inside, activations are (K, B, ...) for K steps at once, or (1, B, ...) where they do not change
over the steps: what stands before the first neurons is then computed once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from spikeport.checks import choice
from spikeport.network import Input
from spikeport.trainer.network import passes
from spikeport.trainer.network.graph import Node as Node
from spikeport.trainer.network.graph import check_nodes
from spikeport.trainer.network.input_check import check_input, time_major
from spikeport.trainer.network.layers import Map
from spikeport.trainer.network.passes import PassRecord as PassRecord
from spikeport.trainer.rules import GradientRule


class SpikingNetwork(nn.Module):
    """A graph of layers run for T steps.

    Scores (B, N) are the time mean of the last layer: of its spikes if it is an `LIF` (spike
    counts over T), of its outputs if it is a linear map; if it is an `LI`, its last membrane.

    Attributes:
        input: shape, coding and scale of the input; nodes name it as `input.name`.
        nodes: in an order in which each one's inputs come first.
        steps: T.
        rule: which gradient training mode gives; may be changed at any time.
        shapes: of the input and of every layer's output, without time and batch.

    Raises:
        InputError: names clash, an input is unknown, shapes do not fit, or a layer has an option
            that no spiking network can have.
    """

    def __init__(
        self,
        input: Input,
        nodes: Sequence[Node],
        steps: int,
        rule: GradientRule = GradientRule.RATE_M,
    ) -> None:
        super().__init__()
        self.input = input
        self.nodes = tuple(nodes)
        self.steps = steps
        self.rule = choice("network: rule", GradientRule, rule)
        self.shapes = check_nodes(input, nodes, steps)
        self.layers = nn.ModuleDict({node.name: node.op for node in nodes})

    @property
    def output(self) -> str:
        """Name of the last layer."""
        return self.nodes[-1].name

    @property
    def classes(self) -> int:
        """N, the number of outputs with scores."""
        return math.prod(self.shapes[self.output])

    @property
    def gradient_scale(self) -> float:
        """What to multiply a loss by before `backward()`."""
        return self.rule.gradient_scale(self.steps)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Layers, in the order of computation."""
        return tuple(node.name for node in self.nodes)

    def parameters_of(self, layer: str) -> list[Tensor]:
        """Parameters of a layer."""
        return list(self.layers[layer].parameters())

    def weight_parameters(self) -> list[Tensor]:
        """What weight decay acts on: the weights of convolutions and linear layers."""
        return [op.weight for op in self.layers.values() if isinstance(op, Map)]

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, N) of x (B, *shape) or (T, B, *shape); differentiable in training mode.

        Raises:
            InputError: x has another shape, or values that the declared input does not accept:
                beyond its range, or fractions for an input of spikes.
        """
        check_input(self.input, self.steps, x)
        return self.training_pass(x)[0] if self.training else self.inference(x)

    def training_pass(self, x: Tensor) -> tuple[Tensor, PassRecord]:
        """Scores (B, N) and the record of the pass; scores, rates and maxima are differentiable.

        Their gradients are those of the rule.
        """
        if self.rule.through_time:
            return passes.through_time_pass(self, x)
        _, record = self.spiking_pass(x)
        return self.rate_pass(x, record)

    def spiking_pass(self, x: Tensor) -> tuple[Tensor, PassRecord]:
        """Scores (B, N) of the spiking network in training, without gradients, and its record."""
        return passes.spiking_pass(self, x)

    def rate_pass(self, x: Tensor, record: PassRecord) -> tuple[Tensor, PassRecord]:
        """The scores of `record`, and itself, differentiable: the layers once, on mean inputs."""
        return passes.rate_pass(self, x, record)

    def inference(self, x: Tensor) -> Tensor:
        """Scores (B, N) of the spiking network with running statistics."""
        return passes.inference(self, x)

    def time_major(self, x: Tensor) -> Tensor:
        """(B, *shape) as (1, B, *shape); (T, B, *shape) as it is."""
        return time_major(self.input, self.steps, x)
