"""The step of each neuron model, for all neurons of a population and all samples at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from spikeport.network import (
    LOIHI,
    AnyPopulation,
    ATRLIFPopulation,
    Population,
    Reset,
    implementation_of,
    threshold_state,
)
from spikeport.simulators.cuda.registers import decayed, integrated_current, integrated_membrane

State = tuple[Tensor, ...]
"""int32 (B, N), in the order of the model's STATE; (1, 1) for a variable that is never changed."""

Step = Callable[[Any, State, Tensor, Tensor], tuple[State, Tensor, Tensor]]
"""Of a population, its state, summed input (B, N) and bias current (B or 1, N): the state after the
step, which neurons spiked, and which could have changed (see `EventCounts.updates`)."""


def initial_state(part: AnyPopulation, samples: int, device: torch.device) -> State:
    """The state before step 0."""
    return tuple(
        torch.full(
            (samples, part.size) if register.kept else (1, 1),
            register.initial,
            dtype=torch.int32,
            device=device,
        )
        for register in part.registers(LOIHI)
    )


def step_of(part: AnyPopulation) -> Step:
    """The step of the neurons of a population."""
    return implementation_of(MODELS, part, "in the cuda simulator")


def _lif(part: Population, state: State, a: Tensor, b: Tensor) -> tuple[State, Tensor, Tensor]:
    u, v, rest = state
    moved = (u | v | a | b) != 0
    threshold = threshold_state(part, LOIHI)
    u = integrated_current(u, part.decay_u, a)
    charged = integrated_membrane(v, part.decay_v, u, b)
    spikes = charged > threshold
    if part.refractory:
        awake = rest == 0
        charged = torch.where(awake, charged, v)
        spikes &= awake
        rest = (rest - 1).clamp_(min=0).masked_fill_(spikes, part.refractory)
    if part.reset is Reset.ZERO:
        v = charged.masked_fill_(spikes, 0)
    else:
        v = torch.where(spikes, charged - threshold, charged)
    return (u, v, rest), spikes, moved


def _atrlif(
    part: ATRLIFPopulation, state: State, a: Tensor, b: Tensor
) -> tuple[State, Tensor, Tensor]:
    u, v, theta, r = state
    base = part.base(LOIHI)
    moved = (u | v | r | a | b | (theta ^ base)) != 0
    if base == 0:
        moved.fill_(True)
    u = integrated_current(u, part.decay_u, a)
    v = integrated_membrane(v, part.decay_v, u, b)
    theta = decayed(theta - base, part.decay_theta) + base
    r = decayed(r, part.decay_r)
    spikes = v - r >= theta
    r = torch.where(spikes, r + 2 * theta, r)
    theta = torch.where(spikes, theta + (part.theta_step << LOIHI.activation_shift), theta)
    return (u, v, theta, r), spikes, moved


MODELS: Mapping[type[AnyPopulation], Step] = {Population: _lif, ATRLIFPopulation: _atrlif}
