"""Fixtures that several test modules use."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.helpers.command import Spikeport, call
from tests.helpers.leftovers import leaked, running, segments

# Otherwise hypothesis fails a test whose example takes 200 ms, on a machine with other work to do.
settings.register_profile("no deadline", parent=settings(), deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained network as checkpoint, NIR graph and chip network, made by the verbs."""
    made = tmp_path_factory.mktemp("cli")
    model, graph, chip = (made / n for n in ("m.safetensors", "m.nir", "m.spikeport"))
    command = ["train", "--model", "mlp", "--widths", "16", "-T", "4", "--epochs", "2", "-o"]
    assert call([*command, str(model)]) == 0
    assert call(["export", str(model), "-o", str(graph)]) == 0
    assert call(["quantize", str(graph), "-o", str(chip), "--calibration", "32"]) == 0
    return made


@pytest.fixture
def spikeport(capsys: pytest.CaptureFixture[str]) -> Spikeport:
    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = call([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files; after the test it, memory and the process table are clean."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = segments()
    yield folder
    assert running(folder) == []
    # What another Lava is just creating is used by no process yet, but does not stay so.
    deadline, left = time.monotonic() + 5, leaked(before)
    while left and time.monotonic() < deadline:
        time.sleep(0.2)
        left &= leaked(before)
    assert left == set()
    assert list(folder.iterdir()) == []
