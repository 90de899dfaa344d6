"""Loihi's fixed-point number formats, as used in Lava's process models.

Every quantity is an int32 that wraps modulo 2^32, with the 24-bit state formats on top.
Source: lava-nc 0.10.0, `lava/proc/lif/models.py` (PyLifModelBitAcc), `lava/proc/dense/models.py`
(PyDenseModelBitAcc), `lava/proc/conv/models.py` (PyConvModelFixed), `lava/utils/weightutils.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INT32 = (-(1 << 31), (1 << 31) - 1)
"""Lowest and highest value of a register."""

DECAY_BITS = 12
DECAY_UNITY = 1 << DECAY_BITS
"""Decays are in 1/4096: a state keeps (4096 - decay) / 4096 of its value each step."""

STATE_BITS = 24
STATE_WRAP = 1 << (STATE_BITS - 1)
"""M = 2^23. u wraps once into (-M, M]; v saturates at +-(M - 1)."""
STATE_MAX = STATE_WRAP - 1

ACTIVATION_SHIFT = 6
"""Synaptic sums and thresholds are shifted left by 6 bits to match the units of u and v."""

VTH_MAX = (1 << 17) - 1
BIAS_MANTISSA_MIN = -(1 << 12)
BIAS_MANTISSA_MAX = (1 << 12) - 1
BIAS_EXPONENT_MAX = 7
WEIGHT_BITS = 8
WEIGHT_END = 256
"""Largest magnitude of a weight."""
WEIGHT_EXPONENT_MIN = -8
WEIGHT_EXPONENT_MAX = 7
DELAY_MAX = 62
REFRACTORY_MAX = 63
"""Loihi 1 counts refractory steps from 1 (none) to 64."""
PAYLOAD_BITS = 24
"""Graded spikes carry a signed 24-bit payload."""
PAYLOAD_MAX = (1 << (PAYLOAD_BITS - 1)) - 1
PAYLOAD_MIN = -(1 << (PAYLOAD_BITS - 1))


def weight_grid(*, mixed: bool, bits: int = WEIGHT_BITS) -> tuple[int, int, int]:
    """Lowest and highest value and step of the legal grid of a weight matrix.

    A matrix of one sign has `bits` of magnitude: 0, k, 2k, ... <= 255 with k = 2^(8 - bits).
    In a matrix of mixed signs, one bit is the sign: -256, ..., 256 - k with k = 2^(9 - bits).
    For an inhibitory matrix the returned range applies to the negated weights.

    Source: `lava/utils/weightutils.py`, clip_weights and truncate_weights.
    """
    step = 1 << (WEIGHT_BITS - bits + (1 if mixed else 0))
    low = -WEIGHT_END if mixed else 0
    return low, WEIGHT_END - step, step


def is_mixed(weight: NDArray[np.integer]) -> bool:
    """Whether a weight array has both signs, which costs its lowest bit."""
    return bool(weight.size) and bool(weight.min() < 0 < weight.max())


def off_grid(weight: NDArray[np.integer], bits: int) -> NDArray[np.bool_]:
    """Mask of weights that the chip cannot store exactly: out of range or between grid values."""
    mixed = is_mixed(weight)
    wide = weight.astype(np.int64)
    if not mixed and weight.size and weight.min() < 0:
        wide = -wide
    low, high, step = weight_grid(mixed=mixed, bits=bits)
    wrong: NDArray[np.bool_] = (wide < low) | (wide > high) | (wide % step != 0)
    return wrong


def bias_exponent(largest: float) -> int:
    """Smallest exponent at which 13-bit mantissas can hold `largest` units of v, at most 7."""
    fits = (e for e in range(BIAS_EXPONENT_MAX) if largest / 2**e <= BIAS_MANTISSA_MAX)
    return next(fits, BIAS_EXPONENT_MAX)
