"""Current-based LIF neurons, the stock neurons of Loihi.

One step, all in int32, wrapping modulo 2^32, with tz(x, k) = sign(x) * (|x| >> k), summed input a
and M = 2^23:

    u <- wrap24(tz(u * (4096 - decay_u), 12) + (a << 6))
    v <- clip(tz(v * (4096 - decay_v), 12) + u + (bias << bias_exponent))
    spike if v > vth << 6, then v <- 0 (reset zero) or v <- v - (vth << 6) (reset subtract)

u wraps into (-M, M], at most once; v saturates at +-(M - 1).

In the `refractory` steps after a spike, the neuron is refractory: u keeps evolving, v is held at
its reset value (even above the threshold), and there is no spike. This is the behaviour of Lava's
LIFRefractory, which has a float model only (lava-nc 0.10.0, `lava/proc/lif/models.py`,
PyLifRefractoryModelFloat: after a spike in step t, v moves again once t + refractory_period <
step); its refractory_period is `refractory`. Loihi 1 counts one more, with 1 for none (brian2_loihi
`refractory` 1..64, nengo-loihi `refract_delay`). No neuron is refractory at the start of a sample.

Source: lava-nc 0.10.0, `lava/proc/lif/models.py` (PyLifModelBitAcc).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeport import checks
from spikeport.network.arithmetic import INT32, LOIHI, Arithmetic
from spikeport.network.geometry import Shape
from spikeport.network.neurons.model import Register, State, StateVariable, check_population
from spikeport.storage.canonical import OPTIONAL

U = StateVariable("u", "synaptic current, in units of v", np.int32)
V = StateVariable(
    "v", "membrane at the end of the step, after a reset; 64 per weight unit", np.int32
)
REST = StateVariable("rest", "refractory steps left", np.uint8, recordable=False)


class Reset(StrEnum):
    """Effect of a spike on v."""

    ZERO = "zero"
    SUBTRACT = "subtract"


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """LIF neurons with the same dynamics; for the equations see the module docstring.

    A spike resets v within the same step, so traces show v after the reset. At the start of each
    sample u is 0 and v is v_init; nothing else resets a neuron.

    Attributes:
        shape: (N,), (C, L) or (C, H, W).
        decay_u, decay_v: in 1/4096; 0 keeps everything, 4096 nothing. (Lava's du is decay_u - 1.)
        vth: threshold mantissa, 17 bits; a spike needs v > vth << 6.
        bias: mantissa per neuron, 13 bits signed, int32; a scalar is broadcast.
        bias_exponent: 0..7; bias << bias_exponent is added to v at every step.
        reset: ZERO sets v to 0 after a spike, SUBTRACT subtracts vth << 6.
        v_init: v at the start of every sample.
        refractory: refractory steps after a spike, 0..63.
        scale: weight units (v >> 6) per unit of the float membrane, for reporting.
    """

    MODEL: ClassVar[str] = "LIF"
    STATE: ClassVar[tuple[StateVariable, ...]] = (U, V, REST)

    name: str
    shape: Shape
    vth: int
    decay_u: int = LOIHI.decay_unity
    decay_v: int = 0
    bias: NDArray[np.int32] = field(default_factory=lambda: np.zeros((), np.int32))
    bias_exponent: int = 0
    reset: Reset = Reset.ZERO
    v_init: int = 0
    refractory: int = field(default=0, metadata=OPTIONAL)
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_population(self)
        reset = checks.choice(f"population '{self.name}': reset", Reset, self.reset)
        object.__setattr__(self, "reset", reset)

    @staticmethod
    def ranges(arithmetic: Arithmetic) -> Mapping[str, tuple[int, int]]:
        """Lowest and highest value of each integer field."""
        return {
            "decay_u": (0, arithmetic.decay_unity),
            "decay_v": (0, arithmetic.decay_unity),
            "vth": (0, arithmetic.vth_max),
            "bias_exponent": (0, arithmetic.bias_exponent_max),
            "v_init": (-arithmetic.state_max, arithmetic.state_max),
            "refractory": (0, arithmetic.refractory_max),
        }

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def bias_current(self) -> NDArray[np.int32]:
        """Added to v at every step: bias << bias_exponent, shape `shape`."""
        return self.bias << np.int32(self.bias_exponent)

    def registers(self, arithmetic: Arithmetic) -> tuple[Register, ...]:
        """The state variables of this population, in the order of STATE."""
        return (
            Register(U, 0, *INT32),
            Register(V, self.v_init, -arithmetic.state_max, arithmetic.state_max),
            Register(REST, 0, 0, self.refractory, kept=self.refractory > 0),
        )

    def step(
        self, state: State, received: int, bias: int, arithmetic: Arithmetic
    ) -> tuple[State, bool]:
        """One step of one neuron; see `neuron_step`."""
        u, v, rest = state
        u, v, rest, spike = neuron_step(self, u, v, rest, received, bias, arithmetic)
        return (u, v, rest), spike

    def may_move(self, state: State, received: int, bias: int, arithmetic: Arithmetic) -> bool:
        """Whether u, v, the summed input or the bias is not zero; u evolves even if refractory."""
        u, v, _ = state
        return (u, v, received, bias) != (0, 0, 0, 0)


def neuron_step(
    population: Population, u: int, v: int, rest: int, a: int, b: int, arithmetic: Arithmetic
) -> tuple[int, int, int, bool]:
    """One step of one neuron with summed input a and bias current b; return u, v, rest and spike.

    `rest` is the number of refractory steps left.
    """
    u = arithmetic.integrated_current(u, population.decay_u, a)
    if rest > 0:
        return u, v, rest - 1, False
    v = arithmetic.integrated_membrane(v, population.decay_v, u, b)
    threshold = threshold_state(population, arithmetic)
    spike = v > threshold
    if spike:
        v = 0 if population.reset is Reset.ZERO else v - threshold
        rest = population.refractory
    return u, v, rest, spike


def threshold_state(population: Population, arithmetic: Arithmetic) -> int:
    """The value that v must exceed to spike: vth << 6."""
    return population.vth << arithmetic.activation_shift
