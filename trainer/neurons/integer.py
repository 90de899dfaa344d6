"""The integer step of the chip's LIF neurons (`network.neurons.lif`) on torch tensors.

All numbers are int64 with explicit wrapping to int32.
"""

from __future__ import annotations

from torch import Tensor

from spikeport.network import Population, Reset, threshold_state
from spikeport.network import fixed_point as fx


def charge(
    part: Population, u: Tensor, v: Tensor, received: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """u and v after integration, before the threshold."""
    u = wrap(_decay(u, part.decay_u) + wrap(received << fx.ACTIVATION_SHIFT, 32), 32)
    turn = 2 * fx.STATE_WRAP
    u = u - turn * (u > fx.STATE_WRAP).long() + turn * (u <= -fx.STATE_WRAP).long()
    v = wrap(_decay(v, part.decay_v) + u + bias, 32)
    return u, v.clamp(-fx.STATE_MAX, fx.STATE_MAX)


def fire(part: Population, charged: Tensor) -> tuple[Tensor, Tensor]:
    """Which neurons spike (bool), and v after the reset."""
    threshold = threshold_state(part)
    spikes = charged > threshold
    v = charged - threshold * spikes if part.reset is Reset.SUBTRACT else charged * ~spikes
    return spikes, v


def wrap(x: Tensor, bits: int) -> Tensor:
    """Wrap to two's complement of `bits` bits; exact for |x| < 2^62."""
    half = 1 << (bits - 1)
    return ((x + half) & ((1 << bits) - 1)) - half


def _decay(state: Tensor, decay: int) -> Tensor:
    """The remaining part, truncated toward zero."""
    kept = state * (fx.DECAY_UNITY - decay)
    return kept.sign() * (kept.abs() >> fx.DECAY_BITS)
