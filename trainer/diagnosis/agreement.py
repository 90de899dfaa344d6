"""Compare rate-based gradients with those of backpropagation through time, layer by layer."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spikeport.errors import TrainingError
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.network.layers import Map
from spikeport.trainer.rules import GradientRule

WHOLE = "all weights"
"""Name used for the whole network in the list of layers."""
STEPS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class GradientAgreement:
    """Comparison of two gradients of a layer's weights: rate-based and BPTT, in the same mode.

    Attributes:
        depth: position of the layer among those with weights, from 1; 0 for all weights together.
        steps: T.
        ratio: of their norms; the rate-based gradient is not divided by T.
    """

    layer: str
    depth: int
    steps: int
    cosine: float
    ratio: float


def agreement(
    network: SpikingNetwork, x: Tensor, y: Tensor, steps: Iterable[int] = STEPS
) -> tuple[GradientAgreement, ...]:
    """Compare rate-based gradients of the cross-entropy with those of BPTT, for several T.

    Args:
        x: (B, *shape), or (T, B, *shape), of which the first steps are used.
        y: classes (B,).

    Raises:
        InputError: x has fewer steps than requested.
    """
    single = network.rule.single_step
    rules = (
        (GradientRule.RATE_S, GradientRule.BPTT_S)
        if single
        else (GradientRule.RATE_M, GradientRule.BPTT_M)
    )
    timed = x.ndim == 2 + len(network.input.shape)
    found = []
    for count in steps:
        if timed and count > len(x):
            raise TrainingError(f"agreement: {count} steps requested, the samples have {len(x)}")
        part = x[:count] if timed else x
        ours, theirs = (_gradients(network, part, y, count, rule) for rule in rules)
        whole = [torch.cat([g.flatten() for g in gs.values()]) for gs in (ours, theirs)]
        pairs = {WHOLE: whole} | {layer: [ours[layer], theirs[layer]] for layer in ours}
        for depth, (layer, (one, two)) in enumerate(pairs.items()):
            ratio = float(one.norm() / two.norm())
            found.append(GradientAgreement(layer, depth, count, cosine(one, two), ratio))
    return tuple(found)


def _gradients(
    network: SpikingNetwork, x: Tensor, y: Tensor, steps: int, rule: GradientRule
) -> dict[str, Tensor]:
    """Gradients of weights of convolutions and linear layers, by layer; the loss is unscaled."""
    nodes = copy.deepcopy(network.nodes)
    changed = SpikingNetwork(network.input, nodes, steps, rule).train()
    weights = {n.name: n.op.weight for n in nodes if isinstance(n.op, Map)}
    loss = functional.cross_entropy(changed(x), y)
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


def cosine(one: Tensor, two: Tensor) -> float:
    """Cosine of the angle between two tensors of equal shape; 0 if one is zero."""
    return float(functional.cosine_similarity(one.flatten(), two.flatten(), dim=0))
