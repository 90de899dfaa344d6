"""The time-shuffle test: accuracy when the temporal order of spikes is destroyed.

A network that computes with rates alone should not depend on the order of a neuron's spikes.
Inference is run with the spikes of every LIF layer randomly permuted over the T steps before they
reach the next layer, so that counts are preserved but times are not. The input is not shuffled. Two
variants:

- by neuron: every neuron of every sample has its own permutation, which also destroys synchrony;
- by layer: all neurons of a layer share one permutation, drawn separately for each sample.

Published: 78.32 to 77.72 % (CIFAR-100, ResNet-18, T = 4) and 76.50 to 74.69 % (CIFAR10-DVS), Yu et
al., NeurIPS 2024, arXiv 2410.11488. The paper does not say which of the two variants was used.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeport.parity import Accuracy, accuracy
from spikeport.trainer.measure.evaluation import samples_at_once
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.network.network import run
from spikeport.trainer.network.passes import apply_stateless, integrate
from spikeport.trainer.neurons import LI, LIF, Neurons
from spikeport.trainer.rules import GradientRule


@dataclass(frozen=True, slots=True)
class ShuffleTest:
    """Accuracies of inference with unshuffled spikes and with spikes shuffled over time.

    Attributes:
        whole: without shuffling.
        by_neuron, by_layer: see the module's docstring.
    """

    whole: Accuracy
    by_neuron: Accuracy
    by_layer: Accuracy


def shuffle_test(network: SpikingNetwork, x: Tensor, y: Tensor, seed: int = 0) -> ShuffleTest:
    """Classify samples (B, *shape) or (T, B, *shape) with classes y (B,) in all three ways.

    Memory does not grow with B.

    Raises:
        InputError: samples do not fit the network.
    """
    timed = network.time_major(x)
    generator = torch.Generator().manual_seed(seed)
    hits = [0, 0, 0]
    for part in torch.split(torch.arange(len(y)), samples_at_once(network)):
        given = timed[:, part] if len(timed) > 1 else timed[0, part]
        scores = (
            network.inference(given),
            shuffled_scores(network, given, generator),
            shuffled_scores(network, given, generator, together=True),
        )
        hits = [n + int((s.argmax(1) == y[part]).sum()) for n, s in zip(hits, scores, strict=True)]
    return ShuffleTest(*(accuracy(count, len(y)) for count in hits))


@torch.no_grad()
def shuffled_scores(
    network: SpikingNetwork, x: Tensor, generator: torch.Generator, *, together: bool = False
) -> Tensor:
    """Scores (B, N) of inference with spikes shuffled over time.

    Args:
        together: shuffle by layer, otherwise by neuron.
    """
    network = copy.deepcopy(network).eval()
    network.rule = GradientRule.RATE_M  # all steps of a layer at once

    def apply(node: Node, given: Tensor, steps: int) -> Tensor:
        match node.op:
            case LIF():
                spikes = Neurons(node.op, steps, record=False).advance(given, steps)
                return _shuffled(spikes, generator, together)
            case LI():
                return integrate(node, given, steps, {})
        return apply_stateless(node, given)

    return run(network, network.time_major(x), apply)


def _shuffled(spikes: Tensor, generator: torch.Generator, together: bool) -> Tensor:
    """Spikes (T, B, ...) with their steps randomly permuted."""
    shape = spikes.shape
    drawn = (*shape[:2], *[1] * (len(shape) - 2)) if together else shape
    order = torch.rand(drawn, generator=generator).argsort(0).to(spikes.device)
    return spikes.gather(0, order.expand(shape))
