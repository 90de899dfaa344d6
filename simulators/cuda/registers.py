"""The chip's registers as int32 tensors; the Python version is `network.Arithmetic`.

Integer operations of torch wrap modulo 2^32, as the registers do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spikeport.network import LOIHI


def decayed(x: Tensor, decay: int) -> Tensor:
    """tz(x * (4096 - decay), 12): the remaining part, truncated toward zero."""
    if decay == 0:
        return x
    if decay == LOIHI.decay_unity:
        return torch.zeros_like(x)
    product = x.to(torch.int64) * (LOIHI.decay_unity - decay)
    return torch.div(product, LOIHI.decay_unity, rounding_mode="trunc").to(torch.int32)


def integrated_current(u: Tensor, decay: int, a: Tensor) -> Tensor:
    """The synaptic current after a step with summed input a."""
    u = decayed(u, decay) + (a << LOIHI.activation_shift)
    turn = 2 * LOIHI.state_wrap
    u = torch.where(u > LOIHI.state_wrap, u - turn, u)
    return torch.where(u <= -LOIHI.state_wrap, u + turn, u)


def integrated_membrane(v: Tensor, decay: int, u: Tensor, b: Tensor) -> Tensor:
    """The membrane after a step with current u and bias current b, before any reset."""
    return (decayed(v, decay) + u + b).clamp_(-LOIHI.state_max, LOIHI.state_max)


def wrapped(x: Tensor, bits: int) -> Tensor:
    """The two's complement number of `bits` bits that equals x modulo 2^bits."""
    unused = 32 - bits
    return (x << unused) >> unused
