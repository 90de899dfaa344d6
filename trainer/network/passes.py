"""What layers do and store during a pass, and the record that a spiking pass returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from spikeport.trainer.network.graph import Node
from spikeport.trainer.network.layers import Map
from spikeport.trainer.network.operations import mean_over_steps, over_time
from spikeport.trainer.neurons import LI, LIF, Neurons
from spikeport.trainer.neurons.batch_norm import SequenceNorm, Statistics, normalize
from spikeport.trainer.neurons.lif import through_time
from spikeport.trainer.rules import GradientRule

_KEEPING = (GradientRule.RATE_M, GradientRule.RATE_S)
"""Rules whose rate pass applies linear layers to the mean of what the spiking pass applies them to.
"""


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


class Training:
    """The state of every layer during a training sample."""

    def __init__(self, rule: GradientRule, steps: int) -> None:
        self._rule, self._steps = rule, steps
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
        if isinstance(op, Map) and self._rule in _KEEPING and exact:
            self._add(self._sums, name, y, steps)
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
        share = steps / self._steps
        part = mean_over_steps(y)
        if name in means:
            means[name] = means[name].add_(part, alpha=share)
        else:
            means[name] = part if share == 1 else part * share
