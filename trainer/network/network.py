"""`SpikingNetwork`: ordinary PyTorch layers and LIF neurons as one graph, run for T steps.

With `net.train()` a network is an ordinary module whose scores are differentiable by its `rule`:

    loss = cross_entropy(net(x), y)
    (loss * net.gradient_scale).backward()    # 1/T for rate-based rules; log the unscaled loss

Rate-based training runs the *spiking pass* without gradients, then the *rate pass* on the mean
input with gradients. Its gradients of scores and rates equal those of backpropagation through time
under the independence assumptions of the method; their memory does not grow with T. A spiking pass
in other arithmetic can be used instead: the rate pass needs only its `PassRecord`.

Internally, activations are (K, B, ...) for K steps at once, or (1, B, ...) if they are constant
over the steps: layers before the first neurons are then computed only once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from spikeport.checks import choice, texts
from spikeport.network import Input
from spikeport.trainer.network.graph import Node, check_nodes, shifted_nodes, stateless_nodes, walk
from spikeport.trainer.network.input_check import check_input, time_major
from spikeport.trainer.network.layers import Map
from spikeport.trainer.network.operations import map_with_value, stateless, with_value
from spikeport.trainer.network.passes import PassRecord, Training, apply_stateless, integrate
from spikeport.trainer.neurons import LI, LIF, Activation, Neurons, rate_rule
from spikeport.trainer.neurons.batch_norm import rate_norm
from spikeport.trainer.rules import GradientRule

Apply = Callable[[Node, Tensor, int], Tensor]
"""(layer, summed input (K or 1, B, ...), number of steps it covers) -> output."""


class SpikingNetwork(nn.Module):
    """A graph of layers run for T steps.

    Scores (B, N) are the mean over time of the last layer: of its spikes if it is an `LIF` (spike
    counts divided by T), of its outputs if it is a linear layer; of an `LI`, the last membrane.

    Attributes:
        input: shape, coding and scale of the input; nodes refer to it as `input.name`.
        nodes: in topological order.
        steps: T.
        rule: the gradient computed in training mode; may be changed at any time.
        provenance: where the network comes from, as text by name; part of its checkpoints, and of
            everything made of it.
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
        provenance: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.input = input
        self.nodes = tuple(nodes)
        self.steps = steps
        self.rule = choice("network: rule", GradientRule, rule)
        self.provenance = dict(provenance or {})
        texts("network: provenance", self.provenance)
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
    def is_ann(self) -> bool:
        """Whether it has activations instead of neurons: one step, trained by backpropagation."""
        return any(isinstance(node.op, Activation) for node in self.nodes)

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
        if self.rule.through_time or self.is_ann:
            layers = Training(self.rule, self.steps)
            scores = run(self, self.time_major(x), layers)
            return scores, layers.record(scores.detach())
        _, record = self.spiking_pass(x)
        return self.rate_pass(x, record)

    @torch.no_grad()
    def spiking_pass(self, x: Tensor) -> tuple[Tensor, PassRecord]:
        """Run the spiking network in training mode without gradients; return scores and record.

        Updates running statistics.
        """
        layers = Training(self.rule, self.steps)
        scores = run(self, self.time_major(x), layers)
        return scores, layers.record(scores)

    def rate_pass(self, x: Tensor, record: PassRecord) -> tuple[Tensor, PassRecord]:
        """Make the scores and rates of `record` differentiable: run the layers on mean inputs.

        Scores get the gradient of `rate_scores`. A linear layer applied to mean spikes gives the
        mean of its outputs: if the spiking pass has kept that mean, it is not computed again.
        """
        shifted = shifted_nodes(self.nodes) if self.rule.single_step else ()
        sums = {name: mean for name, mean in record.sums.items() if name not in shifted}
        scores, values = _rate_values(self, x, record, sums)
        rates, maxima = (
            {name: values[name] for name in part} for part in (record.rates, record.maxima)
        )
        differentiable = replace(record, rates=rates, maxima=maxima, sums={})
        return with_value(scores, record.scores), differentiable

    @torch.no_grad()
    def inference(self, x: Tensor) -> Tensor:
        """Scores (B, N) of the spiking network with running statistics."""
        neurons: dict[str, Neurons] = {}
        membranes: dict[str, Tensor] = {}

        def apply(node: Node, x: Tensor, steps: int) -> Tensor:
            if isinstance(node.op, LIF):
                if node.name not in neurons:
                    neurons[node.name] = Neurons(node.op, self.steps, record=False)
                return neurons[node.name].advance(x, steps)
            if isinstance(node.op, LI):
                return integrate(node, x, steps, membranes)
            return apply_stateless(node, x)

        return run(self, self.time_major(x), apply)

    def time_major(self, x: Tensor) -> Tensor:
        """(B, *shape) as (1, B, *shape); (T, B, *shape) unchanged."""
        return time_major(self.input, self.steps, x)


def run(network: SpikingNetwork, x: Tensor, apply: Apply) -> Tensor:
    """Scores (B, N) of x (T or 1, B, ...), all at once or step by step as the rule requires."""
    total, output = network.steps, network.output
    span = 1 if network.rule.single_step else total
    before = stateless_nodes(network.nodes) if len(x) == 1 else ()
    known = {network.input.name, *(node.name for node in before)}
    downstream = [node for node in network.nodes if node.name not in known]
    needed = {name for node in downstream for name in node.inputs} | {output}
    constant = walk(
        before,
        {network.input.name: x},
        lambda node, value: apply(node, value, total),
        known & needed,
    )
    scores: Tensor | None = None
    for begin in range(0, total, span):
        given = constant if len(x) == 1 else {network.input.name: x[begin : begin + span]}
        out = walk(downstream, given, lambda node, value: apply(node, value, span), {output})[
            output
        ]
        if isinstance(network.nodes[-1].op, LI):
            scores = out[-1]
        else:
            mean = out.mean(0) * (span / total)
            scores = mean if scores is None else scores + mean
    assert scores is not None  # there is at least one step
    return scores.flatten(1)


def rate_scores(
    network: SpikingNetwork, x: Tensor, record: PassRecord
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Run the layers once on mean inputs (B, ...): differentiable scores (B, N), rates and maxima.

    The scores equal those of the spiking pass up to rounding, unless batch norms with varying
    statistics (single-step mode) or a leaky `LI` follow the last neurons; rates and maxima are
    those of the record.
    """
    return _rate_values(network, x, record, {})


def _rate_values(
    network: SpikingNetwork, x: Tensor, record: PassRecord, sums: Mapping[str, Tensor]
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """`rate_scores`, reusing the layer outputs in `sums`."""

    def apply(node: Node, c: Tensor) -> Tensor:
        match node.op:
            case LIF():
                return rate_rule(c, record.rates[node.name], record.gains[node.name])
            case LI():
                return c * sum(node.op.decay**k for k in range(network.steps))
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                return rate_norm(node.op, c, record.norms[node.name])
            case nn.Dropout() | nn.Dropout2d():
                return c * record.masks[node.name]
            case nn.MaxPool2d():
                # the maximum of rates is not the rate of maxima
                return with_value(node.op(c), record.maxima[node.name])
        if isinstance(node.op, Map) and node.name in sums:
            return map_with_value(node.op, c, sums[node.name])
        return stateless(node.op, c)

    x = network.time_major(x)
    mean = x[-1] if network.rule is GradientRule.RATE_S_PUBLISHED else x.mean(0)
    wanted = {network.output, *record.rates, *record.maxima}
    values = walk(network.nodes, {network.input.name: mean}, apply, wanted)
    return values[network.output].flatten(1), values
