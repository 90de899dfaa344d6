"""Event counts against hand-computed ones and against the specification's synapses."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport.energy import EventKind
from spikeport.network import (
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Shape,
    SumPool2d,
    WeightedConnection,
    fan_out,
)
from spikeport.runs import EventCounts
from spikeport.simulators import run_native, run_reference
from spikeport.simulators.counts import counted_parts
from spikeport.simulators.reference import stored_synapses
from spikeport.trainer.measure.chip_evaluation import synapses_reached
from tests.helpers.networks import listed_synapses
from tests.helpers.strategies import networks, samples_for


def counted(
    connection: WeightedConnection, source: Shape, target: Shape, samples: NDArray[Any], steps: int
) -> EventCounts:
    """Counts of one connection between an input and a population, equal in both simulators."""
    network = DeployedNetwork(
        inputs=(Input("x", source),),
        populations=(Population("p", target, vth=1000),),
        connections=(connection,),
        readouts=(Readout("p"),),
        steps=steps,
    )
    native, reference = run_native(network, samples), run_reference(network, samples)
    assert native.counts is not None
    assert native.counts == reference.counts
    return native.counts


def test_every_count_has_a_scope() -> None:
    fields = [field.name for field in dataclasses.fields(EventCounts)]
    assert fields == ["samples", "steps", *EventCounts.SCOPES]
    assert set(EventKind) <= EventCounts.SCOPES.keys()


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_counts_are_those_of_the_parts_in_their_scope(data: st.DataObject) -> None:
    network = data.draw(networks())
    samples = data.draw(samples_for(network))
    parts = counted_parts(network)
    for run in (run_native, run_reference):
        counts = run(network, samples).counts
        for name, scope in EventCounts.SCOPES.items():
            assert sorted(getattr(counts, name)) == sorted(parts[scope])


def strided_padded() -> Conv2d:
    weight = np.full((2, 1, 3, 3), 2)
    weight[0, 0, 1, 1] = 0
    weight[1, 0, 0, 0] = 0
    return Conv2d("x", "p", weight, stride=(2, 2), padding=(1, 1))


def test_fan_out_of_a_strided_padded_convolution() -> None:
    nonzero, stored = fan_out(strided_padded(), (1, 4, 4))
    # Windows read rows -1, 0, 1 and 1, 2, 3: row 1 twice, every other once; columns alike.
    assert stored[0].tolist() == [[2, 4, 2, 2], [4, 8, 4, 4], [2, 4, 2, 2], [2, 4, 2, 2]]
    # The centre tap, zero in one channel, meets rows and columns 0 and 2; tap (0, 0) only row 1.
    assert nonzero[0].tolist() == [[1, 4, 1, 2], [4, 7, 4, 4], [1, 4, 1, 2], [2, 4, 2, 2]]


def test_counts_of_a_strided_padded_convolution() -> None:
    image = np.zeros((1, 1, 4, 4), int)
    image[0, 0, [0, 1, 3], [0, 1, 3]] = 1
    counts = counted(strided_padded(), (1, 4, 4), (2, 2, 2), image, steps=2)
    assert counts.messages == {"x_to_p": 6}
    assert counts.synaptic_events == {"x_to_p": 2 * (1 + 7 + 2)}
    assert counts.synaptic_events_all == {"x_to_p": 2 * (2 + 8 + 2)}
    assert counts.visits == {"p": 16}
    assert counts.input_events == {"x": 6}


def test_a_stride_leaves_neurons_unread() -> None:
    kernel = Conv2d("x", "p", np.ones((3, 1, 1, 1), int), stride=(2, 2))
    counts = counted(kernel, (1, 2, 2), (3, 1, 1), np.ones((1, 1, 2, 2), int), steps=1)
    assert counts.messages == {"x_to_p": 4}
    assert counts.synaptic_events_all == {"x_to_p": 3}


def test_counts_of_a_pooled_path_with_leftover_rows() -> None:
    weight = np.array([[0, 3, 5, 7], [1, 3, 5, 7], [1, 3, 5, 7]])
    pooled = Dense("x", "p", weight, pool=SumPool2d((2, 2), (2, 2)))
    nonzero, stored = fan_out(pooled, (1, 5, 5))
    rows = [[2, 2, 3, 3, 0]] * 2 + [[3, 3, 3, 3, 0]] * 2 + [[0] * 5]
    assert nonzero[0].tolist() == rows
    assert stored[0].tolist() == [[3, 3, 3, 3, 0]] * 4 + [[0] * 5]
    counts = counted(pooled, (1, 5, 5), (3,), np.ones((1, 1, 5, 5), int), steps=3)
    assert counts.messages == {"x_to_p": 75}
    assert counts.synaptic_events == {"x_to_p": 3 * (4 * 2 + 12 * 3)}
    assert counts.synaptic_events_all == {"x_to_p": 3 * 16 * 3}


def test_a_padded_pool_in_front_of_a_convolution() -> None:
    kernel = Conv2d("x", "p", np.ones((1, 1, 2, 1), int), pool=SumPool2d((2, 1), (2, 1), (1, 0)))
    # Rows 0 | 1 2 are pooled into two sums; both are read by the only window.
    assert fan_out(kernel, (1, 3, 1))[1].ravel().tolist() == [1, 1, 1]


def test_a_strided_padded_convolution_along_one_axis() -> None:
    weight = np.array([[2, 0, 2], [2, 2, 0]])[:, None]
    kernel = Conv1d("x", "p", weight, stride=2, padding=1)
    # Windows read -1 0 1, 1 2 3 and 3 4 5: taps 1 | 2 0 | 1 | 2 0 | 1 of two channels.
    nonzero, stored = fan_out(kernel, (1, 5))
    assert (nonzero.tolist(), stored.tolist()) == ([[1, 3, 1, 3, 1]], [[2, 4, 2, 4, 2]])
    counts = counted(kernel, (1, 5), (2, 3), np.array([[[1, 1, 0, 0, 1]]]), steps=2)
    assert counts.messages == {"x_to_p": 6}
    assert counts.synaptic_events == {"x_to_p": 2 * (1 + 3 + 1)}
    assert counts.synaptic_events_all == {"x_to_p": 2 * (2 + 4 + 2)}


def test_groups_reach_their_own_channels() -> None:
    kernel = Conv2d("x", "p", np.array([2, 0, 0, 0, 2, 2]).reshape(6, 1, 1, 1), groups=2)
    nonzero, stored = fan_out(kernel, (2, 1, 1))
    assert (nonzero.ravel().tolist(), stored.ravel().tolist()) == ([1, 2], [3, 3])


@pytest.mark.parametrize(("delay", "messages"), [(0, 3), (2, 1), (3, 0), (62, 0)])
@pytest.mark.parametrize("timed", [False, True])
def test_messages_beyond_the_last_step_are_not_delivered(
    delay: int, messages: int, timed: bool
) -> None:
    spikes = np.ones((3, 1, 1) if timed else (1, 1), int)
    dense = Dense("x", "p", np.ones((4, 1), int), delay=delay)
    counts = counted(dense, (1,), (4,), spikes, steps=3)
    assert counts.messages == {"x_to_p": messages}
    assert counts.synaptic_events == {"x_to_p": 4 * messages}
    assert counts.input_events == {"x": 3}


@settings(deadline=None, max_examples=100)
@given(network=networks())
def test_fan_out_counts_the_synapses_of_the_specification(network: DeployedNetwork) -> None:
    total = 0
    for connection in network.weighted_connections:
        shape = network.sources[connection.source].shape
        nonzero, stored = fan_out(connection, shape)
        reached = listed_synapses(connection, shape)
        assert nonzero.shape == stored.shape == shape
        assert stored.ravel().tolist() == [len(targets) for targets in reached]
        assert nonzero.ravel().tolist() == [sum(w != 0 for _, w in ts) for ts in reached]
        measured = synapses_reached(connection, shape, torch.tensor(connection.weight))
        np.testing.assert_array_equal(measured.nonzero, nonzero)
        np.testing.assert_array_equal(measured.stored, stored)
        total += sum(map(len, reached))
    assert stored_synapses(network) == total
