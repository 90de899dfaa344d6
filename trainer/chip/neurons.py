"""Run the chip's neurons and record them for rate-based training: exact states, real-valued gains.

Membranes, thresholds and decays are the chip's integers (`network.neurons.lif`). In addition, the
quantities of the rate-based rule are recorded in real membrane units: x = v / (64 S) with S weight
units per unit, theta = vth / S, lambda = 1 - decay_v / 4096,

    r = (1/T) sum s_t                        g = (1/T) sum rho_t ds_t/dx_t
    ds/dx = (alpha / theta) z (1 - z),       z = sigmoid(alpha (x / theta - 1))
    rho_1 = 1, rho_{t+1} = 1 + rho_t lambda (1 - s_t)   (reset to zero; no factor if subtracted)

float32 or float64 sums on the CPU use the compiled loop, everything else torch's operations;
both give the same states.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spikeport.network import LOIHI, Population, Reset, threshold_state
from spikeport.trainer.chip.kernels import record_chip_steps
from spikeport.trainer.neurons.integer import charge, fire
from spikeport.trainer.neurons.rows import Order, share_out

ALPHA = 4.0
"""Steepness of the surrogate, as in `LIF`, in units of the threshold."""


@dataclass(frozen=True, slots=True, eq=False)
class ChipSteps:
    """The record of a population.

    Attributes:
        spikes: (T, B, *shape), uint8.
        rate, gain: r and g, (B, *shape).
        last: v after the last step, int32 (B, *shape).
        updates: neuron-steps in which u, v, summed input or bias was not zero before the update.
    """

    spikes: Tensor
    rate: Tensor
    gain: Tensor
    last: Tensor
    updates: int


@torch.no_grad()
def run_population(part: Population, bias: Tensor, current: Tensor, steps: int) -> ChipSteps:
    """Run neurons without memory of u for a whole sample.

    Args:
        bias: bias current in units of v, whole numbers, (*shape).
        current: summed weights (T, B, *shape), or (1, B, *shape) if constant; whole numbers in
            floating point.
    """
    order = Order.of(current)
    rows = order.rows(current).view(len(current), current.shape[1], -1)
    added = order.rows(bias[None, None]).view(-1).to(torch.int32)
    run = _compiled if current.device.type == "cpu" else _stepwise
    spikes, sums, last, updates = run(part, added, rows, steps)
    theta = max(part.vth, 1) / part.scale
    rate, response = (order.restore(x.reshape(1, -1))[0] for x in sums.div_(steps))
    return ChipSteps(
        spikes=order.restore(spikes.view(steps, -1)),
        rate=rate,
        gain=response / theta,
        last=order.restore(last.view(1, -1))[0],
        updates=updates,
    )


Rows = tuple[Tensor, Tensor, Tensor, int]
"""Spikes (T, B, N), both sums (2, B, N), last v (B, N), updates."""


def _compiled(part: Population, bias: Tensor, current: Tensor, steps: int) -> Rows:
    _, batch, size = current.shape
    spikes = torch.empty((steps, batch, size), dtype=torch.uint8)
    sums = torch.empty((2, batch, size))
    last = torch.empty((batch, size), dtype=torch.int32)
    updates = np.empty(batch, np.int64)
    keep, threshold = LOIHI.decay_unity - part.decay_v, threshold_state(part, LOIHI)
    whole = np.array([keep, threshold, part.reset is Reset.ZERO], np.int32)
    norm = 1 / max(threshold, LOIHI.weight_unit)
    real = np.array([keep / LOIHI.decay_unity, norm, ALPHA], np.float32)
    outputs = spikes.numpy(), sums.numpy(), last.numpy()
    rows = current.numpy(), bias.numpy(), *outputs, updates, whole, real, part.v_init
    share_out(batch, 1, spikes.numel(), lambda a, b: record_chip_steps(*rows, a, b))
    return spikes, sums, last, int(updates.sum())


def _stepwise(part: Population, bias: Tensor, current: Tensor, steps: int) -> Rows:
    """The same with torch's operations, on int64."""
    keep, threshold = LOIHI.decay_unity - part.decay_v, threshold_state(part, LOIHI)
    norm = max(threshold, LOIHI.weight_unit)
    v = torch.full_like(current[0], part.v_init, dtype=torch.int64)
    u = torch.zeros_like(v)
    rho = torch.ones_like(v, dtype=torch.float32)
    sums = torch.zeros((2, *v.shape), device=v.device)
    fired, updates = [], 0
    for t in range(steps):
        a = current[min(t, len(current) - 1)].to(torch.int64)
        updates += int(((u != 0) | (v != 0) | (a != 0) | (bias != 0)).sum())
        u, charged = charge(part, u, v, a, bias)
        s, v = fire(part, charged)
        z = torch.sigmoid(ALPHA * ((charged - threshold).float() / norm))
        sums[0] += s
        sums[1] += rho * (ALPHA * z * (1 - z))
        rho = 1 + keep / LOIHI.decay_unity * (~s if part.reset is Reset.ZERO else 1) * rho
        fired.append(s.to(torch.uint8))
    return torch.stack(fired), sums, v.to(torch.int32), updates
