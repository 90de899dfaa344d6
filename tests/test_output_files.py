"""No verb overwrites its inputs or special files, or writes a file with another kind's suffix."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.network import save_network
from spikeport.storage import output_folder
from spikeport.trainer import (
    GradientRule,
    TrainConfig,
    build_network,
    checkpoint_of,
    load_digits_split,
    save_checkpoint,
    train,
)
from spikeport.trainer.config import Activation
from tests.helpers.command import Spikeport, one_line
from tests.helpers.lava import network

SMALL = ("--model", "mlp", "--widths", "16", "-T", "4", "--epochs", "2")
VALID = ("--set", "training.validation=0.2")
RECIPE = 'title = "r"\n[data]\nname = "digits"\n'


@pytest.fixture
def work(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a copy of every network file, a recipe and a link of each kind."""
    for path in folder.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "r.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}


VERBS = (
    ("diagnose", "m.safetensors", "--out", "x.html"),
    ("run", "m.spikeport", "--trace", "x.h5"),
    ("run", "m.nir", "--trace", "x.h5"),
    ("quantize", "m.nir", "--out", "x.spikeport"),
    ("quantize", "m.safetensors", "--out", "x.spikeport"),
    ("export", "m.spikeport", "--out", "x.nir"),
    ("export", "m.safetensors", "--out", "x.nir"),
    ("export", "m.nir", "--out", "x.nir"),
    ("train", "r.toml", "--out", "x.safetensors"),
)


@pytest.mark.parametrize("how", ["itself", "./", "absolute", "symbolic link", "hard link"])
@pytest.mark.parametrize("command", VERBS, ids=" ".join)
def test_an_output_that_is_the_input(
    work: Path, spikeport: Spikeport, command: tuple[str, ...], how: str
) -> None:
    verb, given, option, out = command
    if how == "symbolic link":
        Path(out).symlink_to(given)
    elif how == "hard link":
        Path(out).hardlink_to(given)
    else:
        out = {"itself": given, "./": f"./{given}", "absolute": str(work / given)}[how]
    before = contents(work)
    code, _, err = spikeport(verb, given, option, out)
    assert code == 2
    said = f"{option} {Path(out)}: is the same file as the input {given}"
    assert said in one_line(err)
    assert contents(work) == before


@pytest.mark.parametrize(
    "command",
    [
        ("train", "digits", *SMALL, "--from", "m.safetensors", "-o", "m.safetensors"),
        ("train", "digits", *SMALL, "--teacher", "m.safetensors", "-o", "m.safetensors"),
        ("train", *SMALL, "--from", "m.safetensors", "--bits", "4", "-o", "m.safetensors"),
        # The best epoch is written next to the checkpoint.
        ("train", *SMALL, *VALID, "--from", "n.best.safetensors", "-o", "n.safetensors"),
        ("train", *SMALL, *VALID, "--teacher", "n.best.safetensors", "-o", "n.safetensors"),
        ("train", *SMALL, "--energy-profile", "p.toml", "-o", "p.safetensors"),
        ("quantize", "m.nir", "--data", "d.npz", "-o", "d.spikeport"),
        ("diagnose", "m.safetensors", "--data", "d.npz", "-o", "d.html"),
        ("run", "m.spikeport", "--data", "d.npz", "--trace", "d.h5"),
        ("ladder", "f/m.safetensors", "-o", "f"),
        ("front", "--budgets", "5uJ", *("--from", "f/budget-5uJ.safetensors"), "-o", "f"),
        ("front", "r.toml", "--budgets", "5uJ", "-o", "f"),
    ],
    ids=" ".join,
)
def test_an_output_that_is_another_input(
    work: Path, spikeport: Spikeport, command: tuple[str, ...]
) -> None:
    shutil.copy("m.safetensors", "n.best.safetensors")
    for name, links in (
        ("p.toml", ["p.safetensors"]),
        ("d.npz", ["d.spikeport", "d.html", "d.h5"]),
    ):
        Path(name).write_text("precious")
        for link in links:
            Path(link).symlink_to(name)
    Path("f").mkdir()
    shutil.copy("m.safetensors", "f/m.safetensors")
    shutil.copy("m.safetensors", "f/budget-5uJ.safetensors")
    Path("f/report.html").symlink_to("m.safetensors")
    Path("f/front.svg").symlink_to(work / "r.toml")
    before = contents(work), contents(work / "f")
    code, _, err = spikeport(*command)
    assert code == 2
    assert "is the same file as the input" in one_line(err)
    assert (contents(work), contents(work / "f")) == before


@pytest.mark.parametrize("command", VERBS, ids=" ".join)
@pytest.mark.parametrize("kind", ["FIFO", "device", "directory"])
def test_an_output_that_is_not_a_regular_file(
    work: Path, spikeport: Spikeport, command: tuple[str, ...], kind: str
) -> None:
    verb, given, option, out = command
    if kind == "FIFO":
        os.mkfifo(out)
    elif kind == "device":
        Path(out).symlink_to("/dev/full")
    else:
        Path(out).mkdir()
    said = "Is a directory" if kind == "directory" else f"it is a {kind}, must be a regular file"
    code, _, err = spikeport(verb, given, option, out)
    assert code == 2
    assert one_line(err) == f"spikeport: {out}: cannot be written: {said}"
    assert not Path(out).is_file()


@pytest.mark.parametrize("command", VERBS, ids=" ".join)
def test_an_output_with_the_suffix_of_another_kind(
    work: Path, spikeport: Spikeport, command: tuple[str, ...]
) -> None:
    verb, given, option, out = command
    right = Path(out).suffix
    for suffix in {
        ".nir",
        ".spikeport",
        ".safetensors",
        ".h5",
        ".html",
        ".toml",
        ".npz",
        ".NPZ",
    } - {right, ".spikeport" if verb == "export" else right}:  # it writes both
        code, _, err = spikeport(verb, given, option, f"new{suffix}")
        assert code == 2
        assert one_line(err).startswith(f"spikeport: {option} new{suffix}: suffix '{suffix}', must")
        assert not Path(f"new{suffix}").exists()


def test_an_output_in_a_folder_that_is_missing_is_refused_before_the_work(
    work: Path, spikeport: Spikeport
) -> None:
    code, _, err = spikeport("train", "--epochs", 10**6, "-o", "none/m.safetensors")
    assert code == 2
    assert one_line(err).endswith(
        "none/m.safetensors: cannot be written: No such file or directory"
    )


def test_the_library_never_overwrites_the_checkpoint_it_starts_from(tmp_path: Path) -> None:
    config = TrainConfig(architecture="mlp", widths=(4,), steps=2, epochs=1, validation=0.2)
    data = load_digits_split()
    path = tmp_path / "m.safetensors"
    train(config, data, checkpoint=path)
    best = tmp_path / "m.best.safetensors"
    before = contents(tmp_path)
    for given in (path, best, str(path)):
        with pytest.raises(InputError, match="is the same file as the input"):
            train(config, data, checkpoint=path, start=given)
    assert contents(tmp_path) == before


def test_an_output_through_a_link_writes_its_target(work: Path, spikeport: Spikeport) -> None:
    Path("far").mkdir()
    Path("x.nir").symlink_to("far/y.nir")
    assert spikeport("export", "m.spikeport", "-o", "x.nir")[0] == 0
    assert os.readlink("x.nir") == "far/y.nir"
    assert spikeport("inspect", "far/y.nir")[0] == 0


def test_a_rewritten_output_keeps_its_permissions(work: Path, spikeport: Spikeport) -> None:
    save_network(network(), "x.spikeport")
    Path("x.spikeport").chmod(0o600)
    assert spikeport("quantize", "m.nir", "-o", "x.spikeport", "--calibration", 8)[0] == 0
    assert Path("x.spikeport").stat().st_mode & 0o777 == 0o600


DATA = 'title = "d"\n[data]\nname = "gone.npz"\n'
ANN = (
    *('title = "a"\n[data]\nname = "digits"\n[training]\n', 'architecture = "mlp"\n'),
    *('widths = [4]\nactivation = "relu"\nsteps = 1\nrule = "bptt_m"\nepochs = 1\n',),
)
REFUSED = {
    "ladder of an ANN": ("is an ANN", "ladder", "ann.safetensors", "-o"),
    "ladder with another ANN": (
        *("has no activations", "ladder", "m.safetensors", "--ann", "m.safetensors", "-o"),
    ),
    "ladder on other samples": ("shape", "ladder", "m.nir", "--data", "other.npz", "-o"),
    "ladder of integers on them": ("shape", "ladder", "m.spikeport", "--data", "other.npz", "-o"),
    "ladder that no target takes": ("nowhere", "ladder", "m.nir", "--target", "nowhere", "-o"),
    "front of missing data": ("gone.npz", "front", "gone.toml", "--budgets", "5uJ", "-o"),
    "front of an ANN": ("an ANN, which has", "front", "ann.toml", "--budgets", "5uJ", "-o"),
    "front from another network": (
        *("network", "front", "r.toml", "--budgets", "5uJ", "--from", "ann.safetensors", "-o"),
    ),
    "shards of no cluster": (
        *("scheduler", "run", "m.spikeport", "--dask", "tcp://127.0.0.1:9", "--resume-folder"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_input_leaves_no_folder(work: Path, spikeport: Spikeport, case: str) -> None:
    Path("gone.toml").write_text(DATA)
    Path("ann.toml").write_text("".join(ANN))
    images = np.zeros((4, 5, 5), np.uint8)
    labels = np.arange(4)
    np.savez("other.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    ann = TrainConfig(
        architecture="mlp", widths=(4,), activation=Activation.RELU, steps=1,
        rule=GradientRule.BPTT_M,
    )  # fmt: skip
    data = load_digits_split()
    network = build_network(ann, data.input, data.classes)
    save_checkpoint("ann.safetensors", checkpoint_of(network, data))
    before = contents(work)
    said, *command = REFUSED[case]
    code, _, err = spikeport(*command, "out/deeper")
    assert code in (2, 3)
    assert said in err
    assert not Path("out").exists()
    assert contents(work) == before


def refused_in(folder: Path, written: Path | None = None) -> None:
    """Write a file, if one is given, then fail, within `output_folder`."""
    with output_folder(folder):
        assert folder.is_dir()
        if written is not None:
            written.write_text("")
        raise InputError("refused")


def test_a_folder_in_which_something_was_written_stays(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="refused"):
        refused_in(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="refused"):
        refused_in(tmp_path / "empty")
    assert (tmp_path / "empty").is_dir()  # it was there before
    with pytest.raises(InputError, match="refused"):
        refused_in(tmp_path / "c" / "d", tmp_path / "c" / "kept")
    assert not (tmp_path / "c" / "d").exists()
    assert (tmp_path / "c" / "kept").is_file()
    with output_folder(tmp_path / "made"):
        pass
    assert (tmp_path / "made").is_dir()
