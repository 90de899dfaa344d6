"""The training benchmark measures what it says; nothing here is timed."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import torch
from torch.nn import functional

from benchmarks import training_cost
from benchmarks.checkpointing import JELLY, MEMOPT, PEERS, available, peer
from benchmarks.children import answer
from benchmarks.foreign import installed
from benchmarks.training_cost import COLUMNS, bptt_of, build, cells, measure
from spikeport.trainer.rules import GradientRule

JOB = {"network": "small_conv", "batch": 4, "repeats": 1, "device": "cpu", "compile": False}


def row(rule: GradientRule | str, steps: int, **changes: Any) -> dict[str, Any]:
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


@pytest.mark.parametrize("rule", ["rate_m", "rate_s", "chip", "checkpoint"])
def test_a_step_is_timed_in_turn_with_one_through_time(rule: str) -> None:
    found = measure(JOB | {"rule": rule, "steps": 2, "threads": 1})
    assert found["bptt_ratio"] > 0
    assert "bptt_ratio" not in measure(JOB | {"rule": bptt_of(rule), "steps": 1, "threads": 1})
    assert bptt_of(rule) == ("bptt_s" if rule == "rate_s" else "bptt_m")


@pytest.mark.parametrize("network", ["small_conv", "resnet18", "vgg11"])
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_trains_the_same_network(name: str, network: str) -> None:
    if not available(name):
        pytest.skip("SpikingJelly is not installed")
    x, y = (
        torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)),
        torch.tensor([1, 7]),
    )

    def gradients(net: Any) -> tuple[torch.Tensor, list[float]]:
        scores = net(x)
        functional.cross_entropy(scores, y).backward()  # type: ignore[no-untyped-call]
        return scores.detach(), sorted(float(p.grad.norm()) for p in net.parameters())

    ours = build(network, 3).train()
    ours.rule = GradientRule.BPTT_M
    (expected, norms), (scores, found) = map(
        gradients, (ours, peer(name, build(network, 3)).train())
    )
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
    assert float(expected.std()) > 0.01
    assert found == pytest.approx(norms, rel=1e-3, abs=1e-5 * max(norms))


def test_checkpoints_keep_less_and_packed_spikes_less_than_that() -> None:
    plain, kept = (row(rule, 8)["saved_bytes"] for rule in (GradientRule.BPTT_M, "checkpoint"))
    assert kept < plain / 2
    if not installed("spikingjelly"):
        pytest.skip("SpikingJelly is not installed")
    theirs = row(JELLY, 8)["saved_bytes"]
    assert theirs > plain
    # 32 x 32 x 32, 64 x 16 x 16 and 128 x 8 x 8 neurons of 4 samples, a bit for each step
    packed = (32 * 32**2 + 64 * 16**2 + 128 * 8**2) * 4 * 8 // 8
    for name in MEMOPT:
        assert packed <= row(name, 8)["saved_bytes"] < kept


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_cost, "available", lambda rule: rule not in MEMOPT)
    found = training_cost._measured(JOB | {"rule": "memopt_blocks", "steps": 2, "threads": 1})
    assert found == {"failed": "SpikingJelly is not installed"}


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
