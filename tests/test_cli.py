"""The command line: verbs, JSON, exit codes, and what faults leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import safetensors.numpy

from spikeport.network import load_network, require_lif, require_lif_populations, save_network
from spikeport.trainer import load_checkpoint
from spikeport.trainer.loop.distillation import digest
from tests.helpers.command import Spikeport, one_line


def test_run_gives_json_for_programs(spikeport: Spikeport, folder: Path) -> None:
    code, out, err = spikeport("run", folder / "m.spikeport", "-n", 20, "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["backend"].startswith("native ")
    assert len(result["predictions"]) == 20
    assert result["accuracy_low"] <= result["accuracy"] <= result["accuracy_high"]


@pytest.mark.parametrize("name", ["float", "norse"])
def test_float_graphs_run_too(spikeport: Spikeport, folder: Path, name: str) -> None:
    code, out, _ = spikeport("run", folder / "m.nir", "-b", name, "-n", 20, "--json")
    assert code == 0
    assert json.loads(out)["samples"] == 20


def test_chip_network_travels_through_nir(
    spikeport: Spikeport, folder: Path, tmp_path: Path
) -> None:
    chip = tmp_path / "chip.nir"
    code, out, _ = spikeport("export", folder / "m.spikeport", "-o", chip, "--json")
    assert code == 0
    assert json.loads(out)["read_back_equal"] is True
    code, out, _ = spikeport("compare", folder / "m.spikeport", chip, "-b", "native,reference")
    assert code == 0
    assert out.count("identical") == 2


def test_compare_fails_on_another_network(
    spikeport: Spikeport, folder: Path, tmp_path: Path
) -> None:
    network = load_network(folder / "m.spikeport")
    hidden, *others = network.populations
    louder = replace(require_lif(hidden), vth=require_lif(hidden).vth // 2)
    other = tmp_path / "other.spikeport"
    save_network(network.replace(populations=(louder, *others)), other)
    code, _, err = spikeport("compare", folder / "m.spikeport", other, "-b", "native")
    assert code == 1
    assert "native, other.spikeport: FAILED: different network" in one_line(err)


def test_energy_is_a_range(spikeport: Spikeport, folder: Path) -> None:
    code, out, _ = spikeport("energy", folder / "m.spikeport", "-n", 10, "--json")
    assert code == 0
    total = json.loads(out)["total_per_sample"]
    assert 0 < total["low"] <= total["nominal"] <= total["high"]


def test_inspect_shows_integers_and_graphs(spikeport: Spikeport, folder: Path) -> None:
    code, out, _ = spikeport("inspect", folder / "m.spikeport", "--json")
    assert code == 0
    assert json.loads(out)["content_hash"] == load_network(folder / "m.spikeport").content_hash
    code, out, _ = spikeport("inspect", folder / "m.nir")
    assert code == 0
    assert "LIF" in out


def test_backends_are_listed(spikeport: Spikeport) -> None:
    code, out, _ = spikeport("backends", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)["backends"]}
    assert set(rows) == {"float", "norse", "native", "cuda", "reference", "lava"}
    assert all(row["version"] or (row["reason"] and row["fix"]) for row in rows.values())


def test_tables_for_people(spikeport: Spikeport, folder: Path) -> None:
    for verb in ("run", "energy", "inspect"):
        code, out, err = spikeport(verb, folder / "m.spikeport")
        assert (code, err) == (0, "")
        assert max(len(line.rstrip()) for line in out.splitlines()) <= 100


def truncated(path: Path, tmp_path: Path) -> Path:
    cut = tmp_path / f"cut{path.suffix}"
    cut.write_bytes(path.read_bytes()[:-40])
    return cut


def nan_weights(path: Path, tmp_path: Path) -> Path:
    broken = tmp_path / f"nan{path.suffix}"
    broken.write_bytes(path.read_bytes())
    if path.suffix == ".nir":
        with h5py.File(broken, "r+") as file:
            found: list[Any] = []
            file.visititems(lambda name, item: found.append(item) if "weight" in name else None)
            found[0][0, 0] = np.nan
        return broken
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    name = next(name for name in sorted(tensors) if tensors[name].ndim == 2)
    tensors[name][0, 0] = np.nan
    broken.write_bytes(safetensors.numpy.save(tensors, metadata=metadata))
    return broken


@pytest.mark.parametrize("name", ["m.safetensors", "m.nir", "m.spikeport"])
def test_truncated_and_foreign_files(
    spikeport: Spikeport, folder: Path, tmp_path: Path, name: str
) -> None:
    foreign = tmp_path / f"foreign{Path(name).suffix}"
    foreign.write_text("not what the suffix says")
    for path in (truncated(folder / name, tmp_path), foreign, tmp_path / f"gone{foreign.suffix}"):
        code, out, err = spikeport("inspect", path)
        assert (code, out) == (2, "")
        assert path.name in one_line(err)


@pytest.mark.parametrize("name", ["m.safetensors", "m.nir"])
def test_nan_weights(spikeport: Spikeport, folder: Path, tmp_path: Path, name: str) -> None:
    path = nan_weights(folder / name, tmp_path)
    target = tmp_path / "q.spikeport"
    target.write_text("precious")
    code, _, err = spikeport("quantize", path, "-o", target)
    assert code == 2
    assert "NaN" in one_line(err)
    assert target.read_text() == "precious"


def images(path: Path, count: int = 4, side: int = 8) -> Path:
    pixels = np.zeros((count, side, side), np.uint8)
    labels = np.arange(count) % 10
    np.savez(path, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    return path


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda path: images(path, count=0), "empty"),
        (
            lambda path: images(path, side=7),
            "samples have shape (4, 1, 7, 7), must be (B, 1, 8, 8)",
        ),
    ],
)
def test_empty_data_and_wrong_shape(
    spikeport: Spikeport, folder: Path, tmp_path: Path, made: Any, message: str
) -> None:
    data = made(tmp_path / "images.npz")
    code, out, err = spikeport("run", folder / "m.spikeport", "--data", data)
    assert (code, out) == (2, "")
    assert message in one_line(err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", "0"), "steps (T) is 0"),
        (("--lr", "nan"), "lr is nan"),
        (("--reset", "soft"), "'soft', must be one of 'zero', 'subtract'"),
        (("--widths", "a"), "must be comma-separated integers"),
        (("--data", "nowhere.npz"), "nowhere.npz"),
    ],
)
def test_bad_training_options(
    spikeport: Spikeport, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, _, err = spikeport("train", "-o", tmp_path / "m.safetensors", *arguments)
    assert code == 2
    assert message in one_line(err)
    assert os.listdir(tmp_path) == []


def test_a_nir_file_from_elsewhere_needs_dt_and_steps(spikeport: Spikeport, tmp_path: Path) -> None:
    ones = np.ones(4, np.float32)
    lif_node = nir.LIF(tau=2e-3 * ones, r=ones, v_leak=0 * ones, v_threshold=ones)
    weight = np.ones((4, 64), np.float32)
    nodes = (
        nir.Input({"input": np.array([1, 8, 8])}),
        nir.Flatten({"input": None}, 0),
        nir.Linear(weight),
    )
    foreign = tmp_path / "foreign.nir"
    nir.write(
        foreign, nir.NIRGraph.from_list(*nodes, lif_node, nir.Output({"output": np.array([4])}))
    )
    code, out, _ = spikeport("inspect", foreign, "--json")
    assert (code, json.loads(out)["dt_s"], json.loads(out)["steps"]) == (0, None, None)
    code, _, err = spikeport("run", foreign)
    assert code == 2
    assert "no time step in the file" in one_line(err)
    assert "--dt" in err
    code, _, err = spikeport("run", foreign, "--dt", "1e-3")
    assert code == 2
    assert "no number of steps in the file" in one_line(err)
    chip = tmp_path / "foreign.spikeport"
    given = ("--dt", "1e-3", "-T", 5, "--reset", "subtract")
    code, out, _ = spikeport("quantize", foreign, "-o", chip, "--calibration", 8, *given, "--json")
    assert code == 0
    network = load_network(chip)
    assert network.steps == 5
    assert all(part.reset == "subtract" for part in require_lif_populations(network.populations))
    assert json.loads(out)["content_hash"] == network.content_hash
    for option, comparison in (("--strict", ">"), ("--no-strict", ">=")):
        _, out, _ = spikeport("inspect", foreign, *given, option, "--json")
        assert json.loads(out)["comparison"] == comparison
    code, _, err = spikeport("inspect", foreign, "--dt", "1e-3", "-T", 5, "--reset", "soft")
    assert code == 2
    assert "--reset is 'soft', must be one of 'zero', 'subtract'" in one_line(err)


def test_usage_errors(spikeport: Spikeport, folder: Path) -> None:
    assert spikeport("fly")[0] == 2
    assert spikeport("run", folder / "m.spikeport", "-n", 0)[0] == 2
    code, _, err = spikeport("run", folder / "m.spikeport", "-b", "brain")
    assert code == 2
    assert "backend 'brain' is unknown, must be one of float, norse, native" in one_line(err)
    code, _, err = spikeport("run", folder / "m.spikeport", "-b", "norse")
    assert code == 2
    told = "runs float networks, this one is deployed: use native, cuda, reference, lava"
    assert one_line(err).endswith(told)
    for verb in (("run",), ("run", "--trace", "t.h5")):
        code, _, err = spikeport(*verb, folder / "m.spikeport", "--timeout", 5)
        assert code == 2
        assert "--timeout 5: native: no time limit here, only lava has one" in one_line(err)
    code, _, err = spikeport("compare", folder / "m.spikeport", "--timeout", 5)
    assert code == 2
    assert "--timeout 5: native, reference: no time limit here" in one_line(err)
    code, _, err = spikeport("energy", folder / "m.nir")
    assert code == 2
    assert "use `spikeport quantize` to deploy it" in one_line(err)


def test_missing_lava_is_reported_with_its_fix(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a process of its own: the status is asked once per process.
    done = process(
        ["run", folder / "m.spikeport", "-b", "lava", "-n", 1],
        {"SPIKEPORT_LAVA_PYTHON": str(tmp_path / "none" / "python")},
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "spikeport.backends.lava.environment" in one_line(done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["export", "m.spikeport", "-o"],
        ["quantize", "m.nir", "--calibration", "8", "-o"],
        ["run", "m.spikeport", "-n", "50", "--trace"],
        ["train", "--model", "mlp", "--widths", "64", "--epochs", "1", "-o"],
    ],
    ids=lambda command: command[0],
)
def test_a_full_disk_loses_nothing(folder: Path, tmp_path: Path, command: list[str]) -> None:
    suffix = {"export": ".nir", "run": ".h5", "train": ".safetensors"}.get(command[0], ".spikeport")
    target = tmp_path / f"out{suffix}"
    target.write_text("precious")
    arguments = [folder / part if part.startswith("m.") else part for part in command]
    done = process([*arguments, target], {}, file_limit=2048)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{target}: cannot be written: File too large" in one_line(done.stderr)
    assert target.read_text() == "precious"
    assert os.listdir(tmp_path) == [target.name]


def process(
    arguments: list[Any], environment: dict[str, str], file_limit: int | None = None
) -> subprocess.CompletedProcess[str]:
    """`spikeport` in a new process; a limit on file sizes fails a write like a full disk does."""
    script = "from spikeport.cli import main; main()"
    if file_limit is not None:
        limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({file_limit}, {file_limit}))"
        script = f"import resource; {limit}; {script}"
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_train_names_what_is_not_as_in_the_title(spikeport: Spikeport, tmp_path: Path) -> None:
    command = ["train", "-o", tmp_path / "m.safetensors", "--model", "mlp", "--epochs", 1, "--json"]
    code, text, _ = spikeport(*command, "--widths", 8, "--steps", 2)
    assert code == 0
    assert json.loads(text)["recipe"] == (
        "digits with training.architecture=mlp, training.widths=[8], training.steps=2"
    )


def test_train_takes_a_recipe_and_changes(spikeport: Spikeport, tmp_path: Path) -> None:
    recipe, out = tmp_path / "mine.toml", tmp_path / "m.safetensors"
    recipe.write_text(
        'title = "mine"\n[training]\narchitecture = "mlp"\nwidths = [16]\nsteps = 2\n'
    )
    command = ["train", recipe, "-o", out, "--set", "training.validation=0.2", "--epochs", 3]
    code, text, err = spikeport(*command, "--lines", "--json")
    assert code == 0
    facts = json.loads(text)
    assert (facts["recipe"], facts["epochs"], facts["test_samples"]) == ("mine", 3, 360)
    assert facts["best_epoch_by_validation"] in (1, 2, 3)
    assert 0.5 < facts["best_test_accuracy"] <= 1
    assert facts["energy_uj_per_sample"] > 0
    lines = err.strip().splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("epoch 3/3, loss 0.")
    for part in ("accuracy", "held out", "spikes per neuron and step", "µJ per sample"):
        assert part in lines[2]
    assert sorted(os.listdir(tmp_path)) == ["m.best.safetensors", "m.safetensors", "mine.toml"]
    code, text, _ = spikeport(*command, "--resume", "--json")
    assert (code, json.loads(text)) == (0, facts)
    code, text, _ = spikeport("quantize", out, "-o", tmp_path / "m.spikeport", "--data", recipe)
    assert code == 0
    code, _, err = spikeport("train", recipe, "-o", out, "--set", "training.epoch=3")
    assert code == 2
    assert "unknown key 'training.epoch'; did you mean 'training.epochs'?" in one_line(err)


def test_the_ladder_says_how_to_climb_it_again(
    spikeport: Spikeport, folder: Path, tmp_path: Path
) -> None:
    asked = ["--samples", "16", "--lava-samples", "0", "--reference-samples", "0"]
    model, out = folder / "m.safetensors", tmp_path / "ladder"
    code, text, _ = spikeport("ladder", model, "--bits", 6, *asked, "-o", out, "--json")
    stages = [row["stage"] for row in json.loads(text)["parity"]["rows"]]
    assert code in (0, 1)  # 16 samples may lose more than a point
    assert "after NIR write and read" in stages
    assert "Lava" not in stages
    wanted = f"spikeport ladder {model} --data digits --bits 6 {' '.join(asked)}"
    assert wanted in (out / "report.html").read_text()


def test_chip_training_learns_from_a_teacher(
    spikeport: Spikeport, folder: Path, tmp_path: Path
) -> None:
    model, out, further = folder / "m.safetensors", tmp_path / "a.safetensors", tmp_path / "b"
    command = ["train", "--model", "mlp", "--widths", "16", "-T", "4", "--bits", "4"]
    command += ["--epochs", "1", "--set", "chip.distillation=1.0", "-o"]
    assert spikeport(*command, out, "--from", model)[0] == 0
    assert load_checkpoint(out).teacher == digest(load_checkpoint(model).model)
    code, _, err = spikeport(*command, out, "--resume")
    assert code == 2
    assert "distillation is 1.0, needs a teacher" in one_line(err)
    assert spikeport(*command, out, "--resume", "--from", model)[0] == 0
    code, _, err = spikeport(*command, further, "--from", out)
    assert code == 2
    assert "leaves nothing to learn" in one_line(err)
    assert spikeport(*command, further, "--from", out, "--teacher", model)[0] == 0
    assert load_checkpoint(further).teacher == load_checkpoint(out).teacher


def test_event_data_from_training_to_the_chip(spikeport: Spikeport, tmp_path: Path) -> None:
    data, out, chip = (tmp_path / name for name in ("e.npz", "e.safetensors", "e.spikeport"))
    rng, count = np.random.default_rng(0), 40
    labels = np.arange(count) % 2
    x = np.concatenate([rng.integers(0, 4, 30) + 4 * label for label in labels])
    flat = {"x": x, "y": rng.integers(0, 4, len(x)), "p": rng.integers(0, 2, len(x))}
    flat["t"] = np.tile(np.arange(30) * 100, count)
    arrays: dict[str, Any] = {
        f"train_{name}": values.astype(np.uint16) for name, values in flat.items()
    }
    offsets = np.arange(count + 1) * 30
    np.savez(data, **arrays, train_offsets=offsets, train_labels=labels)
    given = ("--data", data)
    options = ("--model", "mlp", "--widths", "8", "-T", "3", "--epochs", "8", "--batch-size", "8")
    code, text, _ = spikeport("train", *given, *options, "-o", out, "--json")
    assert code == 0
    assert json.loads(text)["test_accuracy"] > 0.9
    assert spikeport("quantize", out, "-o", chip, *given)[0] == 0
    code, text, _ = spikeport("run", chip, *given, "--json")
    assert code == 0
    assert json.loads(text)["accuracy"] > 0.9
    assert spikeport("energy", chip, *given)[0] == 0


def test_a_missing_tensorboard_is_said(
    spikeport: Spikeport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    out = tmp_path / "m.safetensors"
    code, _, err = spikeport("train", "-o", out, "--epochs", 1, "--tensorboard", tmp_path / "log")
    assert code == 3
    assert "tensorboard: is not installed: pip install '.[tensorboard]'" in one_line(err)
    assert os.listdir(tmp_path) == []


def test_tensorboard_shows_every_epoch(spikeport: Spikeport, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out, log = tmp_path / "m.safetensors", tmp_path / "log"
    options = ("--model", "mlp", "--widths", "8", "-T", "2", "--epochs", "2")
    assert spikeport("train", *options, "-o", out, "--tensorboard", log)[0] == 0
    found = accumulator.EventAccumulator(str(log))
    found.Reload()
    tags = set(found.Tags()["scalars"])
    assert {"loss/train", "accuracy/train", "energy per sample, microjoule"} <= tags
    assert [event.step for event in found.Scalars("loss/train")] == [1, 2]
