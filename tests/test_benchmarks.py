"""The benchmarks compare one and the same network; nothing here is timed."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import networks
from benchmarks.calibrate import calibrated
from benchmarks.children import ChildError, ChildTimeoutError, answer, child
from benchmarks.engines import Variant, cuda, engine
from benchmarks.exits import gain, print_summary
from benchmarks.measure import timed
from benchmarks.networks import random_spikes
from benchmarks.prepare import facts
from benchmarks.simulators import share_of_limit
from benchmarks.stored import load, load_facts, store
from benchmarks.table import print_headline, print_rows, si
from spikeport.backends.norse import norse_status
from spikeport.network import DeployedNetwork
from spikeport.simulators import run_native, run_reference
from tests.helpers.benchmark_networks import NETWORKS


def prepared(name: str, activity: float = 0.2) -> tuple[DeployedNetwork, Any]:
    network = NETWORKS[name]()
    network = calibrated(network, random_spikes(network, 8, activity), activity)
    return network, random_spikes(network, 6, activity)


@pytest.mark.parametrize("activity", [0.05, 0.3])
@pytest.mark.parametrize("name", NETWORKS)
def test_populations_fire_at_the_wanted_rate(name: str, activity: float) -> None:
    network = NETWORKS[name]()
    # a population with feedback to itself jumps from rate to rate as its threshold rises
    tolerance = 0.05 if name == "recurrent" else 0.02
    spikes = random_spikes(network, 16, activity)
    counts = run_native(calibrated(network, spikes, activity), spikes).counts
    assert counts is not None
    for population, fired in counts.spikes.items():
        assert fired / counts.visits[population] == pytest.approx(activity, abs=tolerance)


@pytest.mark.parametrize("name", ["mlp", "deep", "recurrent", "vgg11", "resnet18"])
def test_every_case_builds_the_network_it_names(name: str) -> None:
    network = networks.CASES[name].build()
    neurons = {
        "mlp": 522,
        "deep": 2560,
        "recurrent": 276,
        "vgg11": 64 * 32**2 + 384 * 16**2 + 1024 * 8**2 + 512 * 4**2 + 1024 * 2**2 + 10,
        "resnet18": 5 * 64 * 32**2 + 4 * (128 * 16**2 + 256 * 8**2 + 512 * 4**2) + 10,
    }
    assert sum(part.size for part in network.populations) == neurons[name]


def test_the_network_for_nmnist_is_that_of_the_nir_paper() -> None:
    shapes = {part.name: part.shape for part in networks.nmnist_cnn(steps=2).populations}
    assert shapes["conv1"] == (16, 16, 16)
    assert shapes["conv2"] == (8, 8, 8)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 8970


@pytest.mark.parametrize("name", NETWORKS)
def test_the_reference_gives_the_spikes_of_native(name: str) -> None:
    network, spikes = prepared(name)
    ours, theirs = run_native(network, spikes[:, :2]), run_reference(network, spikes[:, :2])
    for population, fired in theirs.spike_counts.items():
        np.testing.assert_array_equal(ours.spike_counts[population], fired)


@pytest.mark.skipif(norse_status()[0] is None, reason=norse_status()[1] or "present")
@pytest.mark.parametrize("name", NETWORKS)
def test_float_engines_run_the_same_network(name: str) -> None:
    network, spikes = prepared(name)
    expected = engine("native")(network, spikes, 1)(Variant(6), True)
    with warnings.catch_warnings():
        # Norse calls torch.jit.script, which is deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        runs = {other: engine(other)(network, spikes, 1) for other in ("norse", "float")}
        for batch in (6, 4):
            for order in ("layers", "steps"):
                assert_close(runs["norse"](Variant(batch, order), True), expected)
            assert_close(runs["float"](Variant(batch), True), expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_engine_for_a_gpu_counts_the_spikes_of_native(name: str) -> None:
    """Here on the CPU, by the same operations."""
    network, spikes = prepared(name)
    expected = engine("native")(network, spikes, 1)(Variant(6), True)
    assert engine("cuda") is cuda
    for batch in (6, 4):
        assert cuda(network, spikes, 1, device="cpu")(Variant(batch), True) == expected


def assert_close(found: Mapping[str, int], expected: Mapping[str, int]) -> None:
    assert found.keys() == expected.keys()
    for population, fired in expected.items():
        assert abs(found[population] - fired) <= max(2, fired // 50), population


def test_a_stored_network_comes_back(tmp_path: Path) -> None:
    network, spikes = prepared("residual")
    store(tmp_path, network, spikes, {"title": "small"})
    again, same = load(tmp_path)
    assert again == network
    np.testing.assert_array_equal(same, spikes)
    assert load_facts(tmp_path) == {"title": "small"}


def test_products_of_a_pooled_connection_are_those_after_the_pool() -> None:
    network, spikes = prepared("residual")
    counts = run_native(network, spikes).counts
    assert counts is not None
    found = facts(network, counts)["connections"]
    assert found["half_to_output"]["products"] == 6 * 10
    assert found["same_to_half"]["products"] in range(4 * 6 * 9 * 2 * 2 // 2, 4 * 6 * 9 * 2 * 2)


def test_the_limit_is_the_cheaper_way_for_each_connection() -> None:
    known: dict[str, Any] = {
        "connections": {
            "few": {"events": 10.0, "products": 1000},
            "many": {"events": 900.0, "products": 1000},
        }
    }
    known |= {"neurons": 30}
    limits = {"add_rows_int8": 100.0, "products_int8": 200.0, "neurons": 10.0, "memory_bytes": 1.0}
    synapses = 10 / 100 + 1000 / 200
    assert share_of_limit(2.0, known, limits) == pytest.approx(2.0 * synapses)
    assert share_of_limit(2.0, known, limits, neurons=True) == pytest.approx(2.0 * (synapses + 3))


def test_children_answer_fail_and_are_stopped() -> None:
    how: dict[str, Any] = {"threads": 1, "limit_s": 60.0}
    said = child(sys.executable, "calendar", ["2024", "2"], **how)
    assert said.split() == ["26", "27", "28", "29"]
    with pytest.raises(ChildError, match="No module named"):
        answer(sys.executable, "benchmarks.no_such_module", [], **how)
    with pytest.raises(ChildTimeoutError, match="longer than"):
        child(sys.executable, "http.server", ["0"], threads=1, limit_s=0.2)


def test_timing_stops_when_the_budget_is_spent() -> None:
    assert len(timed(lambda: None, 60.0, 1)) == 1
    assert len(timed(lambda: None, 0.0, 5)) == 1


def test_tables_show_bounds_failures_and_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    known = {"title": "small", "rate": {"a": 0.1}, "steps": 4, "samples": 2,
             "events_per_sample_step": 1e3}  # fmt: skip
    common = {"network": "small", "activity_percent": 10.0}
    rows: list[dict[str, Any]] = [
        {"simulator": "native", "sample_steps_per_s": 1e6, "events_per_s": 1e9,
         "share_of_limit": 0.5, "share_with_neurons": 0.6, "peak_bytes": 2**20,
         "startup_s": 1.0, "variant": (2, "")},
        {"simulator": "lava", "capped": True, "at_most_per_s": 10.0},
        {"simulator": "norse", "sample_steps_per_s": 2e5, "events_per_s": 2e8,
         "share_of_limit": 0.1, "share_with_neurons": 0.2, "variant": (2, "steps")},
        {"simulator": "snntorch", "failed": "it broke"},
    ]  # fmt: skip
    rows = [row | common for row in rows]
    print_rows(known, 10.0, rows)
    print_headline(rows)
    shown = capsys.readouterr().out
    for text in (
        "<10",
        ">100,000x",
        "5x norse",
        "60 %",
        "snntorch failed: it broke",
        "steps, batch 2",
    ):
        assert text in shown


def test_the_gain_of_exits_is_paired_by_seed(capsys: pytest.CaptureFixture[str]) -> None:
    common: dict[str, Any] = {"training_percent": 99.0, "firing_rate": 0.1, "seconds": 2.0}
    percents = {(0, False): 90.0, (0, True): 92.0, (1, False): 80.0, (1, True): 81.0}
    rows = [
        {"seed": seed, "exits": {"weight": 1.0} if exits else None, "test_percent": percent}
        | common
        for (seed, exits), percent in percents.items()
    ]
    assert gain(rows) == (1.5, 0.5)
    assert gain(rows[:2]) == (2.0, None)
    print_summary(rows)
    assert "+1.50 ± 0.50 (standard error)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (999, "999"), (1234, "1.23 k"), (2e6, "2 M"), (3e9, "3 G")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert si(value) == text
