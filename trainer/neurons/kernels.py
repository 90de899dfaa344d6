"""Compiled LIF steps on float32 arrays (T, N), running all steps of a block of neurons in cache.

Equations: `neurons.lif`. Neurons `begin` to `end` are advanced, so several threads can share a
layer. A current with one row is constant. `lif` is (decay, threshold, alpha, zero, live, lowest,
start), where zero is 1 if a spike resets v to zero and 0 if it subtracts; live is 1 if gradients go
through the reset; lowest is the smallest membrane that fires: the threshold, or the next float32
above it; start is v before the first step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.simulators.native.compiled import array_kernel, part

Floats = NDArray[np.float32]
BLOCK = 2048
"""Neurons per block: the state of a block (32 KiB) stays in L1 or L2 over all steps."""

_ZERO, _ONE, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_C2, _C3, _C4, _C5, _C6 = (np.float32(1 / n) for n in (2, 6, 24, 120, 720))
_MOST = np.float32(80)
_FLOAT_BIAS, _FLOAT_SHIFT = np.int32(127), np.int32(23)


@part
def _exp_minus(y: Any) -> Any:
    """exp(-y) for y >= 0 to 3e-7 relative, using operations that compilers vectorise.

    y = n ln 2 - r with |r| <= ln 2 / 2; a Taylor polynomial gives exp(r), an exponent field 2^-n.
    """
    y = _MOST if y > _MOST else y
    n = np.int32(y * _LOG2_E + _HALF)
    k = np.float32(n)
    r = (k * _LN2_HIGH - y) + k * _LN2_LOW
    p = _ONE + r * (_ONE + r * (_C2 + r * (_C3 + r * (_C4 + r * (_C5 + r * _C6)))))
    bits = np.int32(np.int32(_FLOAT_BIAS - n) << _FLOAT_SHIFT)
    return p * bits.view(np.float32)


@part
def surrogate_slope(distance: Any, alpha: Any) -> Any:
    """The surrogate alpha z (1 - z), z = sigmoid(alpha distance)."""
    e = _exp_minus(alpha * abs(distance))
    return alpha * e / ((_ONE + e) * (_ONE + e))


# One scratch array per loop: LLVM vectorises only if few arrays could overlap.


@part
def _record_step(x: Floats, spikes: Floats, w: Floats, lif: Floats) -> None:
    """One step of a block; `w` holds v, rho and the sums of s and rho ds/du, one block each."""
    decay, threshold, alpha, zero, live = lif[0], lif[1], lif[2], lif[3], lif[4]
    lowest = lif[5]
    for i in range(x.size):
        u = decay * w[i] + x[i]
        distance = u - threshold
        s = _ONE if u >= lowest else _ZERO
        slope = surrogate_slope(distance, alpha)
        drop = zero * u + (_ONE - zero) * threshold
        rho = w[i + BLOCK]
        spikes[i] = s
        w[i] = u - s * drop
        w[i + BLOCK] = _ONE + decay * (_ONE - zero * s - live * drop * slope) * rho
        w[i + 2 * BLOCK] += s
        w[i + 3 * BLOCK] += rho * slope


@array_kernel
def record_steps(
    current: Floats,
    spikes: Floats,
    state: Floats,
    sums: Floats,
    lif: Floats,
    begin: int,
    end: int,
    fresh: bool,
) -> None:
    """Spikes (T, N) of T more steps; reads and updates `state`, (blocks, 4 BLOCK).

    A row of `state` holds v, rho, and the sums of s and of rho ds/du for a block of neurons. With
    `fresh`, neurons start a sample instead. `begin` is the first neuron of a block. If `sums`,
    (2, N), is not empty, the call covers all steps of a sample: `sums` receives the sums, and the
    only row of `state` is scratch space.
    """
    whole = sums.shape[1] > 0
    for first in range(begin, end, BLOCK):
        last = min(first + BLOCK, end)
        w = state[0 if whole else first // BLOCK]
        if fresh:
            _start(w, lif[6])
        for t in range(spikes.shape[0]):
            row = current[min(t, current.shape[0] - 1), first:last]
            _record_step(row, spikes[t, first:last], w, lif)
        if whole:
            for i in range(last - first):
                sums[0, first + i] = w[2 * BLOCK + i]
                sums[1, first + i] = w[3 * BLOCK + i]


@part
def _start(w: Floats, v: Any) -> None:
    for i in range(w.size):
        w[i] = _ZERO
    for i in range(BLOCK):
        w[i] = v
        w[BLOCK + i] = _ONE


@part
def _fire_step(
    x: Floats, spikes: Floats, charged: Floats, v: Floats, lif: Floats, keep: bool
) -> None:
    decay, threshold, zero, lowest = lif[0], lif[1], lif[3], lif[5]
    for i in range(x.size):
        u = decay * v[i] + x[i]
        s = _ONE if u >= lowest else _ZERO
        if keep:
            charged[i] = u
        spikes[i] = s
        v[i] = u - s * (zero * u + (_ONE - zero) * threshold)


@array_kernel
def fire_steps(
    current: Floats,
    spikes: Floats,
    charged: Floats,
    v: Floats,
    lif: Floats,
    begin: int,
    end: int,
) -> None:
    """Spikes and u, both (T, N), of T more steps from `v` (N,), which is updated.

    u is not stored if `charged` is empty, (0, N).
    """
    keep = charged.shape[0] > 0
    for first in range(begin, end, BLOCK):
        last = min(first + BLOCK, end)
        for t in range(spikes.shape[0]):
            row = current[min(t, current.shape[0] - 1), first:last]
            fired = spikes[t, first:last]
            to = charged[t, first:last] if keep else fired
            _fire_step(row, fired, to, v[first:last], lif, keep)


@part
def _back_step(x: Floats, upstream: Floats, w: Floats, lif: Floats) -> None:
    """Gradient of u_t, in the second block of `w`, from those of s_t and v_t, in the first."""
    decay, threshold, alpha, zero, live = lif[0], lif[1], lif[2], lif[3], lif[4]
    lowest = lif[5]
    for i in range(x.size):
        u = x[i]
        distance = u - threshold
        s = _ONE if u >= lowest else _ZERO
        slope = surrogate_slope(distance, alpha)
        drop = zero * u + (_ONE - zero) * threshold
        gradient = upstream[i] * slope + w[i] * (_ONE - zero * s - live * drop * slope)
        w[i + BLOCK] = gradient
        w[i] = decay * gradient


@array_kernel
def back_steps(
    charged: Floats,
    upstream: Floats,
    of_v: Floats,
    of_current: Floats,
    lif: Floats,
    w: Floats,
    begin: int,
    end: int,
) -> None:
    """Gradient of the current, (T, N), from the gradients of spikes (T, N) and the last v.

    `charged` is u_t. `of_v` (N,) is replaced by the gradient of the first v. `w` is scratch space,
    (4 BLOCK,).
    """
    for first in range(begin, end, BLOCK):
        last = min(first + BLOCK, end)
        size = last - first
        for i in range(size):
            w[i] = of_v[first + i]
        for k in range(charged.shape[0]):
            t = charged.shape[0] - 1 - k
            row = charged[t, first:last]
            _back_step(row, upstream[t, first:last], w, lif)
            for i in range(size):
                of_current[t, first + i] = w[BLOCK + i]
        for i in range(size):
            of_v[first + i] = w[i]
