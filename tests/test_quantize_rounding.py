from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from spikeport.export.quantize import QuantizeConfig
from spikeport.export.quantize.lowered import FloatPopulation
from spikeport.export.quantize.rounding import (
    largest_scale,
    round_bias,
    round_decay,
    round_population,
    round_threshold,
    round_weights,
)
from spikeport.network import LOIHI, Reset, is_mixed

BITS = st.integers(2, 8)
weights = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=5),
    elements=st.floats(-4, 4, allow_subnormal=False),
)


@given(weights, BITS)
def test_unclipped_weights_are_within_half_a_grid_step(
    weight: NDArray[np.float64], bits: int
) -> None:
    scale = largest_scale(weight, QuantizeConfig(bits))
    if not np.isfinite(scale) or scale > 1e6:
        return
    made = round_weights(weight * scale, QuantizeConfig(bits))
    assert not LOIHI.off_grid(made, bits).any()
    step = LOIHI.weight_grid(mixed=bool(weight.min() < 0 < weight.max()), bits=bits)[2]
    assert np.abs(made - weight * scale).max() <= step / 2 + 1e-9


@given(weights, BITS, st.floats(0.1, 1e4))
def test_any_scale_gives_legal_weights_nearest_to_the_real_ones(
    weight: NDArray[np.float64], bits: int, scale: float
) -> None:
    scaled = weight * scale
    made = round_weights(scaled, QuantizeConfig(bits))
    assert not LOIHI.off_grid(made, bits).any()
    low, high, step = LOIHI.weight_grid(mixed=is_mixed(made), bits=bits)
    sign = 1 if made.max() > 0 else -1
    legal = np.arange(low, high + 1, step) * (1 if is_mixed(made) else sign)
    nearest = np.abs(scaled[..., None] - legal).min(axis=-1)
    np.testing.assert_allclose(np.abs(scaled - made), nearest, atol=1e-9)


def test_weights_by_hand() -> None:
    assert round_weights(np.array([109.5, -255.5, 3.1, 300.0]), QuantizeConfig(8)).tolist() == [
        110,
        -256,
        4,
        254,
    ]
    assert round_weights(np.array([109.5, 3.1, 300.0]), QuantizeConfig(8)).tolist() == [110, 3, 255]
    assert round_weights(-np.array([109.4, 3.1, 300.0]), QuantizeConfig(8)).tolist() == [
        -109,
        -3,
        -255,
    ]
    assert round_weights(np.array([100.0, -20.0]), QuantizeConfig(4)).tolist() == [96, -32]
    # -0.4 rounds to zero, what is left has one sign and the finer grid
    assert round_weights(np.array([99.0, -0.4]), QuantizeConfig(8)).tolist() == [99, 0]


@pytest.mark.parametrize(
    ("scaled", "strict", "whole", "vth"),
    [
        (100.0, False, True, 99),
        (100.0, True, True, 100),
        (100.3, False, True, 100),
        (100.3, True, True, 100),
        (100.0, False, False, 100),
        (100.0, True, False, 100),
        (100.6, False, False, 101),
        (100.00001, False, True, 99),  # float32 noise, not a threshold above 100
    ],
)
def test_thresholds_by_hand(scaled: float, strict: bool, whole: bool, vth: int) -> None:
    assert round_threshold(scaled, strict=strict, whole=whole) == vth


@given(st.integers(1, 2**21), st.booleans(), st.integers(-3, 3))  # beyond, 1/64 is noise
def test_whole_units_spike_exactly_as_the_real_rule(
    sixtyfourths: int, strict: bool, offset: int
) -> None:
    scaled = sixtyfourths / 64
    vth = round_threshold(scaled, strict=strict, whole=True)
    v = int(scaled) + offset
    assert (v > vth) == (v > scaled if strict else v >= scaled)


@given(st.floats(1, 1e5), st.booleans())
def test_fractional_units_have_the_nearest_threshold(scaled: float, strict: bool) -> None:
    vth = round_threshold(scaled, strict=strict, whole=False)
    assert abs(vth - scaled) <= 0.5 + 1 / 64 + 3e-7 * scaled


@example(np.full(4, 250016.0625))
@given(hnp.arrays(np.float64, 4, elements=st.floats(-500_000, 500_000)))
def test_bias_is_within_half_a_mantissa(state: NDArray[np.float64]) -> None:
    part = FloatPopulation("p", (4,), 0.0, 1.0, state / 64, 1.0)
    made = round_population(part, 1.0, reset=Reset.ZERO, strict=True, config=QuantizeConfig())
    noise = 4e-7 * max(np.abs(state).max(), 1)  # what `settle` takes for float32 noise
    assert np.abs(made.bias_current - state).max() <= 2**made.bias_exponent / 2 + noise
    if made.bias_exponent:
        assert np.abs(state).max() / 2 ** (made.bias_exponent - 1) > LOIHI.bias_mantissa_max


def test_bias_is_clipped_to_its_mantissas() -> None:
    assert round_bias(np.array([1e6, -1e6]), 7).tolist() == [4095, -4096]


def test_decays_by_hand() -> None:
    assert [round_decay(keep) for keep in (0.0, 0.5, 0.9, 1.0)] == [4096, 2048, 410, 0]


def test_subtraction_takes_the_threshold_itself_away() -> None:
    part = FloatPopulation("p", (1,), 0.0, 1.0, np.zeros(1), 1.0)
    loose = round_population(
        part, 200.0, reset=Reset.SUBTRACT, strict=False, config=QuantizeConfig()
    )
    strict = round_population(
        part, 200.0, reset=Reset.SUBTRACT, strict=True, config=QuantizeConfig()
    )
    assert (loose.vth, loose.v_init) == (200, 1)
    assert (strict.vth, strict.v_init) == (200, 0)
    zero = round_population(part, 200.0, reset=Reset.ZERO, strict=False, config=QuantizeConfig())
    assert (zero.vth, zero.v_init) == (199, 0)
