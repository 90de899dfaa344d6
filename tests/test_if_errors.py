"""Quantization and deviation error against literal neurons."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.export.nir import read_nir_float
from spikeport.simulators import ErrorTally, float_conversion_errors
from spikeport.trainer import LIF, SpikingNetwork
from spikeport.trainer.conversion import activations, conversion_errors, to_spiking
from spikeport.workflow import export_float, write_nir
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


def test_a_graph_from_elsewhere_has_the_errors_of_the_network_that_wrote_it(tmp_path: Path) -> None:
    network = to_spiking(ann := random_ann(), thetas(ann), 5)
    x = random_images(6)
    write_nir(export_float(network), tmp_path / "net.nir")
    theirs = read_nir_float(tmp_path / "net.nir")
    found = float_conversion_errors(theirs, x.numpy(), [2, 5])
    known = {(each.layer, each.steps): each for each in conversion_errors(network, [x], [2, 5])}
    assert len(found) == len(known)
    for each in found:
        wanted = known[each.layer, each.steps]
        for name in ("v_threshold", "quantization", "deviation", "conversion", "input_sigma"):
            assert getattr(each, name) == pytest.approx(getattr(wanted, name), rel=1e-3, abs=1e-5)
        assert each.rate == pytest.approx(wanted.rate, abs=1e-12)
        assert each.total is None


def test_samples_are_measured_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    network = export_float(to_spiking(ann := random_ann(), thetas(ann), 5))
    x = random_images(5).numpy()
    once = float_conversion_errors(network, x, [5])
    monkeypatch.setattr("spikeport.simulators.float_errors.VALUES", 2 * 5 * 1000)
    for a, b in zip(once, float_conversion_errors(network, x, [5]), strict=True):
        assert a.deviation == pytest.approx(b.deviation, rel=1e-12)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"reset": "zero", "start": "zero"}, "reset is zero; conversion errors are those of"),
        ({"multiple_spikes": True}, "sends several spikes in one step"),
    ],
)
def test_graphs_of_other_neurons_are_refused(rules: dict[str, Any], message: str) -> None:
    network = export_float(to_spiking(ann := random_ann(), thetas(ann), 5)).with_rules(**rules)
    with pytest.raises(InputError, match=message):
        float_conversion_errors(network, random_images(1).numpy(), [2])
