"""The two compiled loops: messages into currents, and one step of a population.

int32 registers are kept by casting: int64 arithmetic, then `np.int32(...)`, which drops the high
bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.fixed_point import (
    ACTIVATION_SHIFT,
    DECAY_BITS,
    DECAY_UNITY,
    STATE_BITS,
    STATE_MAX,
    STATE_WRAP,
)
from spikeport.simulators.native.compiled import kernel

Int32 = NDArray[np.int32]
_TURN = 1 << STATE_BITS
_ROUND = DECAY_UNITY - 1


@kernel
def deliver(
    messages: NDArray[Any],
    start: Int32,
    stop: Int32,
    tap: Int32,
    place: Int32,
    offset: Int32,
    table: NDArray[np.int16],
    positions: int,
    wraps: bool,
    exponent: int,
    current: Int32,
) -> None:
    """Add one connection's current to `current` (B, N_target) for `messages` (B, N_source).

    For the tables see `wiring`. Works through non-zero messages only.
    """
    samples, size = current.shape
    channels = size // positions
    left, right = max(exponent, 0), max(-exponent, 0)
    for b in range(samples):
        total = np.zeros(size, np.int32)
        heard = False
        for c in range(table.shape[0]):
            for p in range(start.size):
                message = messages[b, c * start.size + p]
                if message == 0:
                    continue
                heard = True
                for k in range(start[p], stop[p]):
                    row = table[c, tap[k]]
                    at = place[k] + offset[c]
                    sums = total[at : at + row.size]
                    for i in range(row.size):
                        sums[i] += message * row[i]
        if heard:
            for p in range(positions):
                for q in range(channels):
                    x = np.int64(total[p * channels + q])
                    if wraps:
                        x = ((x + STATE_WRAP) & (_TURN - 1)) - STATE_WRAP
                    current[b, q * positions + p] += np.int32((x << left) >> right)


@kernel
def advance(
    current: Int32,
    bias: Int32,
    u: Int32,
    v: Int32,
    spikes: NDArray[np.uint8],
    fired: Int32,
    updates: NDArray[np.int64],
    decay_u: int,
    decay_v: int,
    threshold: int,
    subtract: bool,
) -> None:
    """One step of a population; every array is (B, N), `bias` may be (1, N), `updates` (B,).

    Reads the summed input `current`, changes u and v, writes `spikes`, adds to `fired` and
    `updates`. tz(x, 12) = (x + (4095 where x < 0)) >> 12.
    """
    samples, size = u.shape
    keep_u, keep_v = DECAY_UNITY - decay_u, DECAY_UNITY - decay_v
    lowered = ~0 if subtract else 0
    for b in range(samples):
        row = min(b, bias.shape[0] - 1)
        touched = 0
        for i in range(size):
            a, added = current[b, i], bias[row, i]
            touched += (u[b, i] | v[b, i] | a | added) != 0
            x = np.int64(u[b, i]) * keep_u
            x = (x + (_ROUND if x < 0 else 0)) >> DECAY_BITS
            x = np.int64(np.int32(x + (np.int64(a) << ACTIVATION_SHIFT)))
            x += (-_TURN if x > STATE_WRAP else 0) + (_TURN if x <= -STATE_WRAP else 0)
            y = np.int64(v[b, i]) * keep_v
            y = (y + (_ROUND if y < 0 else 0)) >> DECAY_BITS
            y = np.int64(np.int32(y + x + added))
            y = np.int64(min(max(int(y), -STATE_MAX), STATE_MAX))
            spike = y > threshold
            u[b, i] = x
            v[b, i] = ((y - threshold) & lowered) if spike else y
            spikes[b, i] = spike
            fired[b, i] += spike
        updates[b] += touched
