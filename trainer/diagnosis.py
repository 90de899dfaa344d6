"""How well rate-based gradients stand for those through time, on a user's own network and data.

Rate-based backpropagation assumes that gradients and responses are independent over time:

    neurons  E_t[delta_t e_t] = E_t[delta_t] E_t[e_t],  e_t = rho_t ds_t/du_t, delta_t = dL/ds_t
    weights  E_t[delta_t s_t^T] = E_t[delta_t] E_t[s_t]^T,  delta_t = dL/dx_t of a weighted sum x_t

What that costs is measured layer by layer, from the deltas of backpropagation through time (as in
the paper's section 4.3 and figure 3). Networks are copied, so nothing here changes them.

Source: Yu et al., NeurIPS 2024, arXiv 2410.11488.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from spikeport.errors import InputError
from spikeport.trainer.lif import LIF, charge_and_fire
from spikeport.trainer.lif_steps import Neurons, reset_slope, surrogate
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.passes import Training, run, still
from spikeport.trainer.rules import Rule

WHOLE = "all weights"
"""Name that stands for the whole network among its layers."""


@dataclass(frozen=True, slots=True)
class Activity:
    """Spikes of a layer of neurons over a batch.

    Attributes:
        rate: spikes per neuron and step.
        silent: share of neurons that never fire.
        histogram: share of (sample, neuron) pairs by spike count 0..T.
    """

    layer: str
    rate: float
    silent: float
    histogram: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two gradients of a layer's weight: rate-based, and through time in the same mode.

    Attributes:
        depth: place of the layer among those with weights, from 1; 0 for all weights together.
        steps: T.
        ratio: of their norms, the rate-based one not divided by T.
    """

    layer: str
    depth: int
    steps: int
    cosine: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Independence:
    """The mean of products over time, and the product of means that stands for it.

    Attributes:
        kind: "neurons" or "weights" (module docstring).
        error: norm of their difference over the norm of the first.
    """

    layer: str
    kind: str
    error: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All of it on one batch; plain data, `dataclasses.asdict` makes it JSON.

    Attributes:
        accuracy, shuffled_accuracy: of inference, and with spikes in random order over time.
    """

    samples: int
    accuracy: float
    shuffled_accuracy: float
    activity: tuple[Activity, ...]
    agreement: tuple[Agreement, ...]
    independence: tuple[Independence, ...]


def diagnose(
    network: SpikingNetwork, x: Tensor, y: Tensor, steps: Iterable[int] = (1, 2, 4, 8)
) -> Diagnosis:
    """How faithful the rate-based view is of this network on these samples.

    Args:
        x: (B, *shape) or (T, B, *shape); some dozens of samples tell.
        y: classes (B,).
        steps: values of T at which gradients are compared.

    Raises:
        InputError: samples do not fit the network.
    """
    scores = network.inference(x), shuffled_scores(network, x)
    right, shuffled = (float((found.argmax(1) == y).float().mean()) for found in scores)
    return Diagnosis(
        samples=len(y),
        accuracy=right,
        shuffled_accuracy=shuffled,
        activity=activity(network, x),
        agreement=agreement(network, x, y, steps),
        independence=independence(network, x, y),
    )


def activity(network: SpikingNetwork, x: Tensor) -> tuple[Activity, ...]:
    """Firing of every LIF layer in a training pass on x (B, *shape) or (T, B, *shape)."""
    network = copy.deepcopy(network).train()
    network.rule = Rule.RATE_S if network.rule.single_step else Rule.RATE_M
    _, record = network.spiking_pass(x)
    found = []
    for layer, rate in record.rates.items():
        counts = (rate * network.steps).round().long()
        shares = torch.bincount(counts.flatten(), minlength=network.steps + 1) / counts.numel()
        silent = float((counts == 0).all(0).float().mean())
        found.append(Activity(layer, float(rate.mean()), silent, tuple(shares.tolist())))
    return tuple(found)


def agreement(
    network: SpikingNetwork, x: Tensor, y: Tensor, steps: Iterable[int] = (1, 2, 4, 8)
) -> tuple[Agreement, ...]:
    """Rate-based gradients of the cross-entropy beside those through time, for several T.

    Args:
        x: (B, *shape), or (T, B, *shape) of which the first steps are taken.
        y: classes (B,).

    Raises:
        InputError: x has fewer steps than asked for.
    """
    single = network.rule.single_step
    rules = (Rule.RATE_S, Rule.BPTT_S) if single else (Rule.RATE_M, Rule.BPTT_M)
    timed = x.ndim == 2 + len(network.input.shape)
    found = []
    for count in steps:
        if timed and count > len(x):
            raise InputError(f"agreement: {count} steps asked for, the samples have {len(x)}")
        part = x[:count] if timed else x
        ours, theirs = (_gradients(network, part, y, count, rule) for rule in rules)
        whole = [torch.cat([g.flatten() for g in gs.values()]) for gs in (ours, theirs)]
        pairs = {WHOLE: whole} | {layer: [ours[layer], theirs[layer]] for layer in ours}
        for depth, (layer, (one, two)) in enumerate(pairs.items()):
            ratio = float(one.norm() / two.norm())
            found.append(Agreement(layer, depth, count, _cosine(one, two), ratio))
    return tuple(found)


def independence(network: SpikingNetwork, x: Tensor, y: Tensor) -> tuple[Independence, ...]:
    """What the two assumptions of the module docstring cost, layer by layer."""
    network = copy.deepcopy(network).train()
    network.rule = Rule.BPTT_M
    layers = Training(network)
    seen: list[tuple[Node, Tensor, Tensor]] = []

    def watch(node: Node, given: Tensor, steps: int) -> Tensor:
        out = layers(node, given, steps)
        if isinstance(node.op, LIF | nn.Conv2d | nn.Linear):
            out.retain_grad()
            seen.append((node, given.detach(), out))
        return out

    timed = network.time_major(x).expand(network.steps, -1, *network.input.shape)
    loss = functional.cross_entropy(run(network, timed, watch), y)
    loss.backward()  # type: ignore[no-untyped-call]
    found = []
    for node, given, out in seen:
        delta = out.grad
        assert delta is not None  # every watched output leads to the loss
        if isinstance(node.op, LIF):
            kind, response = "neurons", responses(node.op, given)
            joint, apart = (delta * response).mean(0), delta.mean(0) * response.mean(0)
        else:
            kind = "weights"
            joint = _products(node.op, given.flatten(0, 1), delta.flatten(0, 1)) / len(given)
            apart = _products(node.op, given.mean(0), delta.mean(0))
        error = float((joint - apart).norm() / joint.norm())
        found.append(Independence(node.name, kind, error, _cosine(joint, apart)))
    return tuple(found)


@torch.no_grad()
def shuffled_scores(network: SpikingNetwork, x: Tensor, seed: int = 0) -> Tensor:
    """Inference with every neuron's spikes in random order over time: only rates survive."""
    generator = torch.Generator().manual_seed(seed)
    network = copy.deepcopy(network).eval()
    network.rule = Rule.RATE_M

    def apply(node: Node, given: Tensor, steps: int) -> Tensor:
        if not isinstance(node.op, LIF):
            return still(node, given)
        spikes = Neurons(node.op, steps, record=False).advance(given, steps)
        return spikes.gather(0, torch.rand(spikes.shape, generator=generator).argsort(0))

    return run(network, network.time_major(x), apply)


def _gradients(
    network: SpikingNetwork, x: Tensor, y: Tensor, steps: int, rule: Rule
) -> dict[str, Tensor]:
    """Of the weights of convolutions and linear layers, by layer; the loss whole."""
    nodes = copy.deepcopy(network.nodes)
    changed = SpikingNetwork(network.input, nodes, steps, rule).train()
    weights = {n.name: n.op.weight for n in nodes if isinstance(n.op, nn.Conv2d | nn.Linear)}
    loss = functional.cross_entropy(changed(x), y)
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


def responses(lif: LIF, current: Tensor) -> Tensor:
    """e_t = rho_t ds_t/du_t, (T, B, ...)."""
    rho, responses = torch.ones_like(current[0]), []
    for _, u, s in charge_and_fire(lif, current, len(current)):
        slope = surrogate(lif, u)
        responses.append(rho * slope)
        rho = 1 + lif.decay * reset_slope(lif, u, s, slope) * rho
    return torch.stack(responses)


def _products(op: nn.Module, given: Tensor, delta: Tensor) -> Tensor:
    """Sum over samples of delta s^T: the gradient of the weight, (N, ...) both."""
    if isinstance(op, nn.Linear):
        return delta.T @ given.flatten(1)
    assert isinstance(op, nn.Conv2d)
    return conv2d_weight(  # type: ignore[no-untyped-call, no-any-return]
        given, op.weight.shape, delta, op.stride, op.padding, op.dilation, op.groups
    )


def _cosine(one: Tensor, two: Tensor) -> float:
    return float(functional.cosine_similarity(one.flatten(), two.flatten(), dim=0))
