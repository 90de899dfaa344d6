"""The compiled step of LIF neurons."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeport.network import LOIHI, Population, Reset, threshold_state
from spikeport.simulators.native.compiled import part
from spikeport.simulators.native.registers import decayed, decayed_short, saturated, wrapped_once
from spikeport.simulators.native.vectors import select

ACTIVATION_SHIFT = LOIHI.activation_shift
DECAY_UNITY = LOIHI.decay_unity

Int32 = NDArray[np.int32]

_ACTIVATION = np.int32(ACTIVATION_SHIFT)
_ZERO = np.int32(0)
_SHORT = 16


class LIFState(NamedTuple):
    """The state variables of `Population`, (B, N); (B, 0) if one is not kept."""

    u: Int32
    v: Int32
    rest: NDArray[np.uint8]


class LIFDynamics(NamedTuple):
    """The constants of a population."""

    keep_u: int
    keep_v: int
    threshold: int
    subtract: bool
    refractory: int


def lif_dynamics(population: Population) -> LIFDynamics:
    """The constants of the compiled step."""
    return LIFDynamics(
        DECAY_UNITY - population.decay_u,
        DECAY_UNITY - population.decay_v,
        threshold_state(population, LOIHI),
        population.reset is Reset.SUBTRACT,
        population.refractory,
    )


def lif_variant(population: Population, within: bool) -> tuple[bool, bool, bool]:
    """Compile-time constants of the step: (memoryless, short, refractory).

    `memoryless` means that u has no memory and never wraps, `short` that the remaining part of v is
    a multiple of 1/256, `refractory` that neurons are refractory after a spike.

    Args:
        within: the summed input can never wrap u.
    """
    if population.refractory:
        return False, False, True
    return population.decay_u == DECAY_UNITY and within, population.decay_v % _SHORT == 0, False


@part
def charge(
    a: Any, u: Any, v: Any, bias: Any, keep_u: Any, keep_v: Any, memoryless: bool, short: bool
) -> Any:
    """u and v of one neuron after integration, before its threshold; all int32."""
    u = (
        np.int32(a << _ACTIVATION)
        if memoryless
        else wrapped_once(np.int32(decayed(u, keep_u) + np.int32(a << _ACTIVATION)))
    )
    kept = decayed_short(v, keep_v) if short else decayed(v, keep_v)
    return u, saturated(np.int32(np.int32(kept + u) + bias))


@part
def lif_loop(
    state: LIFState,
    dynamics: LIFDynamics,
    variant: tuple[bool, bool, bool],
    biased: bool,
    sample: int,
    begin: int,
    end: int,
    received: Int32,
    added: Int32,
    fired: NDArray[np.uint8],
) -> int:
    """One step of neurons begin..end - 1 of a sample; see `neurons.neuron_loop`."""
    memoryless, short, refractory = variant
    u, v = state.u[sample, begin:end], state.v[sample, begin:end]
    rest = state.rest[sample, begin:end]
    keep_u, keep_v = np.int32(dynamics.keep_u), np.int32(dynamics.keep_v)
    limit = np.int32(dynamics.threshold)
    lowered = np.int32(~0 if dynamics.subtract else 0)
    pause = np.uint8(dynamics.refractory)
    found = np.int32(0)
    for i in range(received.size):
        a, x, y = received[i], u[i], v[i]
        c = added[i] if biased else _ZERO
        found = np.int32(found + np.int32(np.int32(np.int32(x | y) | a | c) != _ZERO))
        x, y = charge(a, x, y, c, keep_u, keep_v, memoryless, short)
        spike = y > limit
        if refractory:
            left = rest[i]
            spike = spike & (left == 0)
            y = select(left == 0, y, v[i])
            rest[i] = select(spike, pause, np.uint8(left - (left != 0)))
        u[i] = x
        v[i] = select(spike, np.int32(np.int32(y - limit) & lowered), y)
        fired[i] = spike
    return int(found)
