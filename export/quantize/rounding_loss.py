"""Limits on rounding errors above which other scales are tried and a warning is issued.

The search for scales and the warnings share these limits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

COARSE_BITS = 4
"""With up to this many bits, rounding between grid values costs more than clipping."""
FEW_UNITS = 8
"""Up to this threshold, in weight units, rounding a single weight is a large part of it."""


def coarse_share(bits: int) -> float:
    """Limit on the share of weights rounded to zero, and on the relative error of the target.

    0.25 + 2^(1 - bits): with 2 bits, half of normally distributed weights become zero anyway.
    """
    return 0.25 + 2.0 ** (1 - bits)


def zeroed(real: NDArray[np.float64], made: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mask of the non-zero weights that were rounded to zero."""
    lost: NDArray[np.bool_] = (real != 0) & (made == 0)
    return lost


def zeroed_fraction(real: NDArray[np.float64], made: NDArray[np.integer]) -> float:
    """Share of the non-zero weights that were rounded to zero; 0 if there are none."""
    return float(zeroed(real, made).sum() / max(np.count_nonzero(real), 1))


def emptied_rows(real: NDArray[np.float64], made: NDArray[np.integer]) -> int:
    """Number of target neurons or channels that lost all their weights."""
    rows = len(real)
    before, after = (w.reshape(rows, -1).any(axis=1) for w in (real, made))
    return int((before & ~after).sum())


def relative_error(rms_error: float, wanted: ArrayLike) -> float:
    """rms_error / rms(wanted); infinite if only rms(wanted) is 0."""
    size = float(np.sqrt(np.mean(np.square(wanted))))
    if rms_error == 0:
        return 0.0
    return rms_error / size if size else np.inf
