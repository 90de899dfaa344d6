from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.parity import accuracy
from spikeport.parity.statistics import wilson_interval


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
     (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_wilson_interval_equals_newcombe_1998_table_1_method_3(
    correct: int, n: int, low: float, high: float
) -> None:
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)


def test_other_confidences_use_their_own_quantile() -> None:
    # z = 1 at 68.27 %: (p + z^2/2n +- z sqrt(...)) / (1 + z^2/n) with p = 1/2, n = 3.
    low, high = wilson_interval(2, 4, 0.682689492137086)
    assert (low, high) == pytest.approx((0.5 - 0.5 / 5**0.5, 0.5 + 0.5 / 5**0.5), abs=1e-9)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_holds_the_rate_and_mirrors(sample: tuple[int, int]) -> None:
    correct, n = sample
    low, high = wilson_interval(correct, n)
    assert 0 <= low <= correct / n <= high <= 1
    assert wilson_interval(n - correct, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_accuracy_carries_counts_rate_and_interval() -> None:
    got = accuracy(351, 360)
    assert (got.correct, got.n, got.rate) == (351, 360, 0.975)
    assert (got.low, got.high) == wilson_interval(351, 360)


@pytest.mark.parametrize(
    ("correct", "n", "confidence", "message"),
    [
        (0, 0, 0.95, "n is 0, must be at least 1"),
        (5, 4, 0.95, r"correct is 5, must lie in 0\.\.4"),
        (-1, 4, 0.95, r"correct is -1, must lie in 0\.\.4"),
        (1, 4, 1.0, "confidence 1.0 must lie"),
    ],
)
def test_impossible_proportions_are_refused(
    correct: int, n: int, confidence: float, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        wilson_interval(correct, n, confidence)
