"""The passes through a spiking network: spiking, rate, BPTT, inference.

Rate-based training runs the *spiking pass* without gradients, then the *rate pass* on the mean
input with gradients. Its gradients of scores and rates equal those of backpropagation through time
under the independence assumptions of the method; their memory does not grow with T. A spiking pass
in other arithmetic can be used instead: the rate pass needs only its `PassRecord`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from spikeport.trainer.network.graph import Node, stateless_nodes, walk
from spikeport.trainer.network.layers import Map, map_with_value, over_time, stateless, with_value
from spikeport.trainer.neurons import LI, LIF, Neurons, rate_rule
from spikeport.trainer.neurons.batch_norm import SequenceNorm, Statistics, normalize, rate_norm
from spikeport.trainer.neurons.steps import through_time
from spikeport.trainer.rules import GradientRule

if TYPE_CHECKING:
    from spikeport.trainer.network.network import SpikingNetwork

Apply = Callable[[Node, Tensor, int], Tensor]
"""(layer, summed input (K or 1, B, ...), number of steps it covers) -> output."""


@dataclass(frozen=True, slots=True, eq=False)
class PassRecord:
    """What a spiking pass leaves for the rate pass, by layer name.

    In the record of a complete training pass, rates and maxima are differentiable by its rule.

    Attributes:
        scores: of the spiking network, (B, N).
        rates: r of the LIF layers, (B, ...).
        gains: g of the LIF layers, (B, ...); empty if gradients went through time.
        norms: of the batch norms.
        masks: of the dropouts, (B, ...), one for all steps.
        maxima: means over time of the outputs of max-pools, (B, ...).
        sums: means over time of the outputs of convolutions and linear layers, (B, ...), if kept.
        updates: neuron-steps, over all samples, in which the state could change; only for layers
            whose pass counts them.
    """

    scores: Tensor
    rates: Mapping[str, Tensor]
    gains: Mapping[str, Tensor]
    norms: Mapping[str, Statistics]
    masks: Mapping[str, Tensor]
    maxima: Mapping[str, Tensor]
    updates: Mapping[str, int] = field(default_factory=dict)
    sums: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def firing_rate(self) -> float:
        """Spikes per neuron and step over all LIF layers."""
        spikes = sum(float(rate.detach().sum()) for rate in self.rates.values())
        return spikes / max(1, sum(rate.numel() for rate in self.rates.values()))

    def finite(self, name: str) -> bool:
        """Whether all recorded values of a layer are finite."""
        seen = [self.gains[name]] if name in self.gains else []
        if name in self.norms:
            seen += [self.norms[name].mean, self.norms[name].scale]
        return all(bool(torch.isfinite(values).all()) for values in seen)


@torch.no_grad()
def spiking_pass(network: SpikingNetwork, x: Tensor) -> tuple[Tensor, PassRecord]:
    """Run the spiking network; return scores (B, N) and the record; updates running statistics."""
    layers = Training(network)
    scores = run(network, network.time_major(x), layers)
    return scores, layers.record(scores)


def through_time_pass(network: SpikingNetwork, x: Tensor) -> tuple[Tensor, PassRecord]:
    """Like `spiking_pass`, but differentiable by backpropagation through time."""
    layers = Training(network)
    scores = run(network, network.time_major(x), layers)
    return scores, layers.record(scores.detach())


def rate_pass(network: SpikingNetwork, x: Tensor, record: PassRecord) -> tuple[Tensor, PassRecord]:
    """The scores of the spiking pass, (B, N), with the gradient of `rate_scores`; and `record`
    with rates and maxima made differentiable.

    A linear layer applied to mean spikes gives the mean of its outputs: if the spiking pass has
    kept that mean, it is not computed again.
    """
    scores, values = _rate_values(network, x, record, record.sums)
    rates, maxima = (
        {name: values[name] for name in part} for part in (record.rates, record.maxima)
    )
    return with_value(scores, record.scores), replace(record, rates=rates, maxima=maxima)


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


@torch.no_grad()
def inference(network: SpikingNetwork, x: Tensor) -> Tensor:
    """Scores (B, N) with running statistics."""
    neurons: dict[str, Neurons] = {}
    membranes: dict[str, Tensor] = {}

    def apply(node: Node, x: Tensor, steps: int) -> Tensor:
        if isinstance(node.op, LIF):
            if node.name not in neurons:
                neurons[node.name] = Neurons(node.op, network.steps, record=False)
            return neurons[node.name].advance(x, steps)
        if isinstance(node.op, LI):
            return integrate(node, x, steps, membranes)
        return apply_stateless(node, x)

    return run(network, network.time_major(x), apply)


def apply_stateless(node: Node, x: Tensor) -> Tensor:
    """Apply a layer without neurons as in inference, (K, B, ...)."""
    match node.op:
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return normalize(node.op, x)
        case nn.Dropout() | nn.Dropout2d():
            return x
    return over_time(node.op, x)


def integrate(node: Node, x: Tensor, steps: int, membranes: dict[str, Tensor]) -> Tensor:
    """v (1, B, ...) of an `LI` after `steps` more steps; stored in `membranes`."""
    assert isinstance(node.op, LI)
    v = membranes[node.name] = node.op.after(x, steps, membranes.get(node.name))
    return v[None]


def run(network: SpikingNetwork, x: Tensor, apply: Apply) -> Tensor:
    """Scores (B, N) of x (T or 1, B, ...), all at once or step by step as the rule requires."""
    total, output = network.steps, network.output
    span = 1 if network.rule.single_step else total
    before = stateless_nodes(network.nodes) if len(x) == 1 else ()
    known = {network.input.name, *(node.name for node in before)}
    behind = [node for node in network.nodes if node.name not in known]
    needed = {name for node in behind for name in node.inputs} | {output}
    constant = walk(
        before,
        {network.input.name: x},
        lambda node, value: apply(node, value, total),
        known & needed,
    )
    scores: Tensor | None = None
    for begin in range(0, total, span):
        given = constant if len(x) == 1 else {network.input.name: x[begin : begin + span]}
        out = walk(behind, given, lambda node, value: apply(node, value, span), {output})[output]
        if isinstance(network.nodes[-1].op, LI):
            scores = out[-1]
        else:
            mean = out.mean(0) * (span / total)
            scores = mean if scores is None else scores + mean
    assert scores is not None  # there is at least one step
    return scores.flatten(1)


class Training:
    """The state of every layer during a training sample."""

    def __init__(self, network: SpikingNetwork) -> None:
        self._rule, self._steps = network.rule, network.steps
        self._neurons: dict[str, Neurons] = {}
        self._membranes: dict[str, Tensor] = {}
        self._rates: dict[str, Tensor] = {}
        self._norms: dict[str, SequenceNorm] = {}
        self._masks: dict[str, Tensor] = {}
        self._maxima: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}

    def __call__(self, node: Node, x: Tensor, steps: int) -> Tensor:
        """Apply one layer to the next `steps` steps."""
        name, op = node.name, node.op
        match op:
            case LIF():
                if self._rule.through_time:
                    spikes, self._membranes[name] = through_time(
                        op, x, steps, self._membranes.get(name)
                    )
                    self._add(self._rates, name, spikes, steps)
                    return spikes
                if name not in self._neurons:
                    self._neurons[name] = Neurons(op, self._steps, record=True)
                return self._neurons[name].advance(x, steps)
            case LI():
                return integrate(node, x, steps, self._membranes)
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                if name not in self._norms:
                    self._norms[name] = SequenceNorm(op, self._steps, self._rule)
                return self._norms[name](x, steps)
            case nn.Dropout() | nn.Dropout2d():
                if name not in self._masks:
                    self._masks[name] = op(torch.ones_like(x[0]))
                return x * self._masks[name]
            case nn.MaxPool2d():
                y = over_time(op, x)
                self._add(self._maxima, name, y, steps)
                return y
        y = over_time(op, x)
        # in bfloat16 the mean of rounded sums would differ
        exact = not torch.is_autocast_enabled(x.device.type)
        if isinstance(op, Map) and self._rule is GradientRule.RATE_M and exact:
            self._sums[name] = y.mean(0)
        return y

    def record(self, scores: Tensor) -> PassRecord:
        """The record of the pass."""
        rates, gains = dict(self._rates), {}
        for name, layer in self._neurons.items():
            rates[name], gains[name] = layer.recorded()
        norms = {name: norm.recorded() for name, norm in self._norms.items()}
        return PassRecord(scores, rates, gains, norms, self._masks, self._maxima, sums=self._sums)

    def _add(self, means: dict[str, Tensor], name: str, y: Tensor, steps: int) -> None:
        """Add y (K or 1, B, ...), which covers `steps` steps, to a mean over time."""
        part = y.mean(0, dtype=torch.promote_types(y.dtype, torch.float32)) * (steps / self._steps)
        means[name] = means[name] + part if name in means else part
