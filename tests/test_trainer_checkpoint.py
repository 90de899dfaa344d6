"""Checkpoints: round trip, and every way in which a file can be wrong."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spikeport.errors import InputError, OutputError
from spikeport.network import Coding, Input, Reset
from spikeport.trainer import (
    LIF,
    Checkpoint,
    EpochRecord,
    TrainConfig,
    build_network,
    load_checkpoint,
    save_checkpoint,
)

INPUT = Input("input", (1, 4, 4), Coding.GRADED, 0, 16, scale=16.0)
CONFIG = TrainConfig(widths=(2, 3), steps=3, reset=Reset.SUBTRACT, seed=5)


def checkpoint() -> Checkpoint:
    network = build_network(CONFIG, INPUT, 4)
    network.spiking_pass(torch.rand(6, 1, 4, 4))
    momentum = {
        f"momentum_buffer.{name}": torch.rand_like(p) for name, p in network.named_parameters()
    }
    history = (EpochRecord(1, 0.1 + 0.2, 0.5, 0.25, 0.3, 1.5),)
    return Checkpoint(network, CONFIG, 4, "toy", "abc", history, momentum)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    save_checkpoint(path, checkpoint())
    return path


def rewrite(path: Path, **changes: torch.Tensor | None) -> None:
    """Change tensors of a checkpoint in place; None removes one."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path) | changes
    save_file({k: v for k, v in tensors.items() if v is not None}, path, metadata)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    saved = checkpoint()
    save_checkpoint(tmp_path / "a.safetensors", saved)
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    for name in ("config", "classes", "data", "fingerprint", "history"):
        assert getattr(loaded, name) == getattr(saved, name)
    assert loaded.model.input == INPUT
    assert loaded.model.steps == 3
    assert not loaded.model.training
    state = loaded.model.state_dict()
    assert state.keys() == saved.model.state_dict().keys()
    for key, value in saved.model.state_dict().items():
        assert torch.equal(state[key], value)
    assert loaded.optimizer.keys() == saved.optimizer.keys()
    for key, value in saved.optimizer.items():
        assert torch.equal(loaded.optimizer[key], value)
    x = torch.rand(9, 1, 4, 4)
    assert torch.equal(loaded.model(x), saved.model.eval()(x))


def test_state_of_the_optimizer_is_optional(tmp_path: Path) -> None:
    network = build_network(CONFIG, INPUT, 4)
    save_checkpoint(tmp_path / "a.safetensors", Checkpoint(network, CONFIG, 4, "toy", "abc"))
    assert load_checkpoint(tmp_path / "a.safetensors").optimizer == {}


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone: no such file"):
        load_checkpoint(tmp_path / "gone")
    with pytest.raises(InputError, match="is not a file"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("length", [0, 4, 100, 2000, -1])
def test_truncated_files_are_refused(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"net\.safetensors: is truncated, not a safetensors file"):
        load_checkpoint(path)


def test_foreign_files_are_refused(path: Path) -> None:
    path.write_bytes(b"PK" + bytes(1000))
    with pytest.raises(InputError, match="is truncated, not a safetensors file"):
        load_checkpoint(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="is a safetensors file, but not a Spikeport checkpoint"):
        load_checkpoint(path)


def test_other_versions_and_broken_descriptions_are_refused(path: Path) -> None:
    for document, message in [
        ({"kind": "checkpoint", "version": 99}, "checkpoint version 99, this program reads 2"),
        ({"kind": "network", "version": 2}, "not a Spikeport checkpoint"),
        ({"kind": "checkpoint", "version": 2}, "description is invalid: 'config'"),
        (
            {"kind": "checkpoint", "version": 2, "config": {"steps": 0}},
            r"description is invalid: training: steps \(T\) is 0",
        ),
        ({"kind": "checkpoint", "version": 2, "config": {"colour": 1}}, "description is invalid"),
        ({"kind": "checkpoint", "version": 2, "config": 3}, "description is invalid"),
    ]:
        save_file({"a": torch.zeros(2)}, path, {"spikeport": json.dumps(document)})
        with pytest.raises(InputError, match=message):
            load_checkpoint(path)


def test_checkpoints_without_a_comparison_use_greater_or_equal(path: Path) -> None:
    """Files of 0.1.0."""
    from safetensors import safe_open

    assert load_checkpoint(path).config.strict
    with safe_open(path, framework="pt") as file:
        document = json.loads(file.metadata()["spikeport"])
    del document["config"]["strict"], document["digest"]
    save_file(load_file(path), path, {"spikeport": json.dumps(document)})
    again = load_checkpoint(path)
    neurons = [m for m in again.model.modules() if isinstance(m, LIF)]
    assert neurons
    assert not again.config.strict
    assert not any(lif.strict for lif in neurons)


BUFFER = "momentum_buffer.layers.norm1.bias"
WEIGHT = "network.layers.conv1.weight"


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (WEIGHT, torch.full((2, 1, 3, 3), torch.nan), f"'{WEIGHT}' contains NaN or infinity"),
        (WEIGHT, torch.zeros(2, 1, 3, 2), r"\(2, 1, 3, 2\), must be torch.float32 \(2, 1, 3, 3\)"),
        (WEIGHT, torch.zeros(2, 1, 3, 3).double(), "is torch.float64 .* must be torch.float32"),
        (WEIGHT, None, f"'{WEIGHT}' is missing"),
        ("network.extra", torch.zeros(1), "'network.extra' is unknown to this network"),
        (
            "momentum_buffer.layers.norm1.bias",
            None,
            "'momentum_buffer.layers.norm1.bias' is missing",
        ),
        (
            "network.layers.norm1.running_var",
            torch.full((2,), torch.inf),
            "contains NaN or infinity",
        ),
    ],
)
def test_wrong_tensors_are_refused(
    path: Path, name: str, tensor: torch.Tensor | None, message: str
) -> None:
    rewrite(path, **{name: tensor})
    with pytest.raises(InputError, match=message):
        load_checkpoint(path)


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_old_file(path: Path) -> None:
    before = path.read_bytes()
    with full_disk(1000), pytest.raises(OutputError, match="cannot be written: File too large"):
        save_checkpoint(path, checkpoint())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        save_checkpoint(tmp_path / "no" / "a.safetensors", checkpoint())


def test_history_survives_as_the_same_floats(path: Path) -> None:
    assert np.float64(load_checkpoint(path).history[0].loss) == 0.1 + 0.2
