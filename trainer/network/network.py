"""`SpikingNetwork`: ordinary PyTorch layers and LIF neurons as one graph, run for T steps.

With `net.train()` a network is an ordinary module whose scores are differentiable by its `rule`:

    loss = cross_entropy(net(x), y)
    (loss * net.gradient_scale).backward()    # 1/T for rate-based rules; log the unscaled loss

Internally, activations are (K, B, ...) for K steps at once, or (1, B, ...) if they are constant
over
the steps: layers before the first neurons are then computed only once.
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

    Scores (B, N) are the mean over time of the last layer: of its spikes if it is an `LIF` (spike
    counts divided by T), of its outputs if it is a linear layer; of an `LI`, the last membrane.

    Attributes:
        input: shape, coding and scale of the input; nodes refer to it as `input.name`.
        nodes: in topological order.
        steps: T.
        rule: the gradient computed in training mode; may be changed at any time.
        shapes: of the input and of every layer's output, without time and batch.

    Raises:
        InputError: names clash, an input is unknown, shapes do not fit, or a layer has an option
            that is not supported in spiking networks.
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
        """Factor by which to multiply a loss before `backward()`."""
        return self.rule.gradient_scale(self.steps)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers, in order of computation."""
        return tuple(node.name for node in self.nodes)

    def parameters_of(self, layer: str) -> list[Tensor]:
        """Parameters of a layer."""
        return list(self.layers[layer].parameters())

    def weight_parameters(self) -> list[Tensor]:
        """Parameters subject to weight decay: the weights of convolutions and linear layers."""
        return [op.weight for op in self.layers.values() if isinstance(op, Map)]

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, N) of x (B, *shape) or (T, B, *shape); differentiable in training mode.

        Raises:
            InputError: x has another shape, or values that the declared input does not accept:
                out of range, or fractional for a spike input.
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
        """Run the spiking network in training mode without gradients; return scores and record."""
        return passes.spiking_pass(self, x)

    def rate_pass(self, x: Tensor, record: PassRecord) -> tuple[Tensor, PassRecord]:
        """Make the scores and rates of `record` differentiable: run the layers on mean inputs."""
        return passes.rate_pass(self, x, record)

    def inference(self, x: Tensor) -> Tensor:
        """Scores (B, N) of the spiking network with running statistics."""
        return passes.inference(self, x)

    def time_major(self, x: Tensor) -> Tensor:
        """(B, *shape) as (1, B, *shape); (T, B, *shape) unchanged."""
        return time_major(self.input, self.steps, x)
