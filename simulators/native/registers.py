"""Compiled arithmetic of the chip's registers; the Python version is `network.Arithmetic`."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeport.network import LOIHI
from spikeport.simulators.native.compiled import part
from spikeport.simulators.native.vectors import select

DECAY_BITS = LOIHI.decay_bits
DECAY_UNITY = LOIHI.decay_unity
STATE_MAX = LOIHI.state_max
STATE_WRAP = LOIHI.state_wrap

_LOW = np.int32(DECAY_UNITY - 1)
_BITS = np.int32(DECAY_BITS)
_SIGN = np.int32(31)
_M = np.int32(STATE_WRAP)
_TURN = np.int32(2 * STATE_WRAP)
_MIN, _MAX = np.int32(-STATE_MAX), np.int32(STATE_MAX)
_ZERO = np.int32(0)
_SHORT = np.int32(4)
_SHORT_BITS = np.int32(DECAY_BITS - 4)
_SHORT_LOW = np.int32((1 << (DECAY_BITS - 4)) - 1)


@part
def decayed(x: Any, keep: Any) -> Any:
    """tz(x * keep, 12) for any int32 x and 0 <= keep <= 4096, in 32 bits.

    With x = 4096 h + l, 0 <= l < 4096: floor(x * keep / 4096) = h * keep + floor(l * keep / 4096),
    and rounding toward zero adds 4095 / 4096 under the floor if x < 0. No term needs more than
    32 bits, as |h| <= 2^19 and l * keep + 4095 < 2^25.
    """
    high, low = np.int32(x >> _BITS), np.int32(x & _LOW)
    rounding = np.int32(np.int32(x >> _SIGN) & _LOW)
    fraction = np.int32(np.int32(np.int32(low * keep) + rounding) >> _BITS)
    return np.int32(np.int32(high * keep) + fraction)


@part
def decayed_short(x: Any, keep: Any) -> Any:
    """The same for |x| < 2^23 and keep = 16 k, for which x * k needs at most 32 bits."""
    product = np.int32(x * np.int32(keep >> _SHORT))
    rounding = np.int32(np.int32(product >> _SIGN) & _SHORT_LOW)
    return np.int32(np.int32(product + rounding) >> _SHORT_BITS)


@part
def wrapped_once(u: Any) -> Any:
    """Wrap u into (-M, M], M = 2^23, at most once."""
    down, up = select(u > _M, _TURN, _ZERO), select(u <= -_M, _TURN, _ZERO)
    return np.int32(np.int32(u - down) + up)


@part
def saturated(v: Any) -> Any:
    """Clip v to +-(M - 1)."""
    v = select(v < _MIN, _MIN, v)
    return select(v > _MAX, _MAX, v)
