"""The integer step of the chip's LIF neurons (`network.neurons.lif`) on torch tensors.

All numbers are int64 with explicit wrapping to int32.
"""

from __future__ import annotations

from torch import Tensor

from spikeport.network import LOIHI, Population, Reset, threshold_state


def charge(
    part: Population, u: Tensor, v: Tensor, received: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """u and v after integration, before the threshold."""
    u = wrap(_decay(u, part.decay_u) + wrap(received << LOIHI.activation_shift, 32), 32)
    turn = 2 * LOIHI.state_wrap
    u = u - turn * (u > LOIHI.state_wrap).long() + turn * (u <= -LOIHI.state_wrap).long()
    v = wrap(_decay(v, part.decay_v) + u + bias, 32)
    return u, v.clamp(-LOIHI.state_max, LOIHI.state_max)


def fire(part: Population, charged: Tensor) -> tuple[Tensor, Tensor]:
    """Which neurons spike (bool), and v after the reset."""
    threshold = threshold_state(part, LOIHI)
    spikes = charged > threshold
    v = charged - threshold * spikes if part.reset is Reset.SUBTRACT else charged * ~spikes
    return spikes, v


def wrap(x: Tensor, bits: int) -> Tensor:
    """Wrap to two's complement of `bits` bits; exact for |x| < 2^62."""
    half = 1 << (bits - 1)
    return ((x + half) & ((1 << bits) - 1)) - half


def _decay(state: Tensor, decay: int) -> Tensor:
    """The remaining part, truncated toward zero."""
    kept = state * (LOIHI.decay_unity - decay)
    return kept.sign() * (kept.abs() >> LOIHI.decay_bits)
