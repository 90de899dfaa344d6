"""The ladder on networks other than the demo's, and the demo as its user runs it."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikeport.backends import run as run_backend
from spikeport.backends.lava import lava_status
from spikeport.errors import InputError
from spikeport.export import QuantizeConfig
from spikeport.ladder import LadderConfig, run_demo, run_ladder
from spikeport.ladder.demo import CHIP
from spikeport.ladder.parts import PART_BYTES, STATE_BYTES, VALUE_BYTES, samples_at_once
from spikeport.ladder.stages import stages_of
from spikeport.network import Reset, save_network
from spikeport.parity import Limits
from spikeport.report.document import document_of
from spikeport.report.html import render_html
from spikeport.runs import Run
from spikeport.trainer import LIF, Dataset, Node, SpikingNetwork, TrainConfig, load_digits_split
from spikeport.trainer.chip import AnyNetwork
from spikeport.workflow import export_float, prepare_qat, quantize
from tests.helpers.command import Spikeport
from tests.helpers.networks import digits_like

LOOSE = Limits(max_drop_points=100.0, max_spike_change=100.0)
"""Untrained networks on few samples may change arbitrarily, except between exact stages."""
FEW = LadderConfig(samples=24, calibration=32, reference_samples=2, lava_samples=4)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits_split()


def verdicts(report: object) -> dict[str, str]:
    return {row.stage: row.verdict for row in report.rows}  # type: ignore[attr-defined]


def test_a_short_demo_climbs_to_the_top(tmp_path: Path) -> None:
    told: list[str] = []
    training = TrainConfig(architecture="mlp", widths=(24,), epochs=3, steps=4)
    ladder = run_demo(
        tmp_path / "made",
        training=training,
        ladder=replace(FEW, profile=CHIP),
        progress=lambda what, done, total: told.append(what),
    )
    assert ladder.report.passed
    assert ladder.chip.fit is not None
    assert (ladder.chip.fit.target, ladder.chip.fit.runs) == (CHIP, True)
    found = verdicts(ladder.report)
    exact = ["quantized, in the trainer", "after NIR write and read", "scalar reference"]
    exact += ["Lava"] if lava_status().version else []
    assert all(found[stage] == "identical" for stage in exact)
    for stage in ("float NIR graph", "same file in Norse"):
        assert found[stage].startswith("identical")
    made = {path.name for path in (tmp_path / "made").iterdir()}
    assert made == {
        *("model.safetensors", "float.nir", "network.spikeport", "deployed.nir"),
        *("report.html", "report.md", "ladder.json"),
    }
    stored = json.loads((tmp_path / "made" / "ladder.json").read_text())
    assert stored["parity"]["passed"] is True
    assert stored["parity"]["network_hash"] == ladder.network.content_hash
    assert {row["stage"] for row in stored["parity"]["rows"]} == set(found)
    fewest, spread = ladder.chip.energy
    cores = ladder.chip.fit.cores
    assert fewest == f"after mapping onto {cores} core{'s' * (cores > 1)}"
    assert stored["priced"] == fewest
    assert [*stored["energy"]] == [*ladder.energy, fewest, spread]
    assert stored["energy"][fewest]["placed"]
    times = [found.step_ns.nominal for found in ladder.chip.energy.values()]
    assert times[1] < times[0]
    assert "quantization" in told
    assert told[-1] == "report"
    if lava_status().version:
        assert told[told.index("Lava") + 1] == "Lava, 0 of 4 samples"
        assert "Lava, 4 of 4 samples" in told


def residual(reset: Reset) -> SpikingNetwork:
    """conv - LIF - conv - (+ skip) LIF - pool - linear, with a skip connection around conv 2."""
    torch.manual_seed(0)
    lif = LIF(decay=0.75, reset=reset)
    nodes = (
        Node("conv1", ("input",), nn.Conv2d(1, 6, 3, padding=1)),
        Node("bn1", ("conv1",), nn.BatchNorm2d(6)),
        Node("lif1", ("bn1",), lif),
        Node("conv2", ("lif1",), nn.Conv2d(6, 6, 3, padding=1)),
        Node("lif2", ("conv2",), lif),
        Node("conv3", ("lif2",), nn.Conv2d(6, 6, 3, padding=1)),
        Node("skip", ("lif1",), nn.Conv2d(6, 6, 1)),
        Node("lif3", ("conv3", "skip"), lif),
        Node("pool", ("lif3",), nn.AvgPool2d(2)),
        Node("readout", ("pool",), nn.Linear(96, 10)),
    )
    network = SpikingNetwork(load_digits_split().input, nodes, steps=5).eval()
    with torch.no_grad():  # Untrained weights are too small to make every layer fire.
        for name in ("conv1", "conv2", "conv3", "skip"):
            network.layers.get_parameter(f"{name}.weight").mul_(4)
    return network


def one_layer(data: Dataset, neurons: int, steps: int) -> SpikingNetwork:
    """flatten - linear - LIF."""
    nodes = (
        Node("flat", ("input",), nn.Flatten()),
        Node("fc", ("flat",), nn.Linear(64, neurons)),
        Node("lif", ("fc",), LIF()),
    )
    return SpikingNetwork(data.input, nodes, steps=steps)


@pytest.mark.parametrize("reset", list(Reset))
def test_residual_networks_climb_too(digits: Dataset, tmp_path: Path, reset: Reset) -> None:
    config = LadderConfig(
        samples=16,
        calibration=16,
        reference_samples=1,
        lava_samples=2,
        limits=LOOSE,
    )
    report = run_ladder(residual(reset), digits, tmp_path, config).report
    assert report.passed, verdicts(report)
    skipped = {stage.stage: stage.reason for stage in report.skipped}
    assert "branches with a map on each are not supported" in skipped["same file in Norse"]
    assert "branches with a map on each are not supported" in render_html(document_of(report))
    busy = report.rows[-1].spikes
    assert all(busy[name] > 0 for name in ("lif1", "lif2", "lif3"))


def test_a_stage_that_loses_something_fails(digits: Dataset, tmp_path: Path) -> None:
    strict = LadderConfig(
        samples=200,
        calibration=8,
        reference_samples=1,
        lava_samples=1,
        limits=Limits(max_drop_points=-101.0),
    )
    report = run_ladder(residual(Reset.ZERO), digits, tmp_path, strict).report
    assert not report.passed
    assert verdicts(report)["quantized, native"].startswith("FAILED: accuracy fell by")


@pytest.mark.skipif(lava_status().version is None, reason=f"no Lava: {lava_status().reason}")
def test_a_stage_that_takes_too_long(digits: Dataset, tmp_path: Path) -> None:
    hurried = replace(FEW, timeout_s=0.1, limits=LOOSE)
    report = run_ladder(residual(Reset.ZERO), digits, tmp_path, hurried).report
    assert report.passed
    assert report.rows[-1].stage == "scalar reference"
    lava = report.skipped[-1]
    assert (lava.stage, lava.failed) == ("Lava", True)
    assert "its worker took longer than 0.1 s and was stopped" in lava.reason
    assert "not finished: Lava" in document_of(report).verdict.claims[-1].details
    assert "not finished" in render_html(document_of(report))


@pytest.mark.skipif(lava_status().version is None, reason=f"no Lava: {lava_status().reason}")
def test_a_backend_that_breaks_off_ends_the_command_after_its_report(
    tmp_path: Path, spikeport: Spikeport
) -> None:
    network, _ = digits_like()
    save_network(network, tmp_path / "n.spikeport")
    place, out = tmp_path / "n.spikeport", tmp_path / "ladder"
    code, _, error = spikeport("ladder", place, "-n", 4, "--timeout", 0.1, "--out", out)
    assert code == 3
    assert "ladder: Lava did not finish: backend 'lava': its worker took longer than 0.1 s" in error
    stored = json.loads((tmp_path / "ladder" / "ladder.json").read_text())
    assert stored["parity"]["passed"]
    assert (tmp_path / "ladder" / "report.html").exists()


@pytest.mark.parametrize("bits", [None, 8])
def test_slow_stages_may_be_left_out(digits: Dataset, tmp_path: Path, bits: int | None) -> None:
    trained = residual(Reset.ZERO)
    model: AnyNetwork = trained
    if bits is not None:
        model = prepare_qat(trained, digits.train_x[:32], QuantizeConfig(weight_bits=bits))
    config = replace(FEW, reference_samples=0, lava_samples=0, limits=LOOSE)
    report = run_ladder(model, digits, tmp_path, config).report
    assert report.passed
    assert not {"scalar reference", "Lava"} & verdicts(report).keys()
    left_out = [part for part in report.skipped if part.stage in ("scalar reference", "Lava")]
    assert [part.reason for part in left_out] == ["no samples were requested"] * 2


@pytest.mark.parametrize(
    ("name", "value"), [("lava_samples", -1), ("samples", 0), ("timeout_s", 0.0)]
)
def test_numbers_that_must_be_positive(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}, must be "):
        LadderConfig(**{name: value})  # type: ignore[arg-type]


def test_float_counts_are_those_of_the_trainer(digits: Dataset, tmp_path: Path) -> None:
    from spikeport.simulators.float_counts import float_counts
    from spikeport.trainer import evaluate

    model, x = residual(Reset.SUBTRACT), digits.test_x[:8]
    run = evaluate(model, x, ("spikes", "v_charged"))
    counted = float_counts(export_float(model), x, run)
    assert run.counts is not None
    for kind in ("messages", "synaptic_events", "synaptic_events_all", "input_events"):
        assert getattr(counted, kind) == getattr(run.counts, kind)
    assert {n: counted.spikes[n] for n in run.counts.spikes} == run.counts.spikes
    spiking = np.array([counted.updates[name] for name in run.counts.updates])
    assert (spiking <= [run.counts.visits[name] for name in run.counts.updates]).all()
    for record, message in (((), "no spike trace of"), (("spikes",), "no trace of v of")):
        blind = evaluate(model, x, record)
        with pytest.raises(InputError, match=f"event counts: the .* run has {message} 'lif"):
            float_counts(export_float(model), x, blind)


def test_networks_from_elsewhere_climb_the_stages_that_they_have(
    digits: Dataset, tmp_path: Path
) -> None:
    graph = export_float(residual(Reset.ZERO))
    config = replace(FEW, samples=8, lava_samples=0, limits=LOOSE)
    (tmp_path / "float").mkdir()
    (tmp_path / "deployed").mkdir()
    climbed = run_ladder(graph, digits, tmp_path / "float", config)
    skipped = {stage.stage for stage in climbed.report.skipped}
    assert climbed.report.passed
    assert [*verdicts(climbed.report)] == [
        stage.title
        for stage in stages_of(SpikingNetwork)
        if not stage.is_training and stage.title not in skipped
    ]
    again = run_ladder(climbed.network, digits, tmp_path / "deployed", config)
    assert [*verdicts(again.report)] == [
        "deployed, native",
        "after NIR write and read",
        "scalar reference",
    ]
    assert again.quantization is None
    assert again.deployed_energy.keys() == {"deployed, native"}
    assert again.network == climbed.network
    assert not (tmp_path / "deployed" / "float.nir").exists()


@pytest.mark.parametrize("bits", [None, 8])
def test_parts_add_up_to_the_whole(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int | None
) -> None:
    model: AnyNetwork = residual(Reset.ZERO)
    if bits is not None:
        model = prepare_qat(residual(Reset.ZERO), digits.train_x[:32])
    config = replace(FEW, samples=16, reference_samples=3, lava_samples=0)
    told: list[tuple[str, int, int]] = []
    whole = run_ladder(model, digits, tmp_path, config)
    monkeypatch.setattr("spikeport.ladder.run.samples_at_once", lambda *network: 5)
    parts = run_ladder(model, digits, tmp_path, config, lambda *step: told.append(step))
    assert len(parts.report.rows) == (4 if bits else 6)
    for one, other in zip(parts.report.rows, whole.report.rows, strict=True):
        assert replace(one, wall_s=0.0) == replace(other, wall_s=0.0)
    assert parts.energy == whole.energy
    assert parts.report.skipped == whole.report.skipped
    title = "deployed, native" if bits else "float NIR graph"
    assert [done for stage, done, of in told if stage == title and of == 16] == [0, 5, 10, 15]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_samples(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(FEW, calibration=2, reference_samples=0, lava_samples=0, limits=LOOSE)
    monkeypatch.setattr("spikeport.ladder.parts.PART_BYTES", 2**20)
    model = one_layer(digits, neurons=128, steps=32)
    run_ladder(model, digits, tmp_path, replace(config, samples=8))  # loads and compiles
    peaks = []
    for samples in (8, 32):
        tracemalloc.start()
        run_ladder(model, digits, tmp_path, replace(config, samples=samples))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_a_part_has_one_sample_at_least(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = export_float(residual(Reset.ZERO))
    deployed = quantize(graph, digits.train_x[:4], static=True).network
    many = samples_at_once(digits, graph, deployed)
    assert many == PART_BYTES // (5 * 3 * 6 * 64 * STATE_BYTES + 64 * VALUE_BYTES)
    monkeypatch.setattr("spikeport.ladder.parts.PART_BYTES", 1)
    assert samples_at_once(digits, graph, deployed) == 1


def test_a_backend_that_refuses_later_samples_is_not_skipped(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row would cover the first samples only."""
    runs: list[str] = []

    def run(backend: str, *given: Any, **options: Any) -> Run:
        runs.append(backend)
        if runs.count("norse") == 2:
            raise InputError("too much")
        return run_backend(backend, *given, **options)

    monkeypatch.setattr("spikeport.ladder.stages.run_backend", run)
    monkeypatch.setattr("spikeport.ladder.run.samples_at_once", lambda *network: 5)
    model = one_layer(digits, neurons=10, steps=2)
    with pytest.raises(InputError, match="too much"):
        run_ladder(model, digits, tmp_path, replace(FEW, limits=LOOSE))
