"""An input of binary digits is several inputs of spikes, with weights at growing exponents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport import check
from spikeport.errors import InputError
from spikeport.mapping import map_network
from spikeport.network import Coding, DeployedNetwork, Input, Population, Readout, population_bound
from spikeport.simulators import run_native, run_reference
from tests.helpers.strategies import networks, samples_for
from tests.helpers.target_networks import dense

SPIKES = ("spikes", "u", "v")


def valued(high: int, *, exponent: int = 0, coding: Coding = Coding.BINARY) -> DeployedNetwork:
    rng = np.random.default_rng(0)
    part = dense("x", "a", 3, 5, exponent=exponent)
    weight = 2 * rng.integers(-100, 100, part.weight.shape)
    return DeployedNetwork(
        (Input("x", (5,), coding, 0, high),),
        (Population("a", (3,), vth=300, decay_v=500),),
        (replace(part, weight=weight.astype(np.int16)),),
        (Readout("a"),),
        4,
    )


def line_by_line(network: DeployedNetwork) -> DeployedNetwork:
    """The same network with an input of spikes for each digit."""
    lines = [
        (part, digit, f"{part.name}_{digit}")
        for part in network.inputs
        for digit in range(network.lines(part.name))
    ]
    return network.replace(
        inputs=tuple(
            Input(name, part.shape) if part.coding is Coding.BINARY else replace(part, name=name)
            for part, _, name in lines
        ),
        connections=tuple(
            replace(c, source=name, name=f"{c.name}_{digit}", exponent=c.exponent + digit)
            for part, digit, name in lines
            for c in network.weighted_from(part.name)
        )
        + tuple(c for c in network.weighted_connections if c.source in network.by_name),
    )


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_value_is_the_sum_of_its_digits(data: st.DataObject) -> None:
    high = data.draw(st.integers(0, 255))
    network = valued(high)
    apart = line_by_line(network)
    rng = np.random.default_rng(high)
    values = rng.integers(0, high, (2, 5), endpoint=True)
    digits = {f"x_{digit}": values >> digit & 1 for digit in range(network.lines("x"))}
    made, parts = (
        run_native(network, values, record=SPIKES),
        run_native(apart, digits, record=SPIKES),
    )
    graded = run_native(valued(high, coding=Coding.GRADED), values, record=SPIKES)
    assert made.trace is not None
    assert parts.trace is not None
    assert graded.trace is not None
    for variable in SPIKES:
        got = getattr(made.trace, variable)["a"]
        assert np.array_equal(got, getattr(parts.trace, variable)["a"])
        assert np.array_equal(got, getattr(graded.trace, variable)["a"])
    assert made.counts is not None
    assert parts.counts is not None
    for count in ("input_events", "messages", "synaptic_events", "synaptic_events_all"):
        assert made.counts.total(count) == parts.counts.total(count)
    assert run_reference(network, values).counts == made.counts
    assert population_bound(network, "a") <= population_bound(apart, "a")


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_events_of_any_network_are_those_of_its_lines(data: st.DataObject) -> None:
    network = data.draw(networks(feed_forward=True, dense_exponents=(0, 1), conv_exponents=(0, 2)))
    samples = data.draw(samples_for(network))
    (part,) = network.inputs
    if part.coding is not Coding.BINARY:
        return
    whole = np.asarray(samples[part.name])
    if whole.ndim == 1 + len(part.shape):  # as many samples as steps are refused of spikes
        whole = np.broadcast_to(whole, (network.steps, *whole.shape))
    split = {f"{part.name}_{d}": whole >> d & 1 for d in range(part.digits)}
    made = run_native(network, {part.name: whole}).counts
    apart = run_native(line_by_line(network), split).counts
    assert made is not None
    assert apart is not None
    for count in ("input_events", "messages", "synaptic_events", "synaptic_events_all"):
        assert made.total(count) == apart.total(count)


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_each_line_is_stored_on_the_cores(target: str) -> None:
    network = valued(16)
    made, apart = map_network(network, target), map_network(line_by_line(network), target)
    assert [piece.demand for piece in made.pieces] == [piece.demand for piece in apart.pieces]


def test_a_chip_without_graded_spikes_takes_it() -> None:
    assert [one.runs for one in check(valued(16), ["loihi1", "loihi2", "lava"])] == [True] * 3
    (found,) = check(valued(16, coding=Coding.GRADED), ["loihi1"])
    assert [str(one) for one in found.unsupported if one.stops] == [
        "input 'x': graded values 0..16 (limit: 0..1); quantize with `--target loihi1`, which "
        "sends values as spikes of their binary digits"
    ]


def test_the_exponent_of_the_last_digit_must_fit() -> None:
    valued(255)
    valued(16, exponent=3)
    with pytest.raises(InputError) as error:
        valued(16, exponent=4)
    assert str(error.value) == (
        "connection 'x_to_a': exponent is 8 for the last binary digit of input 'x', must be at "
        "most 7"
    )
    for low, high, message in (
        (0, 256, "input 'x' (binary): high is 256, must lie in 0..255"),
        (-1, 16, "input 'x' (binary): low is -1, must lie in 0..255"),
        (0, None, "input 'x' (binary): high is missing; binary inputs must state their range"),
    ):
        with pytest.raises(InputError) as error:
            Input("x", (5,), Coding.BINARY, low, high)  # type: ignore[arg-type]
        assert str(error.value).startswith(message), str(error.value)
