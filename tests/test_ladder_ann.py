"""The ladder of a converted network starts at the ANN: its row, its limit, what it refuses."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from spikeport.energy import load_profile
from spikeport.errors import ConversionError, InputError, OutputError, UnsupportedError
from spikeport.export import QuantizeConfig
from spikeport.ladder import Ladder, LadderConfig, run_ladder, write_ladder
from spikeport.network import Coding, Input, load_network
from spikeport.parity import Criterion, Limits, build_row, merge_rows
from spikeport.report.html import render_html
from spikeport.report.markdown import render_markdown
from spikeport.report.stored import read_document
from spikeport.runs import Run
from spikeport.trainer import (
    Dataset,
    SpikingNetwork,
    checkpoint_of,
    from_ann,
    make_dataset,
    measure_accuracy,
    save_checkpoint,
)
from spikeport.trainer.conversion import ConversionConfig, convert, to_spiking
from spikeport.trainer.conversion.thresholds import activation_percentiles
from spikeport.trainer.measure import evaluate_ann, macs_of
from spikeport.workflow import export_float, prepare_qat, quantize
from tests.helpers.anns import IMAGE, Residual, digits, random_ann, random_images, trained_ann
from tests.helpers.command import Spikeport, one_line

FEW = LadderConfig(samples=24, calibration=64, reference_samples=1, lava_samples=0)
LOOSE = Limits(max_drop_points=100, max_spike_change=100, max_conversion_points=100)


@functools.cache
def converted(method: str = "initial-potential", steps: int = 8) -> SpikingNetwork:
    config = ConversionConfig(method=method, steps=steps, calibration=64)  # type: ignore[arg-type]
    return convert(trained_ann("conv"), digits(), config).network


@functools.cache
def random_pair() -> tuple[SpikingNetwork, SpikingNetwork, Dataset]:
    """A random residual ANN, its spiking network, and random samples for them."""
    ann, x = random_ann(), random_images(40).numpy()
    network = to_spiking(ann, activation_percentiles(ann, [torch.tensor(x)], 99), 4)
    y = np.arange(40) % 3
    return ann, network, Dataset("random images", x, y, x, y, IMAGE, 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ladder, Path]:
    folder = tmp_path_factory.mktemp("made") / "ladder"
    config = replace(FEW, samples=60, limits=Limits(max_spike_change=1))
    ladder = write_ladder(
        converted(), digits(), folder, config, "spikeport ladder", ann=trained_ann("conv")
    )
    return ladder, folder


class Text(HTMLParser):
    """The text of a page, one line."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.parts).split())

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def test_the_ann_is_the_first_stage(made: tuple[Ladder, Path]) -> None:
    ladder, _ = made
    ann, first, *rest = ladder.report.rows
    model, x, y = trained_ann("conv"), digits().test_x[:60], digits().test_y[:60]
    assert (ann.stage, ann.rule, ann.difference, ann.verdict) == (
        *("ANN", None, None, "start of the ladder"),
    )
    assert ann.accuracy.correct == round(60 * measure_accuracy(model, x, y))
    assert (ann.spikes, ann.synaptic_events, ann.silent, ann.drift) == ({}, None, (), None)
    assert ladder.report.ann == ann
    assert ladder.report.spiking == (first, *rest)
    assert (first.stage, first.rule) == ("float, as trained", Criterion.CONVERSION)
    with torch.no_grad():
        before = model(torch.tensor(x)).argmax(1).numpy()
        after = converted()(torch.tensor(x)).argmax(1).numpy()
    assert first.difference is not None
    assert first.difference.compared == 60
    assert first.difference.predictions == (before != after).sum()
    assert first.difference.extra_errors == (before == y).sum() - (after == y).sum()
    assert first.difference.total_spikes is None  # an ANN has none to compare with
    assert first.drift is None  # it is the training that later stages are compared with
    assert all(row.drift is not None for row in rest)
    assert [row.rule for row in rest][:2] == [Criterion.TIES, Criterion.CHANGE]
    assert "ANN" not in ladder.energy


def test_the_ann_costs_its_multiplications(made: tuple[Ladder, Path], tmp_path: Path) -> None:
    ladder, _ = made
    ann = ladder.report.ann
    assert ann is not None
    price = load_profile("loihi1").int8_mac_pj
    assert price is not None
    assert ann.macs == ladder.energy["quantized, native"].macs > 0
    assert ann.energy_pj == price.interval * ann.macs
    assert load_profile("loihi2").int8_mac_pj is None
    config = replace(FEW, samples=2, reference_samples=0, profile="loihi2", limits=LOOSE)
    folder = tmp_path / "ladder"
    again = write_ladder(converted(), digits(), folder, config, "", ann=trained_ann("conv"))
    assert again.report.ann is not None
    assert (again.report.ann.energy_pj, again.report.ann.macs) == (None, ann.macs)
    assert "no price for a MAC" in (folder / "report.md").read_text()


def test_energies_are_compared_with_the_ann_itself(
    made: tuple[Ladder, Path], tmp_path: Path, spikeport: Spikeport
) -> None:
    """Its MACs are counted, not those of the layers on the chip, which are more here."""
    ann, network, data = random_pair()
    folder = tmp_path / "ladder"
    config = replace(FEW, samples=4, calibration=8, limits=LOOSE)
    ladder = write_ladder(network, data, folder, config, "", ann=ann)
    own = ladder.energy["quantized, native"]
    assert own.ann_macs == macs_of(ann) < own.macs
    price = own.profile.int8_mac_pj
    assert price is not None
    assert own.int8_ann == price.interval * (4 * own.ann_macs)
    for estimate in (own, *ladder.chip.energy.values()):
        assert estimate.ann_macs == own.ann_macs
        for one in estimate.comparisons:
            assert one.ann == one.device.mac_pj(estimate.steps) * own.ann_macs
    page = Text((folder / "report.html").read_text()).text
    assert "The ANN that the network was converted from" in page
    assert f"The network's own layers have {own.macs:,} MACs." in page
    assert "same layers" not in page
    # The command takes the ANN too, and refuses another one.
    file = tmp_path / "ann.safetensors"
    save_checkpoint(file, checkpoint_of(ann, data))
    given = ("energy", folder / "network.spikeport", "--activity", 0.1, "--json", "--ann")
    code, out, _ = spikeport(*given, file)
    told = json.loads(out)
    assert (code, told["ann_macs_per_sample"], told["macs_per_sample"]) == (
        *(0, own.ann_macs, own.macs),
    )
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, checkpoint_of(trained_ann("conv"), digits()))
    code, _, err = spikeport(*given, other)
    assert code == 2
    assert one_line(err).startswith(f"spikeport: --ann {other}: expects samples of shape ")


def test_the_command_line_takes_the_number_of_calibration_samples(
    made: tuple[Ladder, Path], tmp_path: Path, spikeport: Spikeport
) -> None:
    """As `quantize` does: both give the same network."""
    net, out, chip = (tmp_path / name for name in ("net.nir", "out", "chip.spikeport"))
    net.write_bytes((made[1] / "float.nir").read_bytes())
    fast = ("--samples", 4, "--lava-samples", 0, "--reference-samples", 0)
    spikeport("ladder", net, "-o", out, "--calibration", 3, *fast)
    code, _, _ = spikeport("quantize", net, "-o", chip, "--calibration", 3)
    assert code == 0
    assert load_network(out / "network.spikeport") == load_network(chip)
    document = read_document(out)
    assert " --calibration 3 " in document.parity.command
    code, _, err = spikeport("ladder", chip, "-o", tmp_path / "no", "--calibration", 3)
    assert code == 2
    assert f"--calibration 3: {chip} already contains chip integers" in one_line(err)
    code, _, err = spikeport("ladder", net, "-o", tmp_path / "no", "--calibration", 0)
    assert code == 2
    assert not (tmp_path / "no").exists()


def test_what_every_form_of_the_report_says(made: tuple[Ladder, Path]) -> None:
    ladder, folder = made
    first = ladder.report.spiking[0].difference
    assert first is not None
    points = -100 * first.extra_errors / 60
    stored = json.loads((folder / "ladder.json").read_text())
    row = stored["parity"]["rows"][0]
    assert (row["stage"], row["rule"], row["macs"], row["spikes"]) == ("ANN", None, 20352, {})
    assert stored["parity"]["rows"][1]["rule"] == "conversion"
    assert all(other["macs"] is None for other in stored["parity"]["rows"][1:])
    assert stored["limits"]["max_conversion_points"] == 1.0
    (section,) = (part for part in stored["sections"] if "conversion changed" in part["title"])
    facts = {line["fact"]: line["value"] for line in section["rows"]}
    assert facts["ANN"] == "the one that the network was converted from"
    assert facts["predictions that changed"] == f"{first.predictions} of 60"
    assert facts["change of accuracy"] == f"{points:+.2f} points"
    assert facts["MACs of the ANN"] == "20,352 per sample"
    page = Text((folder / "report.html").read_text()).text
    markdown = (folder / "report.md").read_text()
    for text in (page, markdown):
        assert "What the conversion changed" in text
        assert "changed by conversion (expected)" in text
        assert "points against the ANN" in text
        assert "as an int8 network" in text
    assert "| ANN |" in markdown
    document = read_document(folder)  # checks the schema
    assert document.parity == replace(ladder.report, command="spikeport ladder")
    assert render_html(document) == (folder / "report.html").read_text()
    assert render_markdown(document) == markdown


def test_another_ann_of_the_same_form_is_named(made: tuple[Ladder, Path], tmp_path: Path) -> None:
    ladder, _ = made
    other = copy.deepcopy(trained_ann("conv"))
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    config = replace(FEW, samples=2, reference_samples=0, limits=LOOSE)
    write_ladder(converted(), digits(), tmp_path, config, "", ann=other)
    stated = ladder.network.provenance["ann_sha256"]
    assert ladder.report.rows[0].network_hash == stated
    assert (
        f"unless its thresholds were trained then, {stated[:12]}"
        in (tmp_path / "report.md").read_text()
    )


def test_a_conversion_that_loses_too_much_fails(tmp_path: Path) -> None:
    network = converted("data-based", 2)
    found = run_ladder(network, digits(), tmp_path / "a", FEW, ann=trained_ann("conv")).report
    first = found.rows[1]
    assert first.difference is not None
    lost = 100 * first.difference.extra_errors / 24
    assert lost > 1
    assert not first.passed
    assert first.verdict == f"FAILED: accuracy fell by {lost:.2f} points, limit 1"
    raised = replace(FEW, limits=replace(LOOSE, max_conversion_points=lost))
    found = run_ladder(network, digits(), tmp_path / "b", raised, ann=trained_ann("conv")).report
    assert found.passed
    assert found.rows[1].verdict == "changed by conversion (expected)"


def test_a_failed_conversion_decides_the_verdict(tmp_path: Path, spikeport: Spikeport) -> None:
    ann, net = tmp_path / "ann.safetensors", tmp_path / "net.safetensors"
    save_checkpoint(ann, checkpoint_of(trained_ann("conv"), digits()))
    save_checkpoint(net, checkpoint_of(converted("data-based", 2), digits()))
    command = ("ladder", net, "--ann", ann, "-n", 24, "--lava-samples", 0, "-o", tmp_path / "out")
    code, text, err = spikeport(*command, "--reference-samples", 0, "--json")
    assert code == 1
    assert "failed at float, as trained" in err
    stored = json.loads(text)
    assert stored["verdict"]["level"] == "bad"
    (claim,) = (one for one in stored["verdict"]["claims"] if "accuracy" in one["question"])
    assert claim["answer"].startswith("No, ")
    assert f"--ann {ann}" in stored["parity"]["command"]


@pytest.mark.parametrize("start", ["checkpoint", "NIR", "integers", "chip arithmetic"])
def test_every_kind_of_network_may_follow_its_ann(start: str, tmp_path: Path) -> None:
    ann, network, data = random_pair()
    model: Any = network
    if start == "chip arithmetic":
        ann = trained_ann("conv")
        data = digits()
        model = prepare_qat(_trainable(), data.train_x[:32], QuantizeConfig())
    elif start != "checkpoint":
        model = export_float(network)
    if start == "integers":
        model = quantize(model, data.train_x).network
    config = replace(FEW, samples=8, limits=LOOSE)
    rows = run_ladder(model, data, tmp_path / "out", config, ann=ann).report.rows
    assert [row.rule for row in rows[:2]] == [None, Criterion.CONVERSION]
    alone = run_ladder(model, data, tmp_path / "alone", config).report.rows
    assert [row.stage for row in rows[1:]] == [row.stage for row in alone]
    for with_ann, without in zip(rows[2:], alone[1:], strict=True):
        assert replace(with_ann, wall_s=0) == replace(without, wall_s=0)


def _trainable() -> SpikingNetwork:
    """A network of leaky neurons for the samples of the digits, which chip arithmetic can train."""
    from spikeport.trainer import TrainConfig, build_network

    return build_network(
        TrainConfig(architecture="mlp", widths=(16,), steps=4), digits().input, 10
    ).eval()


@pytest.mark.parametrize("start", ["checkpoint", "integers"])
def test_parts_add_up_to_the_whole(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, network, data = random_pair()
    model: Any = network
    if start == "integers":
        model = quantize(export_float(network), data.train_x).network
    config = replace(FEW, samples=16, limits=replace(LOOSE, max_conversion_points=0.0))
    whole = run_ladder(model, data, tmp_path, config, ann=ann)
    monkeypatch.setattr("spikeport.ladder.run.samples_at_once", lambda *network: 5)
    told: list[tuple[str, int, int]] = []
    parts = run_ladder(model, data, tmp_path, config, lambda *step: told.append(step), ann=ann)
    assert len(parts.report.rows) == len(whole.report.rows) > 3
    for one, other in zip(parts.report.rows, whole.report.rows, strict=True):
        assert replace(one, wall_s=0.0) == replace(other, wall_s=0.0)
    assert [done for stage, done, of in told if stage == "ANN" and of == 16] == [0, 5, 10, 15]


def run_of(predictions: list[int], spikes: bool) -> Run:
    """A run with these predictions of three classes."""
    counts = {"a": np.array([0, len(predictions)])} if spikes else {}
    scores = {"out": np.eye(3)[predictions]}
    return Run("test", "1", "", len(predictions), 1, scores, counts, None, None, 0.0)


CLASSES = st.integers(0, 2)


@given(
    st.lists(st.tuples(CLASSES, CLASSES, CLASSES), min_size=1, max_size=40),
    st.floats(0, 100),
    st.data(),
)
def test_the_rule_of_conversion(
    samples: list[tuple[int, int, int]], limit: float, data: st.DataObject
) -> None:
    """It is that of quantization with another limit; parts of the samples are judged as one."""

    def judge(rule: Criterion, limits: Limits, first: int, end: int) -> Any:
        before, after, truth = (list(each) for each in zip(*samples[first:end], strict=True))
        above, run = run_of(before, spikes=False), run_of(after, spikes=True)
        return build_row("stage", run, truth, above=above, rule=rule, limits=limits)

    count, limits = len(samples), Limits(max_drop_points=-101, max_conversion_points=limit)
    row = judge(Criterion.CONVERSION, limits, 0, count)
    lost = 100 * sum((a == y) - (b == y) for a, b, y in samples) / count
    assert row.passed == (lost <= limit)
    assert row.difference.predictions == sum(a != b for a, b, _ in samples)
    assert row.difference.spikes == {"a": None}
    other = judge(Criterion.CHANGE, Limits(max_drop_points=limit), 0, count)
    assert (other.passed, other.difference.extra_errors) == (
        *(row.passed, row.difference.extra_errors),
    )
    assert row.passed or row.verdict == other.verdict
    cut = data.draw(st.integers(0, count))
    parts = [(0, cut), (cut, count)] if 0 < cut < count else [(0, count)]
    merged = merge_rows([judge(Criterion.CONVERSION, limits, *part) for part in parts], (), limits)
    assert merged == row


def other_input(**changed: Any) -> SpikingNetwork:
    """The ANN of `random_pair`, for another input."""
    with torch.random.fork_rng(devices=[]):
        return from_ann(Residual().eval(), replace(IMAGE, **changed)).eval()


def other_classes() -> SpikingNetwork:
    module = Residual().eval()
    module.head = nn.Linear(module.head.in_features, 4)
    return from_ann(module, IMAGE).eval()


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "spiking": (lambda: random_pair()[1], r"has no activations \(ReLU, QuantizedReLU\)"),
    "range": (lambda: other_input(scale=64.0), r"takes values of -1\.\.1, the network of -2\.\.2"),
    "classes": (other_classes, "has 4 classes, the network has 3"),
    "shape": (
        lambda: trained_ann("conv"),
        r"expects samples of shape \(1, 8, 8\), the network of \(2, 6, 6\)",
    ),
    "nothing of the kind": (lambda: "ann.safetensors", "has no activations"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("start", ["checkpoint", "NIR"])
def test_another_ann_is_refused_before_any_work(kind: str, start: str, tmp_path: Path) -> None:
    _, network, data = random_pair()
    build, message = REFUSED[kind]
    model: Any = network if start == "checkpoint" else export_float(network)
    told: list[str] = []
    with pytest.raises(ConversionError, match=f"^ann: {message}.* must be the ANN that the net"):
        write_ladder(
            *(model, data, tmp_path / "out", FEW, "", lambda *step: told.append(step[0])),
            ann=build(),
        )
    assert told == []
    assert not (tmp_path / "out").exists()


def test_samples_that_vary_over_time_are_refused(tmp_path: Path) -> None:
    ann, network, data = random_pair()
    moving = np.stack([data.test_x] * network.steps)
    made = make_dataset(
        (moving.swapaxes(0, 1), data.test_y), (moving.swapaxes(0, 1), data.test_y),
        steps=network.steps, classes=3,
    )  # fmt: skip
    with pytest.raises(InputError, match=r"input 'image': .*shape"):
        run_ladder(network, made, tmp_path / "out", FEW, ann=ann)
    assert not (tmp_path / "out").exists()


def test_a_network_of_two_inputs_has_no_ann(tmp_path: Path) -> None:
    ann, network, data = random_pair()
    deployed = quantize(export_float(network), data.train_x).network
    two = replace(deployed, inputs=(*deployed.inputs, Input("more", (3,), Coding.SPIKES, 0, 1)))
    with pytest.raises(ConversionError, match=r"^ann: has one input, the network has 2; must be"):
        run_ladder(two, data, tmp_path / "out", FEW, ann=ann)


def test_the_command_line_names_the_refused_file(tmp_path: Path, spikeport: Spikeport) -> None:
    net = tmp_path / "net.safetensors"
    save_checkpoint(net, checkpoint_of(converted(), digits()))
    code, _, err = spikeport("ladder", net, "--ann", net, "-o", tmp_path / "out")
    assert code == 2
    assert one_line(err) == (
        f"spikeport: --ann {net}: has no activations (ReLU, QuantizedReLU), must be the ANN that "
        "the network was converted from"
    )
    missing = tmp_path / "missing.safetensors"
    code, _, err = spikeport("ladder", net, "--ann", missing, "-o", tmp_path / "out")
    assert code == 2
    assert str(missing) in one_line(err)
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "report.html").symlink_to(net)
    code, _, err = spikeport("ladder", net, "--ann", net, "-o", tmp_path / "f")
    assert code == 2
    assert "is the same file as the input" in one_line(err)
    assert not (tmp_path / "out").exists()


def test_an_ann_itself_has_no_ladder(tmp_path: Path, spikeport: Spikeport) -> None:
    ann = tmp_path / "ann.safetensors"
    save_checkpoint(ann, checkpoint_of(trained_ann("conv"), digits()))
    for options in ((), ("--ann", ann)):
        code, _, err = spikeport("ladder", ann, *options, "-o", tmp_path / "out")
        assert code == 2
        assert "is an ANN, which sends no spikes; convert it first: spikeport convert" in err
    with pytest.raises(UnsupportedError, match="convert it first: spikeport convert"):
        run_ladder(trained_ann("conv"), digits(), tmp_path / "out", FEW)
    assert not (tmp_path / "out").exists()


def test_multiplications_are_those_that_the_layers_make() -> None:
    """Counted by the shapes that torch computes, one by one."""
    ann, _, _ = random_pair()
    counted = 0

    def count(layer: nn.Module, _: Any, out: torch.Tensor) -> None:
        nonlocal counted
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        counted += out[0].numel() * layer.weight[0].numel()

    model = copy.deepcopy(ann)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    model(random_images(1))
    assert macs_of(ann) == counted


def test_an_ann_is_run_in_evaluation_mode_and_left_as_it_was() -> None:
    ann, _, data = random_pair()
    model = copy.deepcopy(ann)
    with torch.no_grad():
        wanted = model(torch.tensor(data.test_x)).numpy()
    run = evaluate_ann(model.train(), data.test_x)
    assert model.training
    assert np.array_equal(run.scores[model.output], wanted)
    assert (run.steps, run.samples, run.counts, run.trace) == (1, 40, None, None)


def test_a_folder_that_cannot_be_made_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told: list[str] = []
    _, network, data = random_pair()
    with pytest.raises(OutputError, match=r"file/out: cannot be made: Not a directory"):
        run_ladder(network, data, tmp_path / "file" / "out", FEW, lambda *s: told.append(s[0]))
    assert told == []


def test_the_files_are_those_that_the_stages_ran(made: tuple[Ladder, Path]) -> None:
    ladder, folder = made
    assert load_network(folder / "network.spikeport") == ladder.network
    assert {path.name for path in folder.iterdir()} == {
        *("float.nir", "network.spikeport", "deployed.nir"),
        *("report.html", "report.md", "ladder.json"),
    }
