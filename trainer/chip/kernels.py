"""Compiled steps of the chip's neurons that also record what the rate pass needs.

States are the chip's integers (equations: `network.neurons.lif`), stored as int32. In addition, rho
and the sums of s and rho ds/du are computed in float32, as in `neurons.kernels`, with ds/du in
units of the threshold. Arrays are (T, B, N) in memory order; a current with one row is constant. A
block of neurons of one sample runs all steps while it is in cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.simulators.native.compiled import array_kernel, part
from spikeport.simulators.native.lif import charge
from spikeport.trainer.neurons.kernels import BLOCK, surrogate_slope

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]

_ZERO, _ONE = np.float32(0), np.float32(1)
_ROUND = np.float32(1.5 * 2**23)
"""Adding and subtracting this number rounds to the nearest whole number."""
_NO, _YES = np.int32(0), np.int32(1)


@part
def _step(ints: Ints, floats: Floats, size: int, whole: Ints, real: Floats) -> int:
    """One step of a block; return the number of neurons with a non-zero state, input or bias.

    `ints` holds v, the summed input, u and the bias current, one block each; `floats` holds rho,
    the sums of s and rho ds/du, and the spikes. `whole` is (remaining part of v in 1/4096,
    threshold, 1 for reset to zero), `real` (remaining part, 1 / threshold, alpha).
    """
    keep, threshold, zero = whole[0], whole[1], whole[2]
    decay, per_threshold, alpha = real[0], real[1], real[2]
    resets = np.float32(zero)
    found = _NO
    for i in range(size):
        v, a = ints[i], ints[i + BLOCK]
        bias = ints[i + 3 * BLOCK]
        active = np.int32(np.int32(v | a) | np.int32(ints[i + 2 * BLOCK] | bias))
        found = np.int32(found + (_YES if active != _NO else _NO))
        u, y = charge(a, _NO, v, bias, _NO, keep, False, False)
        ints[i + 2 * BLOCK] = u
        distance = np.int32(y - threshold)
        fires = distance > _NO
        s = _ONE if fires else _ZERO
        response = surrogate_slope(np.float32(distance) * per_threshold, alpha)
        rho = floats[i]
        floats[i] = _ONE + decay * (_ONE - resets * s) * rho
        floats[i + BLOCK] += s
        floats[i + 2 * BLOCK] += rho * response
        floats[i + 3 * BLOCK] = s
        after = _NO if zero != _NO else distance
        ints[i] = after if fires else y
    return int(found)


@array_kernel
def record_chip_steps(
    current: Any,
    bias: Ints,
    spikes: Bytes,
    sums: Floats,
    last: Ints,
    updates: NDArray[np.int64],
    whole: Ints,
    real: Floats,
    v_init: int,
    begin: int,
    end: int,
) -> None:
    """Run samples `begin` to `end` from rest.

    Args:
        current: summed weights (T or 1, B, N), whole numbers within int32.
        bias: bias current (N,) in units of v.
        spikes: receives s, (T, B, N).
        sums: receives the sums over steps of s and of rho ds/du, (2, B, N).
        last: receives the last v, (B, N).
        updates: receives the number of neuron-steps that count as updates, (B,).
        whole, real: constants of the neurons, see `_step`.
    """
    ints, floats = np.empty(4 * BLOCK, np.int32), np.empty(4 * BLOCK, np.float32)
    for sample in range(begin, end):
        found = 0
        for first in range(0, bias.size, BLOCK):
            size = min(BLOCK, bias.size - first)
            for i in range(size):
                ints[i] = v_init
                ints[i + 2 * BLOCK] = 0
                ints[i + 3 * BLOCK] = bias[first + i]
                floats[i] = 1
                floats[i + BLOCK] = 0
                floats[i + 2 * BLOCK] = 0
            for t in range(spikes.shape[0]):
                row = current[min(t, current.shape[0] - 1), sample, first : first + size]
                for i in range(size):
                    ints[i + BLOCK] = np.int32(row[i])
                found += _step(ints, floats, size, whole, real)
                fired = spikes[t, sample, first : first + size]
                for i in range(size):
                    fired[i] = np.uint8(floats[i + 3 * BLOCK])
            for i in range(size):
                sums[0, sample, first + i] = floats[i + BLOCK]
                sums[1, sample, first + i] = floats[i + 2 * BLOCK]
                last[sample, first + i] = ints[i]
        updates[sample] = found


@array_kernel
def sum_windows(
    spikes: Bytes,
    sums: Bytes,
    rows: int,
    columns: int,
    down: int,
    right: int,
    begin: int,
    end: int,
) -> None:
    """Sums of windows of `rows` x `columns`, `down` and `right` apart; both (N, H, W, C).

    Samples `begin` to `end`; no sum exceeds 255.
    """
    for sample in range(begin, end):
        for y in range(sums.shape[1]):
            for x in range(sums.shape[2]):
                total = sums[sample, y, x]
                for c in range(total.size):
                    total[c] = 0
                for i in range(rows):
                    for k in range(columns):
                        given = spikes[sample, y * down + i, x * right + k]
                        for c in range(total.size):
                            total[c] += given[c]


@array_kernel
def round_rows(
    master: Floats,
    whole: NDArray[np.int16],
    sums: NDArray[np.int64],
    low: float,
    high: float,
    pitch: float,
    step: int,
    begin: int,
    end: int,
) -> None:
    """Round rows `begin` to `end` of (M, N) to the weight grid (see `grid`) in a single pass.

    Args:
        master: float master weights; those beyond `low` and `high` are clipped in place.
        whole: receives `step` times the nearest whole number of `pitch`, ties to even.
        sums: receives for each row the sum of the positive weights, that of the magnitudes of the
            others, and the number of NaNs; (3, M).
    """
    least, most, each = np.float32(low), np.float32(high), np.float32(pitch)
    for row in range(begin, end):
        up, down, lost, moved = _NO, _NO, _NO, _NO
        for i in range(master.shape[1]):
            given = master[row, i]
            w = least if given < least else given
            w = most if w > most else w
            moved = np.int32(moved + (_YES if w != given else _NO))
            lost = np.int32(lost + (_YES if given != given else _NO))
            nearest = np.int32(np.float32(np.float32(w / each) + _ROUND) - _ROUND)
            value = np.int32(nearest * step)
            whole[row, i] = value
            up = np.int32(up + (value if value > _NO else _NO))
            down = np.int32(down - (value if value < _NO else _NO))
        if moved:
            for i in range(master.shape[1]):
                w = master[row, i]
                w = least if w < least else w
                master[row, i] = most if w > most else w
        sums[0, row], sums[1, row], sums[2, row] = up, down, lost
