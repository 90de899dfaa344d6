"""Atomic writing: whole or not at all, also on a full disk or after a kill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spikeport.errors import OutputError
from spikeport.files import replacing, write_bytes, write_text

LARGE = 4 << 20


@pytest.fixture(params=["unnamed", "named"], autouse=True)
def named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With unnamed files, and as on a file system that has none."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE")
    return bool(request.param == "named")


def run(script: str, *arguments: object, named: bool = False) -> subprocess.Popen[str]:
    """A process that has `sys`, `os` and the functions of `files`."""
    head = "import os, sys, time\nfrom spikeport.files import replacing, write_bytes\n"
    head += "del os.O_TMPFILE\n" if named else ""
    command = [sys.executable, "-c", head + script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "one")
    assert path.read_text() == "one"
    write_bytes(path, b"two")
    assert path.read_text() == "two"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    write_bytes(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_file_beside_nothing_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_text("a", "x")
    assert os.listdir() == ["a"]


def test_an_exception_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write_half() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_is_missing_or_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none/a: cannot be written: No such file or directory"):
        write_text(tmp_path / "none" / "a", "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        write_text(tmp_path / "file" / "a", "x")


def test_a_target_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError, match="a: cannot be written: Is a directory"):
        write_text(tmp_path / "a", "x")
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, named: bool) -> None:
    # A limit on the file size gives write() the same partial write and error as a full disk.
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    script = (
        "import resource\n"
        "from spikeport.errors import OutputError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    write_bytes(sys.argv[1], b'x' * 100_000)\n"
        "except OutputError as error:\n    print(error)\n"
    )
    with run(script, path, named=named) as process:
        said, _ = process.communicate()
    assert said == f"{path}: cannot be written: File too large\n"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_kill_while_writing_keeps_the_old_file(tmp_path: Path, named: bool) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    script = (
        "with replacing(sys.argv[1]) as file:\n"
        "    file.write(b'half')\n    print('writing', flush=True)\n    time.sleep(60)\n"
    )
    with run(script, path, named=named) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.kill()
    assert path.read_bytes() == b"old"
    others = set(os.listdir(tmp_path)) - {"a.bin"}
    assert len(others) == named
    assert all(name.startswith(".a.bin.") for name in others)


def test_kills_at_random_moments(tmp_path: Path, named: bool) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"0" * LARGE)
    script = (
        f"while True:\n    for digit in b'123':\n"
        f"        write_bytes(sys.argv[1], bytes([digit]) * {LARGE})\n        os.write(1, b'.')\n"
    )
    moments = random.Random(0)
    for _ in range(6):
        with run(script, path, named=named) as process:
            assert process.stdout is not None
            assert process.stdout.read(1) == "."
            time.sleep(moments.uniform(0, 0.03))
            process.kill()
        left = path.read_bytes()
        assert len(left) == LARGE
        assert left == left[:1] * LARGE
    write_bytes(path, b"whole")
    assert os.listdir(tmp_path) == ["a.bin"]


def test_what_a_kill_before_the_rename_leaves_is_removed(tmp_path: Path, named: bool) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    script = (
        "import pathlib, signal\n"
        "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_bytes(sys.argv[1], b'new')\n"
    )
    with run(script, path, named=named) as process:
        assert process.wait() == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert len(os.listdir(tmp_path)) == 2
    write_bytes(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_file_that_another_process_writes_is_left_alone(tmp_path: Path, named: bool) -> None:
    path = tmp_path / "a.bin"
    script = (
        "with replacing(sys.argv[1]) as file:\n"
        "    file.write(b'theirs')\n    print('writing', flush=True)\n    sys.stdin.read()\n"
    )
    with run(script, path, named=named) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        write_bytes(path, b"ours")
        assert path.read_bytes() == b"ours"
        process.communicate("")
        assert process.returncode == 0
    assert path.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_many_writers_of_one_file(tmp_path: Path, named: bool) -> None:
    path = tmp_path / "a.bin"
    script = "for _ in range(100):\n    write_bytes(sys.argv[1], sys.argv[2].encode() * 5000)\n"
    writers = [run(script, path, digit, named=named) for digit in range(3)]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            content = path.read_bytes()
            assert content == content[:1] * 5000
    for writer in writers:
        assert writer.communicate()[0] == ""
        assert writer.returncode == 0
    assert os.listdir(tmp_path) == ["a.bin"]
