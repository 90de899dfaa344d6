"""Accuracy with the confidence interval that its sample size allows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from spikeport.errors import ValueRangeError


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Correct predictions out of n, with the 95 % Wilson interval [low, high] of the true rate."""

    correct: int
    n: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """correct / n."""
        return self.correct / self.n


def accuracy(correct: int, n: int) -> Accuracy:
    """Accuracy with its 95 % interval."""
    low, high = wilson_interval(correct, n)
    return Accuracy(int(correct), int(n), low, high)


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion p = correct / n, without continuity correction.

    (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n)

    Source: E. B. Wilson, JASA 22, 1927; method 3 of R. G. Newcombe, Statist. Med. 17, 1998.

    Raises:
        InputError: n < 1, correct not in 0..n, or confidence not strictly between 0 and 1.
    """
    if n < 1:
        raise ValueRangeError(f"interval of a proportion: n is {n}, must be at least 1")
    if not 0 <= correct <= n:
        raise ValueRangeError(f"interval of a proportion: correct is {correct}, must lie in 0..{n}")
    if not 0 < confidence < 1:
        raise ValueRangeError(
            f"interval of a proportion: confidence {confidence} must lie in (0, 1)"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = correct / n
    middle = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At 0 and at n correct, one end is exact; rounding would leave it slightly off.
    low = 0.0 if correct == 0 else max(0.0, (middle - half) / scale)
    high = 1.0 if correct == n else min(1.0, (middle + half) / scale)
    return low, high
