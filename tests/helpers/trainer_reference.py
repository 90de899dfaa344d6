"""The training rules written once more, in plain autograd with loops over the steps.

Nothing here is shared with the trainer but its layers' weights: the neuron is a recurrence that
autograd differentiates, the rate-based rules are in straight-through form, (1.1) to (1.4) of the
paper's method step by step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeport.network import Coding, Input, Reset
from spikeport.trainer.loop.training import step as training_step
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.neurons import LIF
from spikeport.trainer.rules import GradientRule

INPUT = Input("input", (2, 6, 6), Coding.GRADED, -64, 64, scale=16.0)
CLASSES = 3
BATCH = 5


def toy(lif: LIF, steps: int, *, residual: bool = False, seed: int = 0) -> SpikingNetwork:
    """conv-BN-LIF-conv-BN-LIF-pool-linear, float64, gamma and beta away from 1 and 0."""
    torch.manual_seed(seed)
    nodes = [
        Node("conv1", ("input",), nn.Conv2d(2, 4, 3, padding=1)),
        Node("norm1", ("conv1",), nn.BatchNorm2d(4)),
        Node("lif1", ("norm1",), lif),
        Node("conv2", ("lif1",), nn.Conv2d(4, 4, 3, padding=1, bias=False)),
        Node("norm2", ("conv2",), nn.BatchNorm2d(4)),
        Node("lif2", ("norm2", "lif1") if residual else ("norm2",), lif),
        Node("pool", ("lif2",), nn.AvgPool2d(2)),
        Node("readout", ("pool",), nn.Linear(36, CLASSES)),
    ]
    network = SpikingNetwork(INPUT, nodes, steps).double()
    for layer in network.layers.values():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.7, 1.6)
            nn.init.uniform_(layer.bias, 0.1, 0.6)
    return network


def samples(steps: int, *, static: bool) -> tuple[Tensor, Tensor]:
    torch.manual_seed(7)
    shape = (BATCH, 2, 6, 6) if static else (steps, BATCH, 2, 6, 6)
    return torch.randn(shape, dtype=torch.float64), torch.randint(CLASSES, (BATCH,))


class _Spike(torch.autograd.Function):
    """Heaviside forward, with value 0 (strict) or 1 at 0; the sigmoid surrogate backward."""

    @staticmethod
    def forward(ctx, x: Tensor, alpha: float, strict: bool) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        ctx.alpha = alpha
        return (x > 0 if strict else x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx, upstream: Tensor):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        z = torch.sigmoid(ctx.alpha * x)
        return upstream * ctx.alpha * z * (1 - z), None, None


def unrolled_lif(lif: LIF, currents: list[Tensor]) -> list[Tensor]:
    """The spikes of `recurrence`, from v_init."""
    return recurrence(lif, currents)[0]


def recurrence(
    lif: LIF, currents: list[Tensor], v: Tensor | None = None
) -> tuple[list[Tensor], Tensor]:
    """The neuron as autograd differentiates it, from v or v_init: its spikes and last v."""
    v = torch.full_like(currents[0], lif.v_init) if v is None else v
    spikes = []
    for x in currents:
        u = lif.decay * v + x
        s = _Spike.apply(u - lif.v_threshold, lif.alpha, lif.strict)  # type: ignore[no-untyped-call]
        spikes.append(s)
        reset = s.detach() if lif.detach_reset else s
        v = u * (1 - reset) if lif.reset is Reset.ZERO else u - lif.v_threshold * reset
    return spikes, v


def norm_over(
    layer: nn.BatchNorm1d | nn.BatchNorm2d, xs: list[Tensor], per_step: bool
) -> list[Tensor]:
    """Ordinary batch norm over samples and positions, of each step or of all together."""

    def normed(x: Tensor) -> Tensor:
        return functional.batch_norm(
            x, None, None, layer.weight, layer.bias, training=True, eps=layer.eps
        )

    if per_step:
        return [normed(x) for x in xs]
    return list(torch.split(normed(torch.cat(xs)), len(xs[0])))


def over_steps(network: SpikingNetwork, x: Tensor) -> Tensor:
    """x at every step, (T, B, ...)."""
    timed = x.ndim > 1 + len(network.input.shape)
    return x if timed else x.expand(network.steps, *x.shape)


def bptt(
    network: SpikingNetwork, x: Tensor, y: Tensor, *, per_step: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean output and gradients of plain cross-entropy by backpropagation through time."""
    layers = dict(network.layers.items())
    values = {network.input.name: list(over_steps(network, x))}
    for node in network.nodes:
        sums = [sum(parts) for parts in zip(*(values[i] for i in node.inputs), strict=True)]
        if isinstance(node.op, LIF):
            values[node.name] = unrolled_lif(node.op, sums)
        elif isinstance(node.op, nn.BatchNorm1d | nn.BatchNorm2d):
            values[node.name] = norm_over(node.op, sums, per_step)
        else:
            flat = isinstance(node.op, nn.Linear)
            values[node.name] = [layers[node.name](c.flatten(1) if flat else c) for c in sums]
    scores = torch.stack(values[network.output]).mean(0)
    return scores, gradients(network, functional.cross_entropy(scores, y))


def gradients(network: SpikingNetwork, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*network.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def trained_gradients(
    network: SpikingNetwork, x: Tensor, y: Tensor, rule: GradientRule = GradientRule.RATE_M
) -> dict[str, Tensor]:
    """What the trainer leaves in .grad after one step."""
    network.rule = rule
    network.zero_grad()
    training_step(network, x, y)
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def straight_through_lif(lif: LIF, currents: Tensor, c: Tensor) -> Tensor:
    """r with gradient g, both written from the equations (1.2) with loops over the steps.

    g is the mean over t of s'_t times the sum over k <= t of the product of J_k..J_{t-1}.
    """
    with torch.no_grad():
        v = torch.full_like(c, lif.v_init)
        slopes, carries, spikes = [], [], []
        for x in currents:
            u = lif.decay * v + x
            fired = u > lif.v_threshold if lif.strict else u >= lif.v_threshold
            s = torch.where(fired, 1.0, 0.0).to(c.dtype)
            slope = 1 / torch.cosh(lif.alpha * (u - lif.v_threshold) / 2) ** 2 * lif.alpha / 4
            if lif.reset is Reset.ZERO:
                v = torch.where(s > 0, torch.zeros_like(u), u)
                carry = lif.decay * (1 - s)
                carry = carry if lif.detach_reset else carry - lif.decay * u * slope
            else:
                v = u - lif.v_threshold * s
                carry = torch.full_like(u, lif.decay)
                if not lif.detach_reset:
                    carry = lif.decay * (1 - lif.v_threshold * slope)
            slopes.append(slope)
            carries.append(carry)
            spikes.append(s)
        total = torch.zeros_like(c)
        for t in range(len(slopes)):
            for k in range(t + 1):
                path = torch.ones_like(c)
                for j in range(k, t):
                    path = path * carries[j]
                total += slopes[t] * path
        gain = total / len(slopes)
        rate = torch.stack(spikes).mean(0)
    return rate + (c - c.detach()) * gain


def straight_through_norm(
    layer: nn.BatchNorm2d, xs: Tensor, c: Tensor, rule: GradientRule
) -> Tensor:
    """Value from the sequence's statistics, gradient as if they were those of c (1.3).

    k = 1 / sqrt(variance + eps) and the mean are one for the whole sequence, or time means of each
    step's own, or what the published code makes of them (traps 2 and 3).
    """
    if rule is GradientRule.RATE_M:
        mean = xs.mean((0, 1, 3, 4))
        k = 1 / torch.sqrt(xs.var((0, 1, 3, 4), correction=0) + layer.eps)
    else:
        means, variances = xs.mean((1, 3, 4)), xs.var((1, 3, 4), correction=0)
        mean, k = means.mean(0), (1 / torch.sqrt(variances + layer.eps)).mean(0)
        if rule is GradientRule.RATE_S_PUBLISHED:
            mean, k = means[-1], 1 / torch.sqrt(variances[-1] + 2 * layer.eps)
    mean, spread = mean.detach().view(1, -1, 1, 1), (k**-2).detach().view(1, -1, 1, 1)
    own_mean = c.mean((0, 2, 3), keepdim=True)
    live_mean = mean + own_mean - own_mean.detach()
    own_spread = ((c - own_mean.detach()) ** 2).mean((0, 2, 3), keepdim=True)
    live_spread = spread + own_spread - own_spread.detach()
    h = (c - live_mean) / torch.sqrt(live_spread)
    return layer.weight.view(1, -1, 1, 1) * h + layer.bias.view(1, -1, 1, 1)


def plain_rate(
    network: SpikingNetwork, x: Tensor, y: Tensor, rule: GradientRule
) -> dict[str, Tensor]:
    """A rate-based rule on the toy; gradient of CE / T, at the spiking network's mean output."""
    xs = over_steps(network, x)
    layer = dict(network.layers.items())
    c = xs[-1] if rule is GradientRule.RATE_S_PUBLISHED else xs.mean(0)
    for index in (1, 2):
        conv, norm, lif = layer[f"conv{index}"], layer[f"norm{index}"], layer[f"lif{index}"]
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(lif, LIF)
        with torch.no_grad():
            currents = torch.stack([conv(x) for x in xs])
            normed = torch.stack(norm_over(norm, list(currents), rule.single_step))
        c = straight_through_norm(norm, currents, conv(c), rule)
        c = straight_through_lif(lif, normed, c)
        with torch.no_grad():
            xs = torch.stack(unrolled_lif(lif, list(normed)))
    scores = layer["readout"](layer["pool"](c).flatten(1))
    return gradients(network, functional.cross_entropy(scores, y) / network.steps)
