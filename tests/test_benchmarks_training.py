"""The training benchmark measures what it says; nothing here is timed."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import torch

from benchmarks.children import answer
from benchmarks.training_cost import COLUMNS, bptt_of, build, cells, measure
from spikeport.trainer.rules import GradientRule

JOB = {"network": "small_conv", "batch": 4, "repeats": 1, "device": "cpu", "compile": False}


def row(rule: GradientRule, steps: int, **changes: Any) -> dict[str, Any]:
    job = JOB | {"rule": str(rule), "steps": steps, "threads": torch.get_num_threads()} | changes
    return job | measure(job)


def test_saved_bytes_are_flat_for_rates_and_grow_for_bptt() -> None:
    for rule in (GradientRule.RATE_M, GradientRule.RATE_S):
        assert row(rule, 2)["saved_bytes"] == row(rule, 8)["saved_bytes"] > 1e6
    few, many = (row(GradientRule.BPTT_M, steps)["saved_bytes"] for steps in (2, 8))
    assert 3 < many / few <= 4
    found = row(GradientRule.RATE_S, 1)
    assert found["step_s"] >= found["forward_s"] + found["backward_s"] > 0
    assert len(found["all_steps_s"]) == JOB["repeats"]


def test_the_chips_pass_is_timed_beside_the_float_one() -> None:
    found = measure(JOB | {"rule": "chip", "steps": 2, "threads": torch.get_num_threads()})
    assert found["spiking_ratio"] > 0
    # the chip needs no statistics of batch norms, but masters of rounded weights
    assert found["saved_bytes"] < 1.2 * row(GradientRule.RATE_M, 2)["saved_bytes"]


@pytest.mark.slow
def test_a_row_is_measured_in_a_process_of_its_own() -> None:
    job = JOB | {"rule": "rate_m", "steps": 2, "threads": 1}
    found = answer(
        sys.executable,
        "benchmarks.training_cost",
        ["--child", json.dumps(job)],
        threads=1,
        limit_s=300,
    )
    assert found["saved_bytes"] == row(GradientRule.RATE_M, 2)["saved_bytes"]
    assert found["peak_bytes"] > 1e6


@pytest.mark.parametrize("rule", ["rate_m", "rate_s", "chip"])
def test_a_step_is_timed_in_turn_with_one_through_time(rule: str) -> None:
    found = measure(JOB | {"rule": rule, "steps": 2, "threads": 1})
    assert found["bptt_ratio"] > 0
    assert "bptt_ratio" not in measure(JOB | {"rule": bptt_of(rule), "steps": 1, "threads": 1})
    assert bptt_of(rule) == ("bptt_s" if rule == "rate_s" else "bptt_m")


def test_the_table() -> None:
    sizes = {"forward_s": 0.5, "backward_s": 0.5, "saved_bytes": 2**20, "peak_bytes": 2**21}
    rows: list[dict[str, Any]] = [
        {"network": "vgg11", "steps": 4, "rule": "rate_m", "step_s": 1.0, "bptt_ratio": 3.0},
        {"network": "vgg11", "steps": 4, "rule": "bptt_m", "step_s": 3.1},
    ]
    rows = [row | sizes for row in rows]
    rows.append({"network": "vgg11", "steps": 8, "rule": "bptt_m", "failed": "took too long"})
    found = list(cells(rows))
    assert [line[4] for line in found[:2]] == ["3.00x", "1.00x"]
    assert found[0][-3:] == ["1.0 MiB", "2.0 MiB", ""]
    assert found[2][3] == "took too long"
    assert {len(line) for line in found} == {len(COLUMNS)}


@pytest.mark.parametrize("name", ["small_conv", "vgg11", "resnet18"])
def test_networks_of_the_comparison_are_for_cifar(name: str) -> None:
    network = build(name, 2)
    assert network.input.shape == (3, 32, 32)
    assert network.shapes["readout"] == (10,)
