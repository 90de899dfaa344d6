"""ATRLIF neurons: LIF with an adaptive threshold theta and a refractory state r.

One step, all in int32, wrapping modulo 2^32, with tz(x, k) = sign(x) * (|x| >> k), summed input a
and base = theta_0 << 6:

    u <- wrap24(tz(u * (4096 - decay_u), 12) + (a << 6))
    v <- clip(tz(v * (4096 - decay_v), 12) + u + (bias << bias_exponent))
    theta <- tz((theta - base) * (4096 - decay_theta), 12) + base
    r <- tz(r * (4096 - decay_r), 12)
    spike where v - r >= theta, then r <- r + 2 theta and theta <- theta + (theta_step << 6)

u and v are those of LIF neurons, except that a spike does not change v: it raises r, which delays
the next spike. The comparison is not strict.

Source: lava-nc 0.10.0, `lava/proc/atrlif/models.py` (PyATRLIFModelFixed), bit for bit. Lava states
decays as fractions: its delta_i is (decay_u - 1) / 4096, the others are decay / 4096. Its theta_0
and theta_step are 12 bits wide (`precision=12`), the `theta_bits` of Loihi's arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeport.network.arithmetic import INT32, LOIHI, Arithmetic, int32
from spikeport.network.geometry import Shape
from spikeport.network.neurons.lif import U, V
from spikeport.network.neurons.model import Register, State, StateVariable, check_population

THETA = StateVariable("theta", "threshold after the step and its spike, in units of v", np.int32)
R = StateVariable("r", "refractory state after the step and its spike, in units of v", np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class ATRLIFPopulation:
    """ATRLIF neurons that share their dynamics; the equations are those of this module.

    Before each sample u and r are 0, v is v_init and theta is theta_0 << 6; nothing else resets a
    neuron.

    Attributes:
        shape: (N,), (C, L) or (C, H, W).
        theta_0: mantissa of the threshold at rest, 12 bits.
        theta_step: mantissa of the increase of the threshold per spike, 12 bits.
        decay_u, decay_v, decay_theta, decay_r: in 1/4096, 0 keeps all, 4096 keeps nothing; theta
            decays to theta_0.
        bias: mantissa per neuron, 13 bits signed, int32; a scalar is broadcast.
        bias_exponent: 0..7; bias << bias_exponent is added to v every step.
        v_init: v at the start of every sample.
        scale: weight units (v >> 6) per unit of the float membrane, for reporting.
    """

    MODEL: ClassVar[str] = "ATRLIF"
    STATE: ClassVar[tuple[StateVariable, ...]] = (U, V, THETA, R)

    name: str
    shape: Shape
    theta_0: int
    theta_step: int = 0
    decay_u: int = LOIHI.decay_unity
    decay_v: int = 0
    decay_theta: int = 0
    decay_r: int = 0
    bias: NDArray[np.int32] = field(default_factory=lambda: np.zeros((), np.int32))
    bias_exponent: int = 0
    v_init: int = 0
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_population(self)

    @staticmethod
    def ranges(arithmetic: Arithmetic) -> Mapping[str, tuple[int, int]]:
        """Lowest and highest value of each integer field."""
        return {
            "theta_0": (0, arithmetic.theta_max),
            "theta_step": (0, arithmetic.theta_max),
            "decay_u": (0, arithmetic.decay_unity),
            "decay_v": (0, arithmetic.decay_unity),
            "decay_theta": (0, arithmetic.decay_unity),
            "decay_r": (0, arithmetic.decay_unity),
            "bias_exponent": (0, arithmetic.bias_exponent_max),
            "v_init": (-arithmetic.state_max, arithmetic.state_max),
        }

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def bias_current(self) -> NDArray[np.int32]:
        """What is added to v every step: bias << bias_exponent, shape `shape`."""
        return self.bias << np.int32(self.bias_exponent)

    def base(self, arithmetic: Arithmetic) -> int:
        """The threshold at rest, in units of v: theta_0 << 6."""
        return self.theta_0 << arithmetic.activation_shift

    def registers(self, arithmetic: Arithmetic) -> tuple[Register, ...]:
        """The state variables as this population holds them, in the order of STATE."""
        return (
            Register(U, 0, *INT32),
            Register(V, self.v_init, -arithmetic.state_max, arithmetic.state_max),
            Register(THETA, self.base(arithmetic), *INT32),
            Register(R, 0, *INT32),
        )

    def step(
        self, state: State, received: int, bias: int, arithmetic: Arithmetic
    ) -> tuple[State, bool]:
        """One step of one neuron."""
        u, v, theta, r = state
        base = self.base(arithmetic)
        u = arithmetic.integrated_current(u, self.decay_u, received)
        v = arithmetic.integrated_membrane(v, self.decay_v, u, bias)
        theta = int32(arithmetic.decayed(int32(theta - base), self.decay_theta) + base)
        r = arithmetic.decayed(r, self.decay_r)
        spike = int32(v - r) >= theta
        if spike:
            r = int32(r + int32(2 * theta))
            theta = int32(theta + (self.theta_step << arithmetic.activation_shift))
        return (u, v, theta, r), spike

    def may_move(self, state: State, received: int, bias: int, arithmetic: Arithmetic) -> bool:
        """Whether u, v, r, the summed input or the bias is not zero, or theta is not at rest.

        With a threshold of 0 at rest every step counts, since all of them spike.
        """
        u, v, theta, r = state
        base = self.base(arithmetic)
        still = (u, v, r, received, bias) == (0, 0, 0, 0, 0) and theta == base
        return not still or base == 0
