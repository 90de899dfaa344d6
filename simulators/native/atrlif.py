"""The compiled step of ATRLIF neurons."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeport.network import LOIHI, ATRLIFPopulation
from spikeport.simulators.native.compiled import part
from spikeport.simulators.native.lif import charge
from spikeport.simulators.native.registers import decayed
from spikeport.simulators.native.vectors import select

ACTIVATION_SHIFT = LOIHI.activation_shift
DECAY_UNITY = LOIHI.decay_unity

Int32 = NDArray[np.int32]

_ZERO, _ONE = np.int32(0), np.int32(1)


class ATRLIFState(NamedTuple):
    """The state variables of `ATRLIFPopulation`, (B, N)."""

    u: Int32
    v: Int32
    theta: Int32
    r: Int32


class ATRLIFDynamics(NamedTuple):
    """The constants of a population."""

    keep_u: int
    keep_v: int
    keep_theta: int
    keep_r: int
    base: int
    step: int


def atrlif_dynamics(population: ATRLIFPopulation) -> ATRLIFDynamics:
    """The constants of the compiled step."""
    return ATRLIFDynamics(
        DECAY_UNITY - population.decay_u,
        DECAY_UNITY - population.decay_v,
        DECAY_UNITY - population.decay_theta,
        DECAY_UNITY - population.decay_r,
        population.base(LOIHI),
        population.theta_step << ACTIVATION_SHIFT,
    )


def atrlif_variant(population: ATRLIFPopulation, within: bool) -> tuple[bool]:
    """What the step is compiled for: whether nothing of u is kept and it never wraps.

    Args:
        within: the summed input can never wrap u.
    """
    return (population.decay_u == DECAY_UNITY and within,)


@part
def atrlif_loop(
    state: ATRLIFState,
    dynamics: ATRLIFDynamics,
    variant: tuple[bool],
    biased: bool,
    sample: int,
    begin: int,
    end: int,
    received: Int32,
    added: Int32,
    fired: NDArray[np.uint8],
) -> int:
    """One step of neurons begin..end - 1 of a sample; see `neurons.neuron_loop`."""
    u, v = state.u[sample, begin:end], state.v[sample, begin:end]
    theta, r = state.theta[sample, begin:end], state.r[sample, begin:end]
    keep_u, keep_v = np.int32(dynamics.keep_u), np.int32(dynamics.keep_v)
    keep_theta, keep_r = np.int32(dynamics.keep_theta), np.int32(dynamics.keep_r)
    base, step = np.int32(dynamics.base), np.int32(dynamics.step)
    always = _ONE if base == _ZERO else _ZERO
    found = np.int32(0)
    for i in range(received.size):
        a, x, y = received[i], u[i], v[i]
        c = added[i] if biased else _ZERO
        above, rest = np.int32(theta[i] - base), r[i]
        moving = np.int32(np.int32(x | y) | np.int32(a | c))
        moving = np.int32(np.int32(moving | np.int32(above | rest)) | always)
        found = np.int32(found + np.int32(moving != _ZERO))
        x, y = charge(a, x, y, c, keep_u, keep_v, variant[0], False)
        limit = np.int32(decayed(above, keep_theta) + base)
        rest = decayed(rest, keep_r)
        spike = np.int32(y - rest) >= limit
        u[i], v[i] = x, y
        r[i] = select(spike, np.int32(rest + np.int32(limit + limit)), rest)
        theta[i] = select(spike, np.int32(limit + step), limit)
        fired[i] = spike
    return int(found)
