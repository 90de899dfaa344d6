"""Which values an input takes: one rule for training, calibration and every run.

An input declares integers low..high, which are x * scale of its float values x. A value belongs to
it if the nearest integer lies in low..high. What lies beyond is an error unless clipping is asked
for, and is then counted. Values between integers are rounded on the way to the chip:

- spikes are 0 or 1, so fractions are an error;
- graded values and biases are rounded, and the number is counted; where that changes them by more
  than COARSE (rms, relative), the scale does not suit them, which is an error of the declaration
  and, where a chip's own input is coarse, a warning.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.parts import Coding, Input

_log = logging.getLogger(__name__)

SLACK = 1e-3
"""Of an integer unit: float32 noise, which is no change."""
COARSE = 0.25
"""Beyond this share (rms) rounding has changed what the values say."""
BLOCK = 2**16
"""Values looked at together: they stay in the cache."""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of the values of one input on their way to the chip.

    Attributes:
        values: how many there are.
        clipped: values beyond the declared range.
        rounded: values within it that lie between two integers.
        rounding: rms change by rounding over rms value, within the range.
    """

    input: str
    values: int
    clipped: int
    rounded: int
    rounding: float

    def __str__(self) -> str:
        told = [
            f"{count:,} of {self.values:,} values {what}"
            for count, what in (
                (self.clipped, "clipped"),
                (self.rounded, f"rounded (by {100 * self.rounding:.2g} % rms)"),
            )
            if count
        ]
        return f"input '{self.input}': {', '.join(told) or 'nothing changed'}"


def float_range(part: Input) -> tuple[float, float]:
    """The declared range in float units."""
    return part.low / part.scale, part.high / part.scale


def same_range(one: Input, other: Input) -> bool:
    """Whether two inputs declare the same range in float units, up to a unit of the coarser."""
    unit = 1 / min(one.scale, other.scale)
    ends = zip(float_range(one), float_range(other), strict=True)
    return all(abs(mine - its) < unit * (1 + 1e-9) for mine, its in ends)


def check_range(
    part: Input, x: NDArray[Any], subject: str | None = None, *, clip: bool = False
) -> int:
    """Refuse values that the input does not take; returns how many are to be clipped.

    Args:
        x: float units.
        subject: what to call them in the message.
        clip: let values beyond the range pass, as they will be clipped.

    Raises:
        InputError: NaN, infinity, beyond the range, or fractions where spikes are declared.
    """
    subject = subject or f"input '{part.name}'"
    clipped = _check_ends(part, x, subject, clip)
    if part.coding is Coding.SPIKES:
        _check_whole(part, x, subject, change(part, x))
    return clipped


def _check_ends(part: Input, x: NDArray[Any], subject: str, clip: bool) -> int:
    """The part of `check_range` that the lowest and the highest value tell."""
    if not x.size:
        return 0
    lowest, highest = float(x.min()), float(x.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise InputError(f"{subject} holds NaN or infinity, must be finite")
    clipped = 0
    if lowest * part.scale < part.low - 0.5 or highest * part.scale > part.high + 0.5:
        clipped = _beyond(part, x)
        if not clip:
            raise InputError(_out_of_range(part, subject, x, clipped))
    return clipped


def _check_whole(part: Input, x: NDArray[Any], subject: str, found: Change) -> None:
    """The part of `check_range` that is for spikes alone."""
    if between := found.rounded:
        lowest, highest = float(x.min()), float(x.max())
        raise InputError(
            f"{subject}: {between:,} of {x.size:,} values lie between 0 and 1 (they span "
            f"{lowest:g}..{highest:g}), but the input is declared as spikes, which are 0 or 1; "
            "declare it as graded: Input(name, shape, 'graded', low, high, scale), with integers "
            "low..high = x * scale"
        )


def check_scale(part: Input, x: NDArray[Any], subject: str | None = None) -> None:
    """Refuse a declared scale that does not suit the values.

    Raises:
        InputError: rounding to the declared integers changes the values by more than COARSE.
    """
    found = change(part, x)
    if found.rounding > COARSE:
        raise InputError(f"{subject or f'input {part.name!r}'}: {_too_coarse(part, x, found)}")


def encoded(
    part: Input, x: NDArray[Any], *, clip: bool = False
) -> tuple[NDArray[np.int32], Change]:
    """The chip's integers of `x`, and what encoding changed.

    Where the chip's own grid is coarse, a warning is logged.

    Raises:
        InputError: see `check_range`.
    """
    subject = f"input '{part.name}'"
    _check_ends(part, x, subject, clip)
    made = np.empty(x.shape, np.int32)
    found = change(part, x, made)
    if part.coding is Coding.SPIKES:
        _check_whole(part, x, subject, found)
    if found.rounding > COARSE:
        _log.warning("%s: %s", subject, _too_coarse(part, x, found))
    return made, found


def change(part: Input, x: NDArray[Any], made: NDArray[np.int32] | None = None) -> Change:
    """What clip(round(x * scale), low, high) does to `x`; `made` takes those integers."""
    flat = x.reshape(-1)
    target = None if made is None else made.reshape(-1)
    clipped = rounded = 0
    lost = power = 0.0
    for first in range(0, flat.size, BLOCK):
        scaled = flat[first : first + BLOCK].astype(np.float64)
        scaled *= part.scale
        whole = np.rint(scaled)
        kept = np.clip(whole, part.low, part.high)
        if target is not None:
            target[first : first + BLOCK] = kept
        moved = scaled - whole
        if (beyond := kept != whole).any():
            clipped += int(np.count_nonzero(beyond))
            moved[beyond] = 0
        rounded += int(np.count_nonzero(np.abs(moved) > SLACK))
        lost += float(moved @ moved)
        power += float(scaled @ scaled)
    rounding = math.sqrt(lost / power) if rounded else 0.0
    return Change(part.name, flat.size, clipped, rounded, rounding)


def _beyond(part: Input, x: NDArray[Any]) -> int:
    scaled = np.asarray(x, np.float64) * part.scale
    return int(np.count_nonzero((scaled < part.low - 0.5) | (scaled > part.high + 0.5)))


def _out_of_range(part: Input, subject: str, x: NDArray[Any], clipped: int) -> str:
    low, high = float_range(part)
    least, most = (float(end) * part.scale for end in (x.min(), x.max()))
    text = (
        f"{subject} spans {least:g}..{most:g} in units of 1/{part.scale:g}, must lie in "
        f"{part.low}..{part.high}: {clipped:,} of {x.size:,} values lie beyond {low:g}..{high:g}, "
        f"the declared range of {part.coding} values"
    )
    if x.dtype.kind in "iu" and part.scale != 1 and part.low <= x.min() and x.max() <= part.high:
        return (
            f"{text}; divided by the input's scale of {part.scale:g} they would fit (a chip network"
            " runs on such integers as they are)"
        )
    return f"{text}; scale them as for training, or clip them: np.clip(x, {low:g}, {high:g})"


def _too_coarse(part: Input, x: NDArray[Any], found: Change) -> str:
    return (
        f"{found.rounded:,} of {x.size:,} values lie between the integers that x * "
        f"{part.scale:g} is rounded to, which changes them by {100 * found.rounding:.0f} % (rms; "
        f"they span {float(x.min()):g}..{float(x.max()):g}, declared are {part.low}..{part.high})"
    )
