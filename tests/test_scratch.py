"""Temporary folders that are gone with their process, whatever ended it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spikeport.errors import OutputError
from spikeport.storage import scratch, scratch_folder

SCRIPT = """
import subprocess, sys, tempfile, time
from spikeport.storage.scratch import scratch_folder
with scratch_folder("s-") as folder:
    (folder / "file").write_text("x")
    {act}
    print("made", flush=True)
    time.sleep(60)
"""
STUBBORN = (
    "import os, sys, time\\n"
    "for _ in range(60):\\n    os.makedirs(sys.argv[1] + '/again', exist_ok=True)\\n"
    "    time.sleep(0.01)"
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def keepers(place: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            given = (entry / "cmdline").read_text().split("\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if scratch.__file__ in given and str(place) in given:
            found.append(int(entry.name))
    return found


def clean(place: Path) -> None:
    deadline = time.monotonic() + 20
    while keepers(place) or any(place.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_is_there_inside_only(place: Path) -> None:
    with scratch_folder("s-") as folder:
        assert folder.parent == place
        assert folder.name.startswith("s-")
        (folder / "a" / "b").mkdir(parents=True)
        assert len(keepers(place)) == 1
    assert list(place.iterdir()) == []
    assert keepers(place) == []


def fail_inside() -> None:
    with scratch_folder("s-"):
        raise KeyboardInterrupt


def test_an_exception_inside(place: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fail_inside()
    assert list(place.iterdir()) == []


def test_a_keeper_that_was_killed(place: Path) -> None:
    with scratch_folder("s-") as folder:
        os.kill(keepers(place)[0], signal.SIGKILL)
        assert folder.is_dir()
    assert list(place.iterdir()) == []


def test_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(OutputError, match=r"/nowhere: no folder .* can be created: No such file"):
        scratch_folder("s-").__enter__()


@pytest.mark.parametrize(
    "act", ["", f"subprocess.Popen([sys.executable, '-c', '''{STUBBORN}''', str(folder)])"]
)
def test_kill_9(place: Path, act: str) -> None:
    """Also where somebody makes the folder again meanwhile."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(act=act)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        process.kill()
    clean(place)


def test_kill_9_while_it_is_made(place: Path) -> None:
    for milliseconds in range(0, 80, 8):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT.format(act="")])
        while not keepers(place) and process.poll() is None:
            pass
        time.sleep(milliseconds / 1000)
        process.kill()
        process.wait()
    clean(place)
