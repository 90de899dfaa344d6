"""The compiled step of a stretch of neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network.fixed_point import (
    ACTIVATION_SHIFT,
    DECAY_BITS,
    DECAY_UNITY,
    STATE_MAX,
    STATE_WRAP,
)
from spikeport.simulators.native.compiled import part

Int32 = NDArray[np.int32]


_LOW = np.int32(DECAY_UNITY - 1)
_BITS = np.int32(DECAY_BITS)
_SIGN = np.int32(31)
_ACTIVATION = np.int32(ACTIVATION_SHIFT)
_M = np.int32(STATE_WRAP)
_TURN = np.int32(2 * STATE_WRAP)
_MIN, _MAX = np.int32(-STATE_MAX), np.int32(STATE_MAX)
_ZERO = np.int32(0)
_SHORT = np.int32(4)
_SHORT_BITS = np.int32(DECAY_BITS - 4)
_SHORT_LOW = np.int32((1 << (DECAY_BITS - 4)) - 1)


@part
def _decayed(x: Any, keep: Any) -> Any:
    """tz(x * keep, 12) for any int32 x and 0 <= keep <= 4096, in 32 bits.

    With x = 4096 h + l, 0 <= l < 4096: floor(x * keep / 4096) = h * keep + floor(l * keep / 4096),
    and rounding toward zero adds 4095 / 4096 under the floor where x < 0. No term needs more than
    32 bits, as |h| <= 2^19 and l * keep + 4095 < 2^25.
    """
    high, low = np.int32(x >> _BITS), np.int32(x & _LOW)
    rounding = np.int32(np.int32(x >> _SIGN) & _LOW)
    fraction = np.int32(np.int32(np.int32(low * keep) + rounding) >> _BITS)
    return np.int32(np.int32(high * keep) + fraction)


@part
def _decayed_short(x: Any, keep: Any) -> Any:
    """The same for |x| < 2^23 and keep = 16 k, of which x * k needs no more than 32 bits."""
    product = np.int32(x * np.int32(keep >> _SHORT))
    rounding = np.int32(np.int32(product >> _SIGN) & _SHORT_LOW)
    return np.int32(np.int32(product + rounding) >> _SHORT_BITS)


@part
def neuron_loop(
    received: Int32,
    added: Int32,
    u: Int32,
    v: Int32,
    rest: NDArray[np.uint8],
    fired: NDArray[np.uint8],
    decay_u: int,
    decay_v: int,
    threshold: int,
    subtract: bool,
    refractory: int,
    memoryless: bool,
    short: bool,
    biased: bool,
    rests: bool,
) -> int:
    """One step of neurons with summed input `received` and, if `biased`, bias current `added`.

    All arrays are (N,). The last four are constants of the caller: `memoryless` says that nothing
    of u is kept and that it never wraps, `short` that the kept part of v is a multiple of 1/256,
    `rests` that neurons rest after a spike. Changes u, v and, if `rests`, the steps of rest left,
    and writes `fired`. Returns how many found u, v, input or bias not zero.
    """
    keep_u, keep_v = np.int32(DECAY_UNITY - decay_u), np.int32(DECAY_UNITY - decay_v)
    limit, lowered = np.int32(threshold), np.int32(~0 if subtract else 0)
    pause = np.uint8(refractory)
    found = np.int32(0)
    for i in range(received.size):
        a, x, y = received[i], u[i], v[i]
        c = added[i] if biased else _ZERO
        found = np.int32(found + np.int32(np.int32(np.int32(x | y) | a | c) != _ZERO))
        received_u = np.int32(a << _ACTIVATION)
        if memoryless:
            x = received_u
        else:
            x = np.int32(_decayed(x, keep_u) + received_u)
            down, up = _TURN if x > _M else _ZERO, _TURN if x <= -_M else _ZERO
            x = np.int32(np.int32(x - down) + up)
        kept = _decayed_short(y, keep_v) if short else _decayed(y, keep_v)
        y = np.int32(np.int32(kept + x) + c)
        y = _MIN if y < _MIN else y
        y = _MAX if y > _MAX else y
        spike = y > limit
        if rests:
            left = rest[i]
            spike = spike and left == 0
            y = y if left == 0 else v[i]
            rest[i] = pause if spike else np.uint8(left - (left != 0))
        u[i] = x
        v[i] = np.int32(np.int32(y - limit) & lowered) if spike else y
        fired[i] = spike
    return int(found)
