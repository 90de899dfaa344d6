"""`Arithmetic`: the widths of a chip's numbers, and scalar arithmetic of its registers.

All registers are int32 and wrap modulo 2^32; the narrower formats of states apply on top.
`LOIHI` has the widths of Loihi. A network of narrower numbers has an arithmetic of its own, which
the reference simulator runs.

Source: lava-nc 0.10.0, `lava/proc/lif/models.py` (PyLifModelBitAcc), `lava/proc/dense/models.py`
(PyDenseModelBitAcc), `lava/proc/conv/models.py` (PyConvModelFixed), `lava/utils/weightutils.py`.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spikeport import checks
from spikeport.errors import NetworkError
from spikeport.storage.canonical import OPTIONAL
from spikeport.text import quoted

INT32 = (-(1 << 31), (1 << 31) - 1)
"""Lowest and highest value of a register."""
_WEIGHT_SCALE_BITS = 8


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Widths of the numbers of a network: part of the specification of its results.

    Attributes:
        name: as in messages.
        decay_bits: decays are in units of 2^-decay_bits.
        state_bits: of u and v, sign included; sums of convolutions wrap to them as well.
        activation_shift: left shift of synaptic sums and thresholds to the units of u and v.
        vth_bits: mantissa of a threshold, unsigned.
        bias_bits: mantissa of a bias, sign included.
        bias_exponent_max: largest shift of a bias; the smallest is 0.
        weight_bits: most bits of a weight. Mantissas are on the scale of 8 bits whatever their
            number, so fewer bits are a coarser grid.
        weight_exponent_min, weight_exponent_max: range of the shift of a weighted sum.
        delay_max: longest delay of a connection, in steps.
        refractory_max: most refractory steps after a spike. Loihi 1 counts them from 1 (none) to
            64.
        payload_bits: payload of a graded spike, sign included.
        theta_bits: mantissas of the threshold at rest and its step in ATRLIF neurons, unsigned.
    """

    name: str
    decay_bits: int
    state_bits: int
    activation_shift: int
    vth_bits: int
    bias_bits: int
    bias_exponent_max: int
    weight_bits: int
    weight_exponent_min: int
    weight_exponent_max: int
    delay_max: int
    refractory_max: int
    payload_bits: int
    theta_bits: int = field(default=12, metadata=OPTIONAL)

    @property
    def decay_unity(self) -> int:
        """A state keeps (decay_unity - decay) / decay_unity of its value each step."""
        return 1 << self.decay_bits

    @property
    def state_wrap(self) -> int:
        """M = 2^(state_bits - 1). u wraps once into (-M, M]; v saturates at +-(M - 1)."""
        return 1 << (self.state_bits - 1)

    @property
    def state_max(self) -> int:
        """Largest magnitude of v."""
        return self.state_wrap - 1

    @property
    def weight_unit(self) -> int:
        """A weight of 1 in units of v: 2^activation_shift."""
        return 1 << self.activation_shift

    @property
    def vth_max(self) -> int:
        """Largest mantissa of a threshold."""
        return (1 << self.vth_bits) - 1

    @property
    def theta_max(self) -> int:
        """Largest mantissa of an adaptive threshold at rest, and of its step."""
        return (1 << self.theta_bits) - 1

    @property
    def bias_mantissa_min(self) -> int:
        """Lowest mantissa of a bias."""
        return -(1 << (self.bias_bits - 1))

    @property
    def bias_mantissa_max(self) -> int:
        """Highest mantissa of a bias."""
        return (1 << (self.bias_bits - 1)) - 1

    @property
    def payload_min(self) -> int:
        """Lowest payload of a graded spike."""
        return -(1 << (self.payload_bits - 1))

    @property
    def payload_max(self) -> int:
        """Highest payload of a graded spike."""
        return (1 << (self.payload_bits - 1)) - 1

    @property
    def weight_end(self) -> int:
        """Largest magnitude of a weight."""
        return 1 << _WEIGHT_SCALE_BITS

    def weight_grid(self, *, mixed: bool, bits: int | None = None) -> tuple[int, int, int]:
        """Lowest and highest value and step of the legal grid of a weight matrix.

        A matrix of one sign has `bits` of magnitude: 0, k, 2k, ... <= 255 with k = 2^(8 - bits).
        In a matrix of mixed signs, one bit is the sign: -256, ..., 256 - k with k = 2^(9 - bits).
        For an inhibitory matrix the returned range applies to the negated weights.

        Source: `lava/utils/weightutils.py`, clip_weights and truncate_weights.

        Args:
            bits: `weight_bits` if None.
        """
        bits = self.weight_bits if bits is None else bits
        step = 1 << (_WEIGHT_SCALE_BITS - bits + (1 if mixed else 0))
        low = -self.weight_end if mixed else 0
        return low, self.weight_end - step, step

    def off_grid(self, weight: NDArray[np.integer], bits: int) -> NDArray[np.bool_]:
        """Mask of weights that the chip cannot store exactly: out of range or off the grid."""
        if not weight.size:
            return np.zeros(weight.shape, np.bool_)
        least, most = int(weight.min()), int(weight.max())
        mixed = least < 0 < most
        low, high, step = self.weight_grid(mixed=mixed, bits=bits)
        if least < 0 and not mixed:
            low, high = -high, -low
        off: NDArray[np.bool_] = (weight & (step - 1)) != 0  # the step is a power of two
        if not (low <= least and most <= high):
            off |= (weight < low) | (weight > high)
        return off

    @property
    def bias_exponents(self) -> tuple[int, ...]:
        """Exponents of a bias, smallest first."""
        return tuple(range(self.bias_exponent_max + 1))

    def bias_exponent_for(self, largest: float, among: tuple[int, ...] | None = None) -> int:
        """Smallest exponent at which mantissas can hold `largest` units of v, or the largest one.

        Args:
            among: exponents to choose from, smallest first; by default all.
        """
        allowed = self.bias_exponents if among is None else among
        fits = (e for e in allowed if largest / 2**e <= self.bias_mantissa_max)
        return next(fits, allowed[-1])

    def decayed(self, state: int, decay: int) -> int:
        """tz(state * (4096 - decay), 12): the remaining part of a state, truncated toward zero.

        12 is `decay_bits`, 4096 is 2^12.
        """
        product = state * (self.decay_unity - decay)
        bits = self.decay_bits
        return int32(product >> bits if product >= 0 else -(-product >> bits))

    def wrapped_once(self, u: int) -> int:
        """Wrap u into (-M, M] at most once: after a larger overflow it exceeds the state's bits."""
        if u > self.state_wrap:
            return u - 2 * self.state_wrap
        if u <= -self.state_wrap:
            return u + 2 * self.state_wrap
        return u

    def integrated_current(self, u: int, decay: int, a: int) -> int:
        """The synaptic current after a step with summed input a."""
        return self.wrapped_once(int32(self.decayed(u, decay) + int32(a << self.activation_shift)))

    def integrated_membrane(self, v: int, decay: int, u: int, b: int) -> int:
        """The membrane after a step with current u and bias current b, before any reset."""
        end = self.state_max
        return max(-end, min(end, int32(self.decayed(v, decay) + u + b)))


LOIHI = Arithmetic(
    "loihi",
    decay_bits=12,
    state_bits=24,
    activation_shift=6,
    vth_bits=17,
    bias_bits=13,
    bias_exponent_max=7,
    weight_bits=8,
    weight_exponent_min=-8,
    weight_exponent_max=7,
    delay_max=62,
    refractory_max=63,
    payload_bits=24,
    theta_bits=12,
)
"""Loihi's numbers, as in Lava's process models; for the sources see the module."""

_WIDTHS = tuple(item.name for item in fields(Arithmetic) if item.name != "name")
_LOWEST = {
    "weight_exponent_min": LOIHI.weight_exponent_min,
    "weight_exponent_max": 0,
    "bias_exponent_max": 0,
    "activation_shift": 0,
    "delay_max": 0,
    "refractory_max": 0,
    **dict.fromkeys(("state_bits", "bias_bits", "payload_bits"), 2),
}


class HasArithmetic(Protocol):
    """A network."""

    @property
    def arithmetic(self) -> Arithmetic: ...  # noqa: D102


def check_arithmetic(given: Arithmetic) -> None:
    """Check that an arithmetic is Loihi's or narrower: wider numbers may not fit int32 registers.

    Raises:
        InputError: it has no name, that of Loihi, or a width out of range.
    """
    if not isinstance(given, Arithmetic):
        NetworkError.fail(f"network: arithmetic is {quoted(given)}, must be an Arithmetic")
    if given == LOIHI:
        return
    if not isinstance(given.name, str) or not checks.is_name(given.name):
        NetworkError.fail(
            f"network: arithmetic: name {quoted(given.name)} must be {checks.NAME_RULE}"
        )
    subject = f"network: arithmetic '{given.name}'"
    if given.name == LOIHI.name:
        NetworkError.fail(f"{subject} has other widths than Loihi's, must have another name")
    for width in _WIDTHS:
        value = getattr(given, width)
        end = 0 if width == "weight_exponent_min" else getattr(LOIHI, width)
        low = _LOWEST.get(width, 1)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= end:
            NetworkError.fail(
                f"{subject}: {width} is {quoted(value)}, must be an integer in {low}..{end}: "
                "none may be wider than Loihi's"
            )


def read_arithmetic(data: object) -> Arithmetic:
    """The arithmetic with these fields, from a file; `check_arithmetic` checks their values."""
    names = {item.name for item in fields(Arithmetic)}
    required = {item.name for item in fields(Arithmetic) if item.default is MISSING}
    if not isinstance(data, dict) or not required <= data.keys() <= names:
        NetworkError.fail(
            f"network: arithmetic must state {', '.join(sorted(required))}, and may state "
            f"{', '.join(sorted(names - required))}"
        )
    return Arithmetic(**data)


def other_arithmetic(given: str, supported: str, where: str) -> str:
    """Why a network's arithmetic is not that of a chip or a simulator; empty if it is.

    Args:
        given, supported: names of arithmetics; Loihi's name always means Loihi's widths.
        where: what has the supported one, such as "the target".
    """
    return "" if given == supported else f"{where} has the widths of '{supported}'"


def require_loihi(network: HasArithmetic, where: str) -> None:
    """Check that a network has Loihi's arithmetic.

    Args:
        where: what supports no other, such as "the native simulator".

    Raises:
        InputError: it has another.
    """
    if other_arithmetic(network.arithmetic.name, LOIHI.name, where):
        NetworkError.fail(
            f"network: has arithmetic '{network.arithmetic.name}', but {where} supports only "
            f"'{LOIHI.name}'; the reference simulator runs any"
        )


def is_mixed(weight: NDArray[np.integer]) -> bool:
    """Whether a weight array has both signs, which costs its lowest bit."""
    return bool(weight.size) and bool(weight.min() < 0 < weight.max())


def wrapped(x: int, bits: int) -> int:
    """The two's complement number of `bits` bits that equals x modulo 2^bits."""
    half = 1 << (bits - 1)
    return (x + half) % (1 << bits) - half


def int32(x: int) -> int:
    """x as stored in an int32 register."""
    return wrapped(x, 32)
