"""The leaky integrate-and-fire neuron as a layer, its steps, and its rule in the rate pass.

One step (lambda = decay, theta = v_threshold, x the input of the step):

    u_t = lambda v_{t-1} + x_t        s_t = 1[u_t > theta]
    v_t = 0 if s_t = 1 else u_t       (reset zero)
    v_t = u_t - theta s_t             (reset subtract)

`>` is the comparison of NIR and of Loihi; `strict=False` fires on u_t >= theta, as in the paper.

The spiking pass computes r = mean s_t and g = mean rho_t ds_t/du_t, where rho_1 = 1 and
rho_{t+1} = 1 + rho_t lambda dv_t/du_t is the response of u to a constant input.

Source: rate-based backpropagation, Yu et al., NeurIPS 2024, arXiv 2410.11488.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from spikeport.checks import choice
from spikeport.errors import InputError
from spikeport.network import Reset
from spikeport.trainer.neurons.steps import through_time


class LIF(nn.Module):
    """A layer of neurons; it has parameters only, no state, so it can be used for several layers.

    Called directly, it takes one step from rest, with the surrogate gradient.

    Attributes:
        decay: lambda in [0, 1]; 1 is an integrate-and-fire neuron.
        v_threshold: theta > 0.
        detach_reset: gradients do not go through s_t in the reset of v (they do go through v).
        strict: a membrane equal to the threshold does not fire; otherwise it does.
        alpha: steepness of the surrogate ds/du = alpha z (1 - z), z = sigmoid(alpha (u - theta)).

    Raises:
        InputError: a value is out of its range.
    """

    def __init__(
        self,
        decay: float = 0.5,
        v_threshold: float = 1.0,
        reset: Reset = Reset.ZERO,
        detach_reset: bool = True,
        alpha: float = 4.0,
        strict: bool = True,
    ) -> None:
        super().__init__()
        _check_decay("LIF", decay)
        for name, value in (("v_threshold", v_threshold), ("alpha", alpha)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"LIF: {name} is {value}, must be positive and finite")
        self.decay = decay
        self.v_threshold = v_threshold
        self.reset = choice("LIF: reset", Reset, reset)
        self.detach_reset = detach_reset
        self.alpha = alpha
        self.strict = strict

    def fires(self, u: Tensor, out: Tensor | None = None) -> Tensor:
        """Mask of the membranes that fire, as booleans or as 0 and 1 in `out`."""
        compare = torch.gt if self.strict else torch.ge
        return compare(u, self.v_threshold, out=out)

    def forward(self, current: Tensor) -> Tensor:
        """Spikes (B, ...) of one step from rest."""
        return through_time(self, current[None], 1, None)[0][0]

    def extra_repr(self) -> str:
        """The parameters, for printing."""
        detached = "" if self.detach_reset else ", detach_reset=False"
        loose = "" if self.strict else ", strict=False"
        return f"decay={self.decay}, v_threshold={self.v_threshold}, {self.reset}{detached}{loose}"


class LI(nn.Module):
    """A leaky integrator that never spikes: v_t = decay v_{t-1} + x_t; its final v is the score.

    Raises:
        InputError: decay is not in 0..1.
    """

    def __init__(self, decay: float = 1.0) -> None:
        super().__init__()
        _check_decay("LI", decay)
        self.decay = decay

    def forward(self, current: Tensor) -> Tensor:
        """v after one step from rest."""
        return current

    def after(self, current: Tensor, steps: int, v: Tensor | None) -> Tensor:
        """v (B, ...) after `steps` more steps of a current (steps or 1, B, ...)."""
        for x in current.expand(steps, *current.shape[1:]):
            v = x if v is None else self.decay * v + x
        assert v is not None  # steps is at least 1
        return v

    def extra_repr(self) -> str:
        """The parameter, for printing."""
        return f"decay={self.decay}"


def charge_and_fire(
    lif: LIF, current: Tensor, steps: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield (v_{t-1}, u_t, s_t); `current` is (T, B, ...), or (1, B, ...) if constant."""
    v = torch.zeros_like(current[0])
    for x in current.expand(steps, *current.shape[1:]):
        u = lif.decay * v + x
        s = lif.fires(u).to(u.dtype)
        yield v, u, s
        v = u * (1 - s) if lif.reset is Reset.ZERO else u - lif.v_threshold * s


def rate_rule(current: Tensor, rate: Tensor, gain: Tensor) -> Tensor:
    """The neuron in the rate pass: value r for any current, gradient g; (B, ...)."""
    out: Tensor = _RateRule.apply(current, rate, gain)  # type: ignore[no-untyped-call]
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


def _check_decay(subject: str, decay: float) -> None:
    if not 0 <= decay <= 1:
        raise InputError(f"{subject}: decay is {decay}, must lie in 0..1")
