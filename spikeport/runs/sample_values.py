"""The values an input accepts: one rule for training, calibration and every run.

An input declares integers low..high, which are x * scale for its float values x. A value is in
range if the nearest integer lies in low..high. Values out of range are an error unless clipping is
requested; clipped values are counted. Values between integers are rounded for the chip:

- spikes are 0 or 1, so fractional values are an error;
- graded values and biases are rounded and counted. If rounding changes them by more than COARSE
  (relative rms), the scale is unsuitable: an error for a declared input, a warning if only the
  chip's input is coarse.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import SamplesError
from spikeport.network import Coding, Input

_log = logging.getLogger(__name__)

SLACK = 1e-3
"""In integer units: smaller differences are float32 noise and are not counted as rounding."""
COARSE = 0.25
"""Relative rms change by rounding above which a scale is too coarse for the values."""
BLOCK = 2**16
"""Number of values processed at once, small enough to stay in cache."""


@dataclass(frozen=True, slots=True)
class Change:
    """The changes made by encoding the values of one input as chip integers.

    Attributes:
        values: number of values.
        clipped: number of values beyond the declared range.
        rounded: number of values within the range that are between two integers.
        rounding: rms change by rounding / rms value, within the range.
    """

    input: str
    values: int
    clipped: int
    rounded: int
    rounding: float

    def __str__(self) -> str:
        counts = [
            f"{count:,} of {self.values:,} values {what}"
            for count, what in (
                (self.clipped, "clipped"),
                (self.rounded, f"rounded (by {100 * self.rounding:.2g} % rms)"),
            )
            if count
        ]
        return f"input '{self.input}': {', '.join(counts) or 'nothing changed'}"


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
    """Refuse values that the input does not accept; return the number of values to be clipped.

    Args:
        x: values in float units.
        subject: what the error message calls them.
        clip: accept values beyond the range, which will be clipped later.

    Raises:
        InputError: NaN, infinity, out of range, or fractional although declared as spikes.
    """
    subject = subject or f"input '{part.name}'"
    clipped = _check_ends(part, x, subject, clip)
    if part.coding is Coding.SPIKES:
        _check_whole(part, x, subject, change(part, x))
    return clipped


def _check_ends(part: Input, x: NDArray[Any], subject: str, clip: bool) -> int:
    """The part of `check_range` that depends only on the lowest and the highest value."""
    if not x.size:
        return 0
    lowest, highest = float(x.min()), float(x.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise SamplesError(f"{subject} contains NaN or infinity, must be finite")
    clipped = 0
    if lowest * part.scale < part.low - 0.5 or highest * part.scale > part.high + 0.5:
        clipped = _beyond(part, x)
        if not clip:
            raise SamplesError(_out_of_range(part, subject, x, clipped))
    return clipped


def _check_whole(part: Input, x: NDArray[Any], subject: str, found: Change) -> None:
    """The part of `check_range` that applies only to spikes."""
    if between := found.rounded:
        lowest, highest = float(x.min()), float(x.max())
        raise SamplesError(
            f"{subject}: {between:,} of {x.size:,} values are between 0 and 1 (they span "
            f"{lowest:g}..{highest:g}), but the input is declared as spikes, which are 0 or 1; "
            "declare it as graded: Input(name, shape, 'graded', low, high, scale), with integers "
            "low..high = x * scale"
        )


def check_scale(part: Input, x: NDArray[Any], subject: str | None = None) -> None:
    """Refuse a declared scale that is unsuitable for the values.

    Raises:
        InputError: rounding to the declared integers changes the values by more than COARSE.
    """
    found = change(part, x)
    if found.rounding > COARSE:
        raise SamplesError(f"{subject or f'input {part.name!r}'}: {_too_coarse(part, x, found)}")


def encoded(
    part: Input, x: NDArray[Any], *, clip: bool = False
) -> tuple[NDArray[np.int32], Change]:
    """Encode `x` as chip integers; also return the changes made by encoding.

    A warning is logged if the grid is coarse.

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
    """Changes made by clip(round(x * scale), low, high); the integers are stored in `made`."""
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
            f"{text}; divide them by the input's scale of {part.scale:g} (only a deployed network "
            "accepts such integers directly)"
        )
    return f"{text}; scale them as for training, or clip them: np.clip(x, {low:g}, {high:g})"


def _too_coarse(part: Input, x: NDArray[Any], found: Change) -> str:
    return (
        f"rounding x * {part.scale:g} to integers affects {found.rounded:,} of {x.size:,} values "
        f"and changes them by {100 * found.rounding:.0f} % (rms); x spans "
        f"{float(x.min()):g}..{float(x.max()):g}, the declared integers are {part.low}..{part.high}"
    )
