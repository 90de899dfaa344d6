"""Neurons checked one by one against the specification, and what is wrong with them found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.network import DeployedNetwork
from spikeport.runs import Probe, Run, everything, selection
from spikeport.simulators import (
    check_neurons,
    recompute_neurons,
    run_native,
    run_reference,
    sample_probes,
)
from spikeport.traces import compare_runs
from tests.helpers.networks import ALL, digits_like, with_turned_weights
from tests.helpers.run_comparison import changed
from tests.helpers.strategies import networks, samples_for

often = settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@often
@given(data=st.data())
def test_the_specification_agrees_with_itself(data: st.DataObject) -> None:
    network = data.draw(networks())
    samples = data.draw(samples_for(network))
    run = run_reference(network, samples, record=ALL)
    found = check_neurons(network, samples, run)
    assert found.equal
    assert not found.uncompared
    neurons = sum(part.size for part in network.populations)
    values = neurons * network.steps * run.samples
    assert sum(total.compared for total in found.totals) == 3 * values


@often
@given(data=st.data())
def test_recomputed_neurons_are_those_of_the_whole_specification(data: st.DataObject) -> None:
    network = data.draw(networks())
    samples = data.draw(samples_for(network))
    count = data.draw(st.integers(1, 3))
    read = {Probe(readout.population) for readout in network.readouts}
    native = run_native(network, samples, record=(*sample_probes(network, count), *read))
    some, whole = (
        recompute_neurons(network, samples, native),
        run_reference(network, samples, record=everything(network)),
    )
    found = compare_runs(some, whole, network.order)
    assert found.equal
    assert not found.uncompared
    assert some.trace is not None
    assert native.trace is not None
    for name, part in network.by_name.items():
        chosen = native.trace.neurons.get(("v", name))
        flat = np.arange(part.size) if chosen is None else chosen.flat
        np.testing.assert_array_equal(some.trace.neurons["spikes", name].flat, flat)
        np.testing.assert_array_equal(some.spike_counts[name], whole.spike_counts[name].flat[flat])
    assert some.scores.keys() == whole.scores.keys()
    for name, scores in whole.scores.items():
        np.testing.assert_array_equal(some.scores[name], scores)
    np.testing.assert_array_equal(some.predictions, whole.predictions)


def test_scores_need_all_neurons_of_a_readout() -> None:
    network, samples, run = sampled(2)
    message = r"u and v of [2-4] of 10 neurons of readout 'out' were recorded, its scores need all"
    with pytest.raises(InputError, match=message):
        recompute_neurons(network, samples, run)


@often
@given(data=st.data(), variable=st.sampled_from(ALL))
def test_one_wrong_value_is_found_where_it_stands(data: st.DataObject, variable: str) -> None:
    network = data.draw(networks())
    samples = data.draw(samples_for(network))
    run = run_native(network, samples, record=ALL)
    part = data.draw(st.sampled_from(network.populations))
    limits = network.steps, run.samples, part.size
    step, sample, neuron = (data.draw(st.integers(0, limit - 1)) for limit in limits)
    wrong = changed(run, (variable, part.name, step, sample, neuron))
    found = check_neurons(network, samples, wrong)
    assert found.first is not None
    place = found.first.population, found.first.variable, found.first.step
    assert place == (part.name, variable, step)
    assert (found.first.sample, found.first.flat) == (sample, neuron)
    if variable != "spikes":  # u and v are not handed on
        assert sum(total.differing for total in found.totals) == 1


@often
@given(data=st.data())
def test_neurons_alone_agree_exactly_where_whole_runs_do(data: st.DataObject) -> None:
    """A run of other weights: the inputs of one neuron are as decisive as the whole network."""
    network = data.draw(networks())
    samples = data.draw(samples_for(network))
    other = with_turned_weights(
        network, data.draw(st.sampled_from(network.weighted_connections)).name
    )
    run = dataclasses.replace(
        run_native(other, samples, record=ALL), network_hash=network.content_hash
    )
    whole = compare_runs(run, run_reference(network, samples, record=ALL), network.order)
    found = check_neurons(network, samples, run)
    assert (found.first is None) == (whole.first is None)
    if found.first is not None and whole.first is not None:
        assert found.first == whole.first


def sampled(count: int = 5) -> tuple[DeployedNetwork, Any, Run]:
    network, samples = digits_like()
    return network, samples, run_native(network, samples, record=sample_probes(network, count))


def test_sampled_neurons_of_a_run_with_a_wrong_weight() -> None:
    network, samples, run = sampled()
    assert check_neurons(network, samples, run).equal
    for name in ("image_to_conv", "conv_to_hidden", "loop", "hidden_to_out"):
        other = with_turned_weights(network, name)
        wrong = run_native(other, samples, record=sample_probes(network, 5))
        wrong = dataclasses.replace(wrong, network_hash=network.content_hash)
        found = check_neurons(network, samples, wrong)
        target = next(c.target for c in network.weighted_connections if c.name == name)
        assert {total.population for total in found.totals if total.differing} == {target}


def test_sampled_neurons_are_at_the_borders_and_anywhere() -> None:
    network, _ = digits_like()
    for seed in (0, 1):
        chosen = selection(network, sample_probes(network, 5, seed))
        assert all(chosen["spikes", name] is None for name in network.by_name)
        some, few = chosen["u", "conv"], chosen["v", "out"]
        assert some is not None
        assert few is not None
        assert {0, 9} <= set(few.flat.tolist())
        assert len(few.flat) in range(5, 8)
        places = set(
            zip(*(i.tolist() for i in np.unravel_index(some.flat, (8, 8, 8))), strict=True)
        )
        assert {(c, y, x) for c in (0, 7) for y in (0, 4, 7) for x in (0, 4, 7)} <= places
        assert len(places) in range(19, 24)
    assert sample_probes(network, 5, 0) != sample_probes(network, 5, 1)
    every = selection(network, sample_probes(network, 1000))["u", "hidden"]
    assert every is not None
    assert every.flat.tolist() == list(range(20))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ((), "check: the run has recorded u and v of no neuron"),
        (("spikes",), "check: the run has recorded u and v of no neuron"),
        (
            (Probe("hidden", ("u",)), Probe("hidden", ("spikes",))),
            "check: not all spikes of 'conv', a source of 'hidden', were recorded",
        ),
        (
            (Probe("hidden", ("u",)), Probe("conv", ("spikes",), (1, 2)), Probe("hidden")),
            "check: not all spikes of 'conv', a source of 'hidden', were recorded",
        ),
    ],
)
def test_records_that_do_not_suffice(record: Any, message: str) -> None:
    network, samples = digits_like()
    run = run_native(network, samples, record=record)
    with pytest.raises(InputError, match=message):
        check_neurons(network, samples, run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: dataclasses.replace(run, network_hash="0" * 64), "the run is of network 0000"),
        (lambda run: dataclasses.replace(run, samples=3), "40 samples are given, the run is of 3"),
    ],
)
def test_runs_of_something_else(change: Callable[[Run], Run], message: str) -> None:
    network, samples, run = sampled()
    with pytest.raises(InputError, match=message):
        check_neurons(network, samples, change(run))
