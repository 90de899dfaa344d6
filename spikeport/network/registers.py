"""Scalar arithmetic of the chip's registers, on Python integers: part of the specification.

Source: lava-nc 0.10.0, `lava/proc/lif/models.py` (PyLifModelBitAcc).
"""

from __future__ import annotations

from spikeport.network.fixed_point import (
    ACTIVATION_SHIFT,
    DECAY_BITS,
    DECAY_UNITY,
    STATE_MAX,
    STATE_WRAP,
)


def wrapped(x: int, bits: int) -> int:
    """The two's complement number of `bits` bits that equals x modulo 2^bits."""
    half = 1 << (bits - 1)
    return (x + half) % (1 << bits) - half


def int32(x: int) -> int:
    """x as stored in an int32 register."""
    return wrapped(x, 32)


def decayed(state: int, decay: int) -> int:
    """tz(state * (4096 - decay), 12): the remaining part of a state, truncated toward zero."""
    product = state * (DECAY_UNITY - decay)
    return int32(product >> DECAY_BITS if product >= 0 else -(-product >> DECAY_BITS))


def wrapped_once(u: int) -> int:
    """Wrap u into (-M, M], M = 2^23, at most once: after a larger overflow it exceeds 24 bits."""
    if u > STATE_WRAP:
        return u - 2 * STATE_WRAP
    if u <= -STATE_WRAP:
        return u + 2 * STATE_WRAP
    return u


def integrated_current(u: int, decay: int, a: int) -> int:
    """The synaptic current after a step with summed input a."""
    return wrapped_once(int32(decayed(u, decay) + int32(a << ACTIVATION_SHIFT)))


def integrated_membrane(v: int, decay: int, u: int, b: int) -> int:
    """The membrane after a step with current u and bias current b, before any reset."""
    return max(-STATE_MAX, min(STATE_MAX, int32(decayed(v, decay) + u + b)))
