"""Quantization without data."""

from __future__ import annotations

import json
from pathlib import Path

import nir
import numpy as np
import pytest

from spikeport.network import Coding, Input, load_network
from spikeport.workflow import quantize, write_nir
from spikeport.workflow.random_samples import LEAST, MOST, RATES, random_samples
from spikeport.workflow.run import GUESSED
from tests.helpers.command import Spikeport
from tests.helpers.quantize_networks import affine, chain, leaky, network, spikes_in


def test_they_cover_rates_and_ranges() -> None:
    inputs = (
        Input("spikes", (40,)),
        Input("graded", (2, 3, 3), Coding.GRADED, -5, 9, 2.0),
    )
    made = random_samples(inputs, 50)
    rates = made["spikes"].mean(axis=(0, 2))
    assert made["spikes"].shape == (50, MOST, 40)
    assert rates[0] < 2 * RATES[0]
    assert rates[-1] == pytest.approx(RATES[1], abs=0.05)
    assert made["graded"].shape == (MOST, 2, 3, 3)
    assert (made["graded"].min(), made["graded"].max()) == (-2.5, 4.5)
    again = random_samples(inputs, 50)
    assert all(np.array_equal(made[name], again[name]) for name in made)
    large = random_samples((Input("spikes", (2, 128, 128)),), 100)
    assert large["spikes"].shape[1] == LEAST


def test_a_network_without_data_is_quantized_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rng = np.random.default_rng(0)
    graph = chain({"fc": affine(rng.normal(size=(5, 8))), "n": leaky((5,), 0.5)}, spikes_in(8))
    made = quantize(graph)
    assert made.report.warnings[0] == GUESSED
    assert GUESSED in caplog.messages
    assert made.network.provenance["calibration"] == GUESSED
    assert made.report.populations[0].activity is not None
    assert made.report.populations[0].activity.float_spikes > 0
    assert quantize(graph).network == made.network
    given = random_samples(graph.inputs, graph.steps)
    with_data = quantize(graph, given)
    assert with_data.network == made.network
    assert GUESSED not in with_data.report.warnings


def test_several_inputs_of_every_coding() -> None:
    inputs = [
        Input("a", (3,)),
        Input("b", (3,), Coding.GRADED, 0, 9, 9.0),
        Input("c", (3,), Coding.BIAS, 0, 90, 90.0),
    ]
    edges = [("a", "fa"), ("b", "fb"), ("fa", "n"), ("fb", "n"), ("c", "n"), ("n", "output")]
    nodes = {"fa": affine(np.eye(3)), "fb": nir.Linear(np.eye(3)), "n": leaky((3,), 0.5)}
    made = quantize(network(nodes, edges, inputs))
    assert made.report.warnings[0] == GUESSED


def test_data_random_on_the_command_line(tmp_path: Path, spikeport: Spikeport) -> None:
    graph = chain({"fc": affine(np.ones((3, 5))), "n": leaky((3,), 0.5)}, spikes_in(5))
    write_nir(graph, tmp_path / "a.nir")
    code, out, err = spikeport(
        "quantize",
        tmp_path / "a.nir",
        "--data",
        "random",
        "--out",
        tmp_path / "a.spikeport",
        "--json",
    )
    assert code == 0, err
    assert json.loads(out)["report"]["warnings"][0] == GUESSED
    assert load_network(tmp_path / "a.spikeport").provenance["calibration"] == GUESSED
