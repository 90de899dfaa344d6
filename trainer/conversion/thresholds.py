"""Thresholds of an ANN that is converted: from its activations, or by search on real spikes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeport.errors import ConversionError
from spikeport.trainer.conversion.graph import activation_values, activations, folded
from spikeport.trainer.conversion.spiking import if_neurons
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.network.graph import walk
from spikeport.trainer.network.passes import apply_stateless
from spikeport.trainer.neurons import Activation, Neurons, QuantizedReLU

SHARES = tuple(n / 20 for n in range(6, 27))
"""Candidates of a search, as shares of the threshold of the ANN: 0.3 to 1.3."""


@torch.no_grad()
def activation_percentiles(
    network: SpikingNetwork, batches: Sequence[Tensor], percentile: float
) -> dict[str, float]:
    """A percentile of the positive activations of each layer; 100 is the maximum.

    Over all samples, channels and positions of a batch, then the largest of the batches: the
    99.9th of Rueckauer et al., Frontiers in Neuroscience 11, 2017.

    Raises:
        InputError: an activation is 0 for all samples.
    """
    found = dict.fromkeys(activations(network), 0.0)
    for x in batches:
        for name, value in activation_values(network, x).items():
            positive = value[value > 0]
            if len(positive):
                rank = max(1, round(len(positive) * percentile / 100))
                found[name] = max(found[name], float(positive.kthvalue(rank).values))
    for name, largest in found.items():
        if not largest > 0:
            raise ConversionError(
                f"layer '{name}': is 0 for all {sum(map(len, batches))} calibration samples, so "
                "its threshold is unknown; use more samples, or train the ANN"
            )
    return found


@dataclass(frozen=True, slots=True)
class TunedThreshold:
    """The threshold that a search chose for a layer.

    Attributes:
        before: the threshold of the ANN.
        after: the chosen one.
        error_before, error: rms of theta N / T - a with both.
    """

    layer: str
    before: float
    after: float
    error_before: float
    error: float


@torch.no_grad()
def search_thresholds(
    network: SpikingNetwork,
    x: Tensor,
    steps: int,
    *,
    initial: float = 0.5,
    shares: Sequence[float] = SHARES,
    progress: Callable[[TunedThreshold], None] = lambda tuned: None,
) -> tuple[TunedThreshold, ...]:
    """The best thresholds for T steps, layer by layer, each with the spikes of those before it.

    Chooses the share of the ANN's threshold that minimises the mean over neurons and samples of
    (theta N / T - a)^2, a the activation of the ANN for the mean input that the neuron receives,
    without its quantization if T is more than its levels. This sees clipping, quantization and
    deviation together. The activation in the ANN itself would be another reference; but it differs
    by the errors of all layers before, which favours thresholds that are too low, since smaller
    outputs are nearer to anything that they are not correlated with.

    Args:
        network: an ANN with quantized activations.
        x: calibration samples (B, *shape).
        initial: v_0 as a share of theta.
        shares: candidates; 1 is always among them.
    """
    network = folded(network)
    found: list[TunedThreshold] = []

    def apply(node: Node, value: Tensor) -> Tensor:
        if not isinstance(node.op, Activation):
            return apply_stateless(node, value)
        if not isinstance(node.op, QuantizedReLU):
            raise ConversionError(f"layer '{node.name}': is a ReLU, which has no threshold")
        theta = max(float(node.op.v_threshold.detach()), QuantizedReLU.SMALLEST)
        levels = node.op.levels
        exact = QuantizedReLU(None if levels is None or steps > levels else levels, theta)
        wanted: Tensor = exact(value.mean(0))
        errors = {
            share: _error(_spikes(value, share * theta, steps, initial), share * theta, wanted)
            for share in sorted({*shares, 1.0})
        }
        best = min(errors, key=lambda share: (errors[share], abs(share - 1)))
        tuned = TunedThreshold(node.name, theta, best * theta, errors[1.0], errors[best])
        found.append(tuned)
        progress(tuned)
        return _spikes(value, tuned.after, steps, initial).mul_(tuned.after)

    walk(network.nodes, {network.input.name: x[None]}, apply, ())
    return tuple(found)


def _spikes(x: Tensor, theta: float, steps: int, initial: float) -> Tensor:
    """(T, B, ...) of a current (T or 1, B, ...)."""
    return Neurons(if_neurons(theta, initial * theta), steps, record=False).advance(x, steps)


def _error(spikes: Tensor, theta: float, wanted: Tensor) -> float:
    """Rms of theta N / T - a."""
    rate = spikes.mean(0).mul_(theta)
    return float((rate - wanted).square_().mean().sqrt())


def chosen(tuned: Sequence[TunedThreshold]) -> Mapping[str, float]:
    """The thresholds of a search by layer."""
    return {each.layer: each.after for each in tuned}
