"""Counts that NeuroBench 2.3.0 gave for nine networks (docs/energy.md), and what it was given."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.neurobench.__main__ import differences, every_step, notes
from benchmarks.neurobench.exchange import UNIT, write_task
from benchmarks.neurobench.networks import (
    ACTIVITY,
    RLEAKY,
    SAMPLES,
    given_samples,
    made_networks,
)
from benchmarks.neurobench.ours import counted
from spikeport import run_native
from spikeport.network import Conv1d, DeployedNetwork, Input, Population, Readout
from spikeport.network.connections.linear_map import dense_form
from tests.helpers.layout import ROOT
from tests.helpers.pages import table

PAGE = (ROOT / "docs" / "energy.md").read_text("utf-8")
RECORDED = {row["network"]: row for row in table(PAGE, "network", "ACs", "MACs", "dense", "spikes")}
NETWORKS = made_networks()


@cache
def ran(name: str) -> tuple[DeployedNetwork, dict[str, Any], Any, dict[str, Any]]:
    network = NETWORKS[name]
    samples = given_samples(network, SAMPLES, ACTIVITY)
    run = run_native(network, samples, record=("spikes", "v"))
    given = every_step(network, samples)
    return network, given, run, counted(network, given, run, rleaky=name == RLEAKY)


@pytest.mark.parametrize("name", NETWORKS)
def test_counts_are_those_of_neurobench(name: str) -> None:
    ours = ran(name)[3]
    found = {
        "ACs": f"{ours['ac']:,}",
        "MACs": f"{ours['mac']:,}",
        "dense": f"{ours['dense']:,}",
        "spikes": f"{sum(one['spikes'] for one in ours['populations'].values()):,}",
        "membrane updates": f"{ours['membrane_updates']:,}",
        "zero weights": f"{ours['connection_sparsity']:.2%}",
    }
    assert found == {key: RECORDED[name][key] for key in found}


@pytest.mark.parametrize("name", NETWORKS)
def test_operations_are_spikes_times_weights_that_are_not_zero(name: str) -> None:
    network, given, run, ours = ran(name)
    sent = {**given, **run.trace.spikes}
    for part in network.weighted_connections:
        counts = ours["connections"][part.name]
        matrix = dense_form(part, network.sources[part.source].shape) != 0
        values = sent[part.source].reshape(network.steps, SAMPLES, -1)
        events = int(((values[: network.steps - part.delay] != 0) @ matrix.T.astype(int)).sum())
        assert counts["synaptic_events"] == events
        calls = 2 if name == RLEAKY and part.source == part.target else 1
        if part.pool is None:
            assert counts["ac"] + counts["mac"] == calls * events
        else:
            assert counts["ac"] + counts["mac"] < events


def test_a_pool_multiplied_into_its_kernel_costs_what_its_spikes_cost() -> None:
    pool, composed = ran("pool")[3], ran("composed")[3]
    assert pool["synaptic_events"] == composed["ac"] == composed["synaptic_events"]
    assert pool["populations"] == composed["populations"]
    text = " ".join(PAGE.split())
    assert f"{composed['ac']:,} events for `pool`, against {pool['ac'] + pool['mac']:,}" in text


def test_updates_have_three_definitions() -> None:
    ours = ran("pruned")[3]
    three = [f"{ours[key]:,}" for key in ("membrane_updates", "updates", "visits")]
    assert f"{three[0]}, {three[1]} and {three[2]} for `pruned`" in " ".join(PAGE.split())


def test_differences_and_definitions_are_named() -> None:
    network, _, _, ours = ran("pool")
    theirs = copy.deepcopy(ours) | {"spikes_that_differ": {"a": 0, "b": 3}}
    theirs["ac"] += 1
    theirs["connections"]["x_to_a"]["dense"] -= 1
    theirs["populations"]["c"]["spikes"] += 1
    assert [*differences(ours, theirs)] == [
        f"ac: {ours['ac']} here, {ours['ac'] + 1} in NeuroBench",
        f"dense of x_to_a: {theirs['connections']['x_to_a']['dense'] + 1} here, "
        f"{theirs['connections']['x_to_a']['dense']} in NeuroBench",
        f"spikes of c: {ours['populations']['c']['spikes']} here, "
        f"{ours['populations']['c']['spikes'] + 1} in NeuroBench",
        "3 spikes of b differ from those of snnTorch",
    ]
    assert [line.partition(":")[0] for line in notes(network, ours)] == ["a_to_c", "c_to_b"]
    assert [*notes(ran("leaky")[0], ran("leaky")[3])] == [
        "spikes and potentials given, not simulated: a, b"
    ]


@pytest.mark.parametrize("name", ["mlp", "pool", RLEAKY, "pruned", "leaky"])
def test_layers_and_spikes_come_back_from_the_files(name: str, tmp_path: Path) -> None:
    network, given, run, _ = ran(name)
    write_task(tmp_path, network, given, run.trace, rleaky=name == RLEAKY)
    task = json.loads((tmp_path / "task.json").read_text("utf-8"))
    with np.load(tmp_path / "arrays.npz", allow_pickle=False) as arrays:
        for part in task["inputs"]:
            np.testing.assert_array_equal(arrays[part["values"]], given[part["name"]])
        for part in task["populations"]:
            name_of = part["name"]
            np.testing.assert_array_equal(arrays[part["spikes"]], run.trace.spikes[name_of])
            np.testing.assert_array_equal(arrays[part["v"]] * UNIT, run.trace.v[name_of])
            assert part["simulated"] == (name != "leaky")
            assert part["recurrent"] == ("a_to_a" if (name, name_of) == (RLEAKY, "a") else None)
        for part, stated in zip(task["connections"], network.weighted_connections, strict=True):
            weight, bias = arrays[part["weight"]], part["bias"]
            expected = stated.weight if part["layer"] != "linear" else stated.matrix(())
            np.testing.assert_array_equal(weight, expected)
            assert part["pool"] == (
                None
                if stated.pool is None
                else {"kernel_size": [2, 2], "stride": [2, 2], "padding": [0, 0]}
            )
            assert part["delay"] == stated.delay
            target = network.by_name[stated.target]
            if bias is not None:
                np.testing.assert_array_equal(arrays[bias] * UNIT, target.bias_current)
            assert (bias is not None) == (name == "mlp" and stated.name == "a_to_c")


def test_a_shifted_sum_is_a_scaled_weight_or_is_not_simulated(tmp_path: Path) -> None:
    def network(exponent: int) -> DeployedNetwork:
        kernel = Conv1d("x", "a", np.full((2, 1, 3), 4, np.int16), exponent=exponent)
        return DeployedNetwork(
            (Input("x", (1, 6)),), (Population("a", (2, 4), vth=9),), (kernel,), (Readout("a"),), 3
        )

    for exponent, simulated, weight in ((2, True, 16), (-1, False, 4)):
        run = run_native(network(exponent), np.ones((3, 1, 1, 6), int), record=("spikes", "v"))
        assert run.trace is not None
        given = every_step(network(exponent), np.ones((3, 1, 1, 6), int))
        write_task(tmp_path, network(exponent), given, run.trace)
        task = json.loads((tmp_path / "task.json").read_text("utf-8"))
        assert [part["simulated"] for part in task["populations"]] == [simulated]
        assert task["connections"][0]["layer"] == "conv1d"
        with np.load(tmp_path / "arrays.npz", allow_pickle=False) as arrays:
            assert set(arrays[task["connections"][0]["weight"]].ravel()) == {weight}
