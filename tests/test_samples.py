"""What the simulators accept as samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.network import Coding, Input
from spikeport.runs import (
    at_step,
    check_float_samples,
    check_samples,
    encode_samples,
    sample_count,
    select,
)

PIXELS = Input("pixels", (1, 2, 2), Coding.GRADED, 0, 16, scale=16.0)
EVENTS = Input("events", (3,))


def test_static_and_timed_samples() -> None:
    arrays = check_samples(
        (PIXELS, EVENTS),
        4,
        {"pixels": np.full((5, 1, 2, 2), 3), "events": np.ones((4, 5, 3), bool)},
    )
    assert sample_count((PIXELS, EVENTS), arrays) == 5
    assert arrays["events"].dtype == np.int32
    assert at_step(PIXELS, arrays["pixels"], 2).shape == (5, 1, 2, 2)
    assert at_step(EVENTS, arrays["events"], 2).shape == (5, 3)
    part = select((PIXELS, EVENTS), arrays, slice(1, 3))
    assert part["pixels"].shape == (2, 1, 2, 2)
    assert part["events"].shape == (4, 2, 3)


def test_encoding_rounds_and_clips() -> None:
    encoded = encode_samples((PIXELS,), 1, np.array([[[[0.0, 0.52], [1.1, -1.0]]]]), clip=True)
    assert encoded["pixels"].ravel().tolist() == [0, 8, 16, 0]
    (change,) = encoded.changes
    assert (change.values, change.clipped, change.rounded) == (4, 2, 1)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((0, 1, 2, 2), int), r"data set is empty \(B = 0\)"),
        (np.zeros((5, 2, 2), int), r"shape \(5, 2, 2\), must be \(B, 1, 2, 2\) or \(T, B, "),
        (np.zeros((3, 5, 1, 2, 2), int), "have 3 steps, the network has T = 4"),
        (np.full((1, 1, 2, 2), 17), r"values span 17\.\.17, must lie in 0\.\.16"),
        (np.zeros((1, 1, 2, 2)), "type float64, must be integers"),
        ({"pixel": np.zeros((1, 1, 2, 2), int)}, "'pixel' is not an input"),
        ({}, "input 'pixels' is missing"),
    ],
)
def test_bad_samples_are_named(samples: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_samples((PIXELS,), 4, samples)


def test_unequal_and_unnamed_inputs() -> None:
    with pytest.raises(InputError, match=r"different sample counts \[2, 3\]"):
        check_samples(
            (PIXELS, EVENTS),
            1,
            {"pixels": np.zeros((2, 1, 2, 2), int), "events": np.zeros((3, 3), int)},
        )
    with pytest.raises(InputError, match="got a single array, but the network has inputs 'pixels'"):
        check_samples((PIXELS, EVENTS), 1, np.zeros((2, 3), int))


def test_float_samples_must_be_finite() -> None:
    with pytest.raises(InputError, match="NaN or infinity"):
        check_float_samples((EVENTS,), 1, np.array([[0.0, np.nan, 1.0]]))
