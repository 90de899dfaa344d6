"""Atomic writing: whole or not at all, also on a full disk or after a kill."""

from __future__ import annotations

import os
import random
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spikeport.errors import InputError, OutputError
from spikeport.storage import check_output, write_bytes, write_text
from spikeport.storage.files import SUFFIX, replacing
from spikeport.storage.hdf5 import writing
from tests.helpers.mounts import in_mounts, needs_mounts

LARGE = 4 << 20


@pytest.fixture(params=["unnamed", "named"], autouse=True)
def named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With unnamed files, and as on a file system that has none."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE")
    return bool(request.param == "named")


def run(script: str, *arguments: object, named: bool = False) -> subprocess.Popen[str]:
    """A process that has `sys`, `os` and the functions of `files`."""
    head = "import os, sys, time\nfrom spikeport.storage.files import replacing, write_bytes\n"
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


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device"])
@pytest.mark.parametrize("linked", [False, True])
def test_anything_but_a_regular_file_is_not_replaced(
    tmp_path: Path, kind: str, linked: bool
) -> None:
    path = tmp_path / "odd"
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "FIFO":
            os.mkfifo(path)
        elif kind == "socket":
            server.bind(str(path))
        else:
            path = Path("/dev/full")
        before = path.lstat()
        given = tmp_path / "link" if linked else path
        if linked:
            given.symlink_to(path)
        said = f"{given}: cannot be written: it is a {kind}, must be a regular file"
        for write in (write_text, lambda path, _: check_output(path)):
            with pytest.raises(OutputError, match=said):
                write(given, "x")
        with pytest.raises(OutputError, match=said), writing(given):
            raise AssertionError
    after = path.lstat()
    assert (after.st_mode, after.st_ino, after.st_rdev) == (
        before.st_mode,
        before.st_ino,
        before.st_rdev,
    )


def test_a_symbolic_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_text("old")
    (tmp_path / "near").symlink_to("far/middle")
    (tmp_path / "far" / "middle").symlink_to("file")
    write_text(tmp_path / "near", "new")
    assert os.readlink(tmp_path / "near") == "far/middle"
    assert os.readlink(tmp_path / "far" / "middle") == "file"
    assert (tmp_path / "far" / "file").read_text() == "new"
    assert sorted(os.listdir(tmp_path / "far")) == ["file", "middle"]


def test_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "new").symlink_to("later")
    write_text(tmp_path / "new", "x")
    assert (tmp_path / "new").is_symlink()
    assert (tmp_path / "later").read_text() == "x"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputError, match="loop: cannot be written: Too many levels"):
        write_text(tmp_path / "loop", "x")
    (tmp_path / "away").symlink_to("missing/file")
    with pytest.raises(OutputError, match="away: cannot be written: No such file"):
        write_text(tmp_path / "away", "x")


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o666, 0o755])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(bits)
    write_text(path, "new")
    assert mode(path) == bits
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
        path.chmod(bits | stat.S_ISUID)
        write_text(path, "newer")
        assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (1234, 4321, bits)


def test_a_new_file_respects_the_mask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == 0o640


@contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder owned by an unprivileged user, to whom permissions apply."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid():
            yield Path(folder)
            return
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


def test_a_write_protected_file_is_not_replaced(named: bool) -> None:
    with as_nobody() as folder:
        path = folder / "a"
        path.write_text("old")
        path.chmod(0o444)
        for write in (write_text, lambda path, _: check_output(path)):
            with pytest.raises(OutputError, match="a: cannot be written: Permission denied"):
                write(path, "new")
        assert path.read_text() == "old"


def test_a_folder_that_cannot_be_written(named: bool) -> None:
    with as_nobody() as folder:
        (folder / "a").write_text("old")
        folder.chmod(0o555)
        for name in ("a", "b"):
            with pytest.raises(OutputError, match=f"{name}: cannot be written: Permission denied"):
                write_text(folder / name, "new")
            if not named:
                with pytest.raises(OutputError, match="cannot be written: Permission denied"):
                    check_output(folder / name)
        assert os.listdir(folder) == ["a"]
        folder.chmod(0o755)


@pytest.mark.parametrize("kind", ["FIFO", "link to a FIFO", "link", "folder", "device", "socket"])
def test_foreign_files_with_temporary_names_are_left_alone(tmp_path: Path, kind: str) -> None:
    planted, victim = tmp_path / f".a.x{SUFFIX}", tmp_path / "victim"
    victim.write_text("precious")
    if kind == "FIFO":
        os.mkfifo(planted)
    elif kind == "link to a FIFO":
        os.mkfifo(tmp_path / "fifo")
        planted.symlink_to("fifo")
    elif kind == "link":
        planted.symlink_to("victim")
    elif kind == "folder":
        planted.mkdir()
    elif kind == "device":
        planted.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(planted))
    script = "write_bytes(sys.argv[1], b'new')\n"
    with run(script, tmp_path / "a") as process:
        assert process.wait(timeout=20) == 0
    assert (tmp_path / "a").read_text() == "new"
    assert victim.read_text() == "precious"
    assert os.path.lexists(planted)


@pytest.mark.parametrize("name", ["n" * 201, "n" * 255, "\u00fc" * 127])
def test_long_names(tmp_path: Path, name: str, named: bool) -> None:
    write_text(tmp_path / name, "one")
    write_text(tmp_path / name, "two")
    assert (tmp_path / name).read_text() == "two"
    script = "with replacing(sys.argv[1]):\n    print('writing', flush=True)\n    time.sleep(60)\n"
    with run(script, tmp_path / name, named=named) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.kill()
    write_text(tmp_path / name, "three")
    assert os.listdir(tmp_path) == [name]


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: File name too long"):
        write_text(tmp_path / ("n" * 256), "x")
    assert os.listdir(tmp_path) == []


@needs_mounts
@pytest.mark.parametrize("room", ["size=64k", "nr_inodes=3"])
def test_a_file_system_without_room(tmp_path: Path, room: str, named: bool) -> None:
    script = (
        "import os, pathlib, sys\nfrom spikeport.storage.files import write_bytes\n"
        "from spikeport.errors import OutputError\n"
    )
    script += "del os.O_TMPFILE\n" if named else ""
    script += (
        "pathlib.Path('a').write_text('old')\npathlib.Path('b').write_text('')\n"
        "try:\n    write_bytes('a', b'x' * 100_000)\n"
        "except OutputError as error:\n    print(error)\n"
        "print(pathlib.Path('a').read_text(), sorted(os.listdir()))\n"
    )
    mount = f"mount -t tmpfs -o {room} none $FOLDER"
    done = in_mounts(mount, [sys.executable, "-c", script], tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "a: cannot be written: No space left on device",
        "old ['a', 'b']",
    ]


def test_an_output_that_is_an_input_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("in.nir")
    path.write_text("precious")
    Path("link.nir").symlink_to(path)
    Path("hard.nir").hardlink_to(path)
    Path("folder").mkdir()
    names = ("in.nir", "./in.nir", "folder/../in.nir", "link.nir", "hard.nir", tmp_path / path)
    for name in names:
        with pytest.raises(InputError, match=r"is the same file as the input in\.nir"):
            check_output(name, inputs=["digits", "missing", path])
        check_output(name, inputs=["folder", "missing"])
    check_output("other.nir", inputs=[path])
    assert sorted(os.listdir()) == ["folder", "hard.nir", "in.nir", "link.nir"]


def test_an_output_of_another_kind_is_refused(tmp_path: Path) -> None:
    for name in ("a.safetensors", "a.NIR", "a.nir.html", "a.toml", "a.Npz"):
        with pytest.raises(InputError, match=r"suffix '.*', must be \.nir or \.n"):
            check_output(tmp_path / name, suffixes=(".nir", ".n"))
    for name in ("a.n", "a.nir", "a", "a.other", ".toml"):
        check_output(tmp_path / name, suffixes=(".nir", ".n"))
    check_output(tmp_path / "a.toml")
