"""Populations of a `DeployedNetwork`: neurons that share their dynamics."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport import checks
from spikeport.network import fixed_point as fx
from spikeport.network.fixed_point import ACTIVATION_SHIFT, DECAY_UNITY
from spikeport.network.geometry import Shape
from spikeport.storage.canonical import OPTIONAL


class Reset(StrEnum):
    """What a spike does to v."""

    ZERO = "zero"
    SUBTRACT = "subtract"


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Neurons that share their dynamics; the equations are those of `spikeport.network`.

    A spike resets v within the same step, so traces show v after the reset. Before each sample u is
    0 and v is v_init; nothing else resets a neuron.

    Attributes:
        shape: (N,), (C, L) or (C, H, W).
        decay_u, decay_v: in 1/4096, 0 keeps all, 4096 keeps nothing. (Lava's du is decay_u - 1.)
        vth: threshold mantissa, 17 bits; a spike needs v > vth << 6.
        bias: mantissa per neuron, 13 bits signed, int32; a scalar is broadcast.
        bias_exponent: 0..7; bias << bias_exponent is added to v every step.
        reset: ZERO sets v to 0 after a spike, SUBTRACT subtracts vth << 6.
        v_init: v at the start of every sample.
        refractory: steps of rest after a spike, 0..63.
        scale: weight units (v >> 6) per unit of the float membrane, for reporting.
    """

    name: str
    shape: Shape
    vth: int
    decay_u: int = DECAY_UNITY
    decay_v: int = 0
    bias: NDArray[np.int32] = field(default_factory=lambda: np.zeros((), np.int32))
    bias_exponent: int = 0
    reset: Reset = Reset.ZERO
    v_init: int = 0
    refractory: int = field(default=0, metadata=OPTIONAL)
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", checks.shape(self.name, self.shape))
        reset = checks.choice(f"population '{self.name}': reset", Reset, self.reset)
        object.__setattr__(self, "reset", reset)
        object.__setattr__(self, "bias", _bias(self.name, self.bias, self.shape))
        _check_registers(self)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def bias_current(self) -> NDArray[np.int32]:
        """What is added to v every step: bias << bias_exponent, shape `shape`."""
        return self.bias << np.int32(self.bias_exponent)


def threshold_state(population: Population) -> int:
    """The value v must exceed to spike: vth << 6."""
    return population.vth << ACTIVATION_SHIFT


def _check_registers(part: Population) -> None:
    """Scalars of a population within their register widths."""
    subject = f"population '{part.name}'"
    checks.settle(
        part,
        subject,
        decay_u=(0, fx.DECAY_UNITY),
        decay_v=(0, fx.DECAY_UNITY),
        vth=(0, fx.VTH_MAX),
        bias_exponent=(0, fx.BIAS_EXPONENT_MAX),
        v_init=(-fx.STATE_MAX, fx.STATE_MAX),
        refractory=(0, fx.REFRACTORY_MAX),
    )
    checks.scale(part)


def _bias(name: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Mantissas, broadcast from a scalar, one per neuron."""
    array = checks.integers(f"population '{name}': bias", value, np.int32)
    if array.shape not in ((), shape):
        checks.fail(f"population '{name}': bias has shape {array.shape}, must be {shape}")
    full = np.array(np.broadcast_to(array, shape))
    low, high = fx.BIAS_MANTISSA_MIN, fx.BIAS_MANTISSA_MAX
    if full.min() < low or full.max() > high:
        worst = full.min() if full.min() < low else full.max()
        checks.fail(
            f"population '{name}': bias mantissa {worst} must lie in {low}..{high} (13 bits)"
        )
    full.setflags(write=False)
    return full
