"""Compiled steps of a population of neurons, and the count of their spikes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.fixed_point import (
    ACTIVATION_SHIFT,
    DECAY_BITS,
    DECAY_UNITY,
    STATE_MAX,
    STATE_WRAP,
)
from spikeport.simulators.native.compiled import kernel, part

Int32 = NDArray[np.int32]
_LOW = np.int32(DECAY_UNITY - 1)
_BITS = np.int32(DECAY_BITS)
_SIGN = np.int32(31)
_ACTIVATION = np.int32(ACTIVATION_SHIFT)
_M = np.int32(STATE_WRAP)
_TURN = np.int32(2 * STATE_WRAP)
_MAX = np.int32(STATE_MAX)
_ZERO = np.int32(0)
_BYTE_MAX = 255


@part
def _decayed(x: Any, keep: Any, decay: int) -> Any:
    """tz(x * keep, 12) for any int32 x and 0 <= keep <= 4096, in 32 bits.

    With x = 4096 h + l, 0 <= l < 4096: floor(x * keep / 4096) = h * keep + floor(l * keep / 4096),
    and rounding toward zero adds 4095 / 4096 under the floor where x < 0. No term needs more than
    32 bits, as |h| <= 2^19 and l * keep + 4095 < 2^25.
    """
    if decay == DECAY_UNITY:
        return _ZERO
    if decay == 0:
        return x
    high, low = np.int32(x >> _BITS), np.int32(x & _LOW)
    rounding = np.int32(np.int32(x >> _SIGN) & _LOW)
    fraction = np.int32(np.int32(np.int32(low * keep) + rounding) >> _BITS)
    return np.int32(np.int32(high * keep) + fraction)


def advance(decay_u: int, decay_v: int, refractory: int) -> Callable[..., int]:
    """The compiled loop for two decays, with rest or without.

    Other decays than none and all share one.
    """
    kinds = (decay if decay in (0, DECAY_UNITY) else -1 for decay in (decay_u, decay_v))
    return _advance(*kinds, refractory > 0)


@functools.cache
def _advance(kind_u: int, kind_v: int, rests: bool) -> Callable[..., int]:
    def run(
        current: Int32,
        bias: Int32,
        u: Int32,
        v: Int32,
        rest: NDArray[np.uint8],
        spikes: NDArray[np.uint8],
        steps: int,
        first: int,
        first_sample: int,
        decay_u: int,
        decay_v: int,
        threshold: int,
        subtract: bool,
        refractory: int,
    ) -> int:
        """Run `steps` steps of samples first_sample.. with `current` (steps or 1, B', N).

        Changes u, v and, if `rests`, the steps of rest left (B, N), and writes spikes[first + t,
        b]. `bias` is (steps or 1, B or 1, N). Returns how many neuron-steps found u, v, current
        or bias not zero.
        """
        keep_u, keep_v = np.int32(DECAY_UNITY - decay_u), np.int32(DECAY_UNITY - decay_v)
        limit, lowered = np.int32(threshold), np.int32(~0 if subtract else 0)
        pause = np.uint8(refractory)
        touched = 0
        for b in range(current.shape[1]):
            at = first_sample + b
            own_u, own_v, own_rest = u[at], v[at], rest[at]
            for t in range(steps):
                received = current[min(t, current.shape[0] - 1), b]
                added = bias[min(t, bias.shape[0] - 1), min(at, bias.shape[1] - 1)]
                fired = spikes[first + t, at]
                found = np.int32(0)
                for i in range(received.size):
                    a, c, x, y = received[i], added[i], own_u[i], own_v[i]
                    found += np.int32((x | y | a | c) != 0)
                    x = np.int32(_decayed(x, keep_u, kind_u) + np.int32(a << _ACTIVATION))
                    down, up = _TURN if x > _M else _ZERO, _TURN if x <= -_M else _ZERO
                    x = np.int32(np.int32(x - down) + up)
                    y = np.int32(np.int32(_decayed(y, keep_v, kind_v) + x) + c)
                    y = min(max(y, -_MAX), _MAX)
                    spike = y > limit
                    if rests:
                        left = own_rest[i]
                        spike = spike and left == 0
                        y = y if left == 0 else own_v[i]
                        own_rest[i] = pause if spike else np.uint8(left - (left != 0))
                    own_u[i] = x
                    own_v[i] = np.int32(np.int32(y - limit) & lowered) if spike else y
                    fired[i] = spike
                touched += int(found)
        return touched

    return kernel(run)


@kernel
def tally(spikes: NDArray[np.uint8], count: NDArray[np.int64]) -> None:
    """Add spikes (steps, B, whole words of N) to `count` (B, N)."""
    size = count.shape[1]
    few = np.empty(size, np.uint8)
    for b in range(count.shape[0]):
        row = count[b]
        for begin in range(0, spikes.shape[0], _BYTE_MAX):
            few[:] = 0
            for t in range(begin, min(begin + _BYTE_MAX, spikes.shape[0])):
                heard = spikes[t, b]
                for i in range(size):
                    few[i] += heard[i]
            for i in range(size):
                row[i] += few[i]
