"""When a population has lost enough by rounding to try other scales, and to tell the user.

One owner for the limits, so that what is searched again is also what is warned about.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

COARSE_BITS = 4
"""Up to so many bits more is lost between a grid's values than beyond its ends."""
FEW_UNITS = 8
"""Up to this threshold, in weight units, rounding one weight is a large step towards it."""


def coarse_share(bits: int) -> float:
    """Share of weights rounded to zero, or of the answer's size in error, that is a lot.

    0.25 + 2^(1 - bits): of 2 bits half the weights of a normal distribution become zero anyway.
    """
    return 0.25 + 2.0 ** (1 - bits)


def zeroed(real: NDArray[np.float64], made: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which weights are not zero and were rounded to it."""
    lost: NDArray[np.bool_] = (real != 0) & (made == 0)
    return lost


def zeroed_fraction(real: NDArray[np.float64], made: NDArray[np.integer]) -> float:
    """Share of the weights that are not zero which was rounded to it; 0 where all are zero."""
    return float(zeroed(real, made).sum() / max(np.count_nonzero(real), 1))


def emptied_rows(real: NDArray[np.float64], made: NDArray[np.integer]) -> int:
    """Target neurons or channels that lost every weight."""
    rows = len(real)
    before, after = (w.reshape(rows, -1).any(axis=1) for w in (real, made))
    return int((before & ~after).sum())


def relative_error(rms_error: float, wanted: ArrayLike) -> float:
    """An error in units of the root mean square of what was wanted; infinite where that is 0."""
    size = float(np.sqrt(np.mean(np.square(wanted))))
    if rms_error == 0:
        return 0.0
    return rms_error / size if size else np.inf
