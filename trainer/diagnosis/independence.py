"""The error of rate-based backpropagation's independence assumptions, layer by layer.

    neurons  E_t[delta_t e_t] = E_t[delta_t] E_t[e_t],  e_t = rho_t ds_t/du_t, delta_t = dL/ds_t
    weights  E_t[delta_t s_t^T] = E_t[delta_t] E_t[s_t]^T,  delta_t = dL/dx_t of a weighted sum x_t

The deltas are those of backpropagation through time, as in section 4.3 and figure 3 of the source.

Source: Yu et al., NeurIPS 2024, arXiv 2410.11488.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeport.trainer.diagnosis.agreement import cosine
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.network.layers import Map
from spikeport.trainer.network.network import run
from spikeport.trainer.network.operations import weight_gradient
from spikeport.trainer.network.passes import Training
from spikeport.trainer.neurons import LIF, charge_and_fire
from spikeport.trainer.neurons.lif import reset_slope, surrogate
from spikeport.trainer.rules import GradientRule


@dataclass(frozen=True, slots=True)
class Independence:
    """The mean over time of a product, compared with the product of the means.

    Attributes:
        kind: "neurons" or "weights" (module docstring).
        error: norm of their difference divided by the norm of the former.
    """

    layer: str
    kind: str
    error: float
    cosine: float


def independence(network: SpikingNetwork, x: Tensor, y: Tensor) -> tuple[Independence, ...]:
    """Measure the error of both assumptions (see the module docstring), layer by layer."""
    network = copy.deepcopy(network).train()
    network.rule = GradientRule.BPTT_M
    layers = Training(network.rule, network.steps)
    seen: list[tuple[Node, Tensor, Tensor]] = []

    def watch(node: Node, given: Tensor, steps: int) -> Tensor:
        out = layers(node, given, steps)
        if isinstance(node.op, LIF | Map) and out.requires_grad:
            out.retain_grad()
            seen.append((node, given.detach(), out))
        return out

    timed = network.time_major(x).expand(network.steps, -1, *network.input.shape)
    loss = functional.cross_entropy(run(network, timed, watch), y)
    loss.backward()  # type: ignore[no-untyped-call]
    found = []
    for node, given, out in seen:
        delta = out.grad
        if delta is None:  # it does not contribute to the scores
            continue
        if isinstance(node.op, LIF):
            kind, response = "neurons", responses(node.op, given)
            joint, apart = (delta * response).mean(0), delta.mean(0) * response.mean(0)
        else:
            assert isinstance(node.op, Map)  # watch() stores no others
            kind = "weights"
            joint = _products(node.op, given.flatten(0, 1), delta.flatten(0, 1)) / len(given)
            apart = _products(node.op, given.mean(0), delta.mean(0))
        error = float((joint - apart).norm() / joint.norm())
        found.append(Independence(node.name, kind, error, cosine(joint, apart)))
    return tuple(found)


def responses(lif: LIF, current: Tensor) -> Tensor:
    """e_t = rho_t ds_t/du_t, (T, B, ...)."""
    rho, responses = torch.ones_like(current[0]), []
    for _, u, s in charge_and_fire(lif, current, len(current)):
        slope = surrogate(lif, u)
        responses.append(rho * slope)
        rho = 1 + lif.decay * reset_slope(lif, u, s, slope) * rho
    return torch.stack(responses)


def _products(op: Map, given: Tensor, delta: Tensor) -> Tensor:
    """Sum over samples of delta s^T: the gradient of the weight, with N as leading axis."""
    if isinstance(op, nn.Linear):
        return delta.T @ given.flatten(1)
    return weight_gradient(op, given, delta)
