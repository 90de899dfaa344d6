"""The compiled steps of neurons equal the specification at the ends of all ranges."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport.network import LOIHI, AnyPopulation, ATRLIFPopulation, Population, Reset
from spikeport.simulators.native import neurons
from spikeport.simulators.native.compiled import part
from tests.helpers.processors import MASKED_STORE, instructions

UNITY, M, INT32 = LOIHI.decay_unity, LOIHI.state_wrap, 2**31
DECAYS = st.one_of(
    st.sampled_from([0, 1, 16, UNITY // 2, UNITY - 16, UNITY - 1, UNITY]), st.integers(0, UNITY)
)
BIAS = LOIHI.bias_mantissa_max << LOIHI.bias_exponent_max
SIZES = st.sampled_from([1, 7, 33, 100])
"""Less than a vector, and several with a remainder."""


@functools.cache
def loop(variant: tuple[bool, ...], biased: bool) -> Callable[..., int]:
    """The loop that simulations compile for these constants."""

    def run(
        state: Any,
        dynamics: Any,
        received: NDArray[np.int32],
        added: NDArray[np.int32],
        fired: NDArray[np.uint8],
    ) -> int:
        return neurons.neuron_loop(
            state, dynamics, variant, biased, 0, 0, received.size, received, added, fired
        )

    return part(run)


def values(rng: np.random.Generator, low: int, high: int, size: int) -> NDArray[np.int64]:
    """Numbers of low..high: of all magnitudes, and many at the ends and at those of 24 bits."""
    ends = [end + step for end in (low, -M, 0, M, high) for step in range(-2, 3)]
    at_ends = rng.choice([end for end in ends if low <= end <= high], size)
    drawn = rng.integers(low, high, size, endpoint=True) >> rng.integers(0, 31, size)
    return np.where(rng.random(size) < 0.5, at_ends, drawn.clip(low, high))


def check(neuron: AnyPopulation, seed: int, reach: int, within: bool) -> None:
    """Compare one step from random states, without and with a bias."""
    rng = np.random.default_rng(seed)
    model, registers = neurons.compiled_model(neuron), neuron.registers(LOIHI)
    size = neuron.size
    before = np.array(
        [
            values(rng, r.low, r.high, size) if r.kept else np.zeros(size, np.int64)
            for r in registers
        ]
    )
    received = values(rng, -reach, reach, size)
    for biased in (False, True):
        bias = values(rng, -BIAS, BIAS, size) if biased else np.zeros(size, np.int64)
        state = model.state(
            *(np.zeros((1, size if r.kept else 0), r.variable.dtype) for r in registers)
        )
        for array, given_values in zip(state, before, strict=True):
            array[:] = given_values[: array.shape[1]]
        fired = np.full(size, 7, np.uint8)
        touched = loop(model.variant(neuron, within), biased)(
            state,
            model.dynamics(neuron),
            received.astype(np.int32),
            bias.astype(np.int32),
            fired,
        )
        moved = 0
        for i in range(size):
            start, a, b = tuple(before[:, i].tolist()), int(received[i]), int(bias[i])
            after, spike = neuron.step(start, a, b, LOIHI)
            found = tuple(int(array[0, i]) if array.size else 0 for array in state)
            assert (found, int(fired[i])) == (after, int(spike)), (start, a, b)
            moved += neuron.may_move(start, a, b, LOIHI)
        assert touched == moved


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=SIZES,
    decay_u=DECAYS,
    decay_v=DECAYS,
    vth=st.one_of(st.sampled_from([0, 1, LOIHI.vth_max]), st.integers(0, LOIHI.vth_max)),
    reset=st.sampled_from(Reset),
    refractory=st.sampled_from([0, 0, 1, LOIHI.refractory_max]),
)
def test_lif_steps_are_exact_at_the_ends_of_the_ranges(
    seed: int,
    size: int,
    decay_u: int,
    decay_v: int,
    vth: int,
    reset: Reset,
    refractory: int,
) -> None:
    neuron = Population(
        "p",
        (size,),
        vth=vth,
        decay_u=decay_u,
        decay_v=decay_v,
        reset=reset,
        refractory=refractory,
    )
    check(neuron, seed, INT32 - 1, within=False)
    # a << 6 stays within (-M, M]
    check(neuron, seed, (M - 1) >> LOIHI.activation_shift, within=True)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=SIZES,
    decays=st.tuples(DECAYS, DECAYS, DECAYS, DECAYS),
    theta=st.tuples(*[st.sampled_from([0, 1, 700, LOIHI.theta_max])] * 2),
)
def test_atrlif_steps_are_exact_at_the_ends_of_the_ranges(
    seed: int, size: int, decays: tuple[int, int, int, int], theta: tuple[int, int]
) -> None:
    neuron = ATRLIFPopulation("p", (size,), *theta, *decays)
    check(neuron, seed, INT32 - 1, within=False)
    check(neuron, seed, (M - 1) >> LOIHI.activation_shift, within=True)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(
    "neuron",
    [
        Population("p", (64,), vth=9, decay_v=16),
        Population("p", (64,), vth=9, decay_v=17),
        Population("p", (64,), vth=9, decay_u=1, decay_v=16, reset=Reset.SUBTRACT),
        Population("p", (64,), vth=9, decay_u=1, decay_v=17),
        Population("p", (64,), vth=9, decay_u=1, refractory=3),
        ATRLIFPopulation("p", (64,), 9, 3),
        ATRLIFPopulation("p", (64,), 9, 3, decay_u=1),
    ],
    ids=lambda neuron: neuron.MODEL,
)
def test_no_neuron_is_stored_under_a_mask(neuron: AnyPopulation, biased: bool) -> None:
    """Masks stand for branches; with AVX2 they took five times as long as all else of a neuron."""
    check(neuron, 0, 1000, within=True)
    code = instructions(loop(neurons.compiled_model(neuron).variant(neuron, True), biased))
    assert not code & MASKED_STORE
