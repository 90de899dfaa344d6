"""The leaky integrate-and-fire neuron: its steps, what a spike pass keeps of it, its rate rule.

One step (lambda = decay, theta = v_threshold, x the input of the step):

    u_t = lambda v_{t-1} + x_t        s_t = 1[u_t >= theta]
    v_t = 0 where s_t = 1 else u_t    (reset zero)
    v_t = u_t - theta s_t             (reset subtract)

Source: rate-based backpropagation, Yu et al., NeurIPS 2024, arXiv 2410.11488.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spikeport.errors import InputError
from spikeport.network import Reset


@dataclass(frozen=True, slots=True)
class LIF:
    """Parameters of a layer of neurons; holds no state, so one value may serve many layers.

    Attributes:
        decay: lambda in [0, 1]; 1 is an integrate-and-fire neuron.
        v_threshold: theta > 0.
        detach_reset: gradients ignore that a spike resets v through s_t (v itself still counts).
        alpha: steepness of the surrogate ds/du = alpha z (1 - z), z = sigmoid(alpha (u - theta)).
    """

    decay: float = 0.5
    v_threshold: float = 1.0
    reset: Reset = Reset.ZERO
    detach_reset: bool = True
    alpha: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise InputError(f"LIF: decay is {self.decay}, must lie in 0..1")
        for name in ("v_threshold", "alpha"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"LIF: {name} is {value}, must be positive and finite")
        object.__setattr__(self, "reset", Reset(self.reset))


@dataclass(frozen=True, slots=True)
class RateRecord:
    """What the rate pass needs of a spike pass, both of shape (B, *neurons).

    Attributes:
        rate: r = mean over t of s_t.
        gain: g = dr/dc = mean over t of rho_t ds_t/du_t, for a mean input c.
    """

    rate: Tensor
    gain: Tensor


def charge_and_fire(
    lif: LIF, current: Tensor, steps: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield (v_{t-1}, u_t, s_t); `current` is (T, B, ...), or (1, B, ...) if constant."""
    v = torch.zeros_like(current[0])
    for x in current.expand(steps, *current.shape[1:]):
        u = lif.decay * v + x
        s = (u >= lif.v_threshold).to(u.dtype)
        yield v, u, s
        v = u * (1 - s) if lif.reset is Reset.ZERO else u - lif.v_threshold * s


def spike(lif: LIF, current: Tensor, steps: int) -> Tensor:
    """Spikes (T, B, ...) of a constant or per-step current."""
    return torch.stack([s for _, _, s in charge_and_fire(lif, current, steps)])


def spike_and_record(lif: LIF, current: Tensor, steps: int) -> tuple[Tensor, RateRecord]:
    """Spikes (T, B, ...) and r, g of this pass.

    rho_1 = 1 and rho_{t+1} = 1 + rho_t dv_t/du_t lambda, the response of u to a constant input.
    """
    spikes = current.new_empty((steps, *current.shape[1:]))
    gain = torch.zeros_like(current[0])
    rho: Tensor | float = 1.0
    for step, (_, u, s) in enumerate(charge_and_fire(lif, current, steps)):
        z = torch.sigmoid(lif.alpha * (u - lif.v_threshold))
        surrogate = lif.alpha * z * (1 - z)
        spikes[step] = s
        gain += rho * surrogate
        rho = 1 + lif.decay * _reset_slope(lif, u, s, surrogate) * rho
    return spikes, RateRecord(spikes.mean(0), gain / steps)


def _reset_slope(lif: LIF, u: Tensor, s: Tensor, surrogate: Tensor) -> Tensor | float:
    """dv_t/du_t."""
    match lif.reset, lif.detach_reset:
        case Reset.ZERO, True:
            return 1 - s
        case Reset.ZERO, False:
            return 1 - s - u * surrogate
        case Reset.SUBTRACT, False:
            return 1 - lif.v_threshold * surrogate
    return 1.0


def rate_rule(current: Tensor, record: RateRecord) -> Tensor:
    """The neuron in the rate pass: value r whatever the current, gradient g; (B, ...)."""
    out: Tensor = _RateRule.apply(current, record.rate, record.gain)  # type: ignore[no-untyped-call]
    return out


class _RateRule(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, rate: Tensor, gain: Tensor) -> Tensor:
        ctx.save_for_backward(gain)
        return rate.view_as(rate)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gain,) = ctx.saved_tensors
        return upstream * gain, None, None
