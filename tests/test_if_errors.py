"""Quantization and deviation error against literal neurons."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.simulators.if_errors import ErrorTally
from spikeport.trainer import LIF, SpikingNetwork
from spikeport.trainer.conversion import activations, conversion_errors, to_spiking
from tests.helpers.anns import random_ann, random_images


def literal(x: list[float], theta: float, start: float) -> tuple[list[int], float]:
    """Spikes and the last v of one neuron."""
    v, spikes = start, []
    for value in x:
        u = v + value
        spikes.append(int(u >= theta))
        v = u - theta * spikes[-1]
    return spikes, v


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.integers(-96, 160), min_size=7, max_size=7), min_size=1, max_size=3),
    st.sampled_from([0.5, 1.0, 1.5]),
    st.sampled_from([0.0, 0.25, 0.5]),
)
def test_errors_are_those_of_literal_neurons(
    inputs: list[list[int]], theta: float, start: float
) -> None:
    currents = [[value / 64 for value in row] for row in inputs]
    runs = [literal(row, theta, start) for row in currents]
    tally = ErrorTally("a", [3, 7], theta, start)
    wanted = np.linspace(0, 1, len(runs))[None]
    tally.add(
        np.array(currents).T[:, None], np.array([spikes for spikes, _ in runs]).T[:, None], wanted
    )
    for found, steps in zip(tally.errors(), (3, 7), strict=True):
        squares = {name: [] for name in ("q", "d", "c", "t")}  # type: ignore[var-annotated]
        for row, (spikes, _), target in zip(currents, runs, wanted[0], strict=True):
            mean = math.fsum(row[:steps]) / steps
            activation = min(max(mean, 0), theta)
            count = min(max(math.floor((math.fsum(row[:steps]) + start) / theta), 0), steps)
            ideal, rate = count * theta / steps, sum(spikes[:steps]) * theta / steps
            for name, error in zip(
                "qdct",
                (ideal - activation, rate - ideal, rate - activation, rate - target),
                strict=True,
            ):
                squares[name].append(error**2)
        for name, value in zip(
            "qdct",
            (found.quantization, found.deviation, found.conversion, found.total),
            strict=True,
        ):
            assert value == pytest.approx(math.sqrt(np.mean(squares[name])), abs=1e-12)
        if start == theta / 2:
            # saturated or below zero, there is no quantization error
            assert found.quantization <= theta / (2 * steps) + 1e-12
    for row, (spikes, last) in zip(currents, runs, strict=True):
        # theta N / T = mean + (v_0 - v_T) / T
        assert theta * sum(spikes) == pytest.approx(math.fsum(row) + start - last, abs=1e-12)


@settings(max_examples=40)
@given(st.integers(-64, 128), st.integers(1, 30), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_constant_input_has_no_deviation(value: int, steps: int, start: float) -> None:
    x = value / 64
    spikes, _ = literal([x] * steps, 1.0, start)
    tally = ErrorTally("a", [steps], 1.0, start)
    tally.add(np.full((1, 1, 1), x), np.array(spikes)[:, None, None])
    (found,) = tally.errors()
    assert found.deviation == 0
    assert found.input_sigma == 0
    assert found.total is None


def test_batches_add_up() -> None:
    network = to_spiking(ann := random_ann(), thetas(ann), 5)
    x = random_images(6)
    once = conversion_errors(network, [x], [2, 5], ann)
    parts = conversion_errors(network, [x[:4], x[4:]], [5, 2], ann)
    assert len(once) == 2 * len(thetas(ann))
    for a, b in zip(once, parts, strict=True):
        assert (a.layer, a.steps) == (b.layer, b.steps)
        assert a.deviation == pytest.approx(b.deviation, rel=1e-9)
        assert a.total == pytest.approx(b.total, rel=1e-9)


def thetas(network: SpikingNetwork) -> dict[str, float]:
    return dict.fromkeys(activations(network), 1.5)


def test_leaky_neurons_are_refused() -> None:
    network = to_spiking(ann := random_ann(), thetas(ann), 5)
    changed = [
        node if not isinstance(node.op, LIF) else type(node)(node.name, node.inputs, LIF(0.5))
        for node in network.nodes
    ]
    leaky = SpikingNetwork(network.input, changed, 5)
    with pytest.raises(InputError, match=r"decay is 0\.5, must be 1\.0: conversion errors"):
        conversion_errors(leaky, [random_images(1)], [2])
