"""How the command exits: bugs, no memory, broken pipes, full streams, Ctrl-C, deleted folders."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from spikeport.errors import CheckFailedError
from spikeport.network import save_network
from spikeport.version import __version__
from tests.helpers.command import Spikeport, one_line
from tests.helpers.lava import network

COMMAND = [sys.executable, "-c", "from spikeport.cli import main; main()"]


class Panic(BaseException):
    """Like the panic of a Rust library."""


@pytest.fixture
def chip(tmp_path: Path) -> Path:
    save_network(network(), tmp_path / "n.spikeport")
    return tmp_path / "n.spikeport"


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make the command raise a given exception while it reads a network."""

    def arrange(error: BaseException) -> None:
        def load_network(path: Path) -> NoReturn:
            raise error

        monkeypatch.setattr("spikeport.network.load_network", load_network)

    return arrange


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("odd"),
        RecursionError("maximum recursion depth exceeded"),
        KeyError("scores"),
        AssertionError(),
        ValueError("shapes do not match"),
        UnicodeEncodeError("utf-8", "\udc80", 0, 1, "surrogates not allowed"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        GeneratorExit(),
        Panic("called `Option::unwrap()` on a `None` value"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_unexpected_exception_is_reported_as_a_bug(
    chip: Path, spikeport: Spikeport, failing: Callable[[BaseException], None], error: BaseException
) -> None:
    failing(error)
    code, out, err = spikeport("inspect", chip)
    assert (code, out) == (70, "")
    assert err.startswith("Traceback (most recent call last):\n")
    last = err.splitlines()[-1]
    assert last.startswith(f"spikeport: this is a bug in Spikeport {__version__}: ")
    assert type(error).__name__ in last
    assert "please report it" in last


@pytest.mark.parametrize("kind", ["Python", "numpy", "torch", "CUDA"])
def test_running_out_of_memory_is_one_clear_error(
    chip: Path, spikeport: Spikeport, failing: Callable[[BaseException], None], kind: str
) -> None:
    error: BaseException = MemoryError()
    if kind == "numpy":
        try:
            np.empty(1 << 55, np.uint8)
        except MemoryError as caught:
            error = caught
    elif kind == "torch":
        error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")
    elif kind == "CUDA":
        error = type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory")
    failing(error)
    code, _, err = spikeport("inspect", chip)
    assert code == 2
    assert one_line(err).startswith(f"spikeport: out of memory: {str(error) or 'MemoryError'}; ")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (OSError(errno.EAGAIN, "Resource unavailable"), "Resource unavailable"),
        (FileNotFoundError(errno.ENOENT, "No such file", "gone"), "gone: No such file"),
        (CheckFailedError("differs"), "differs"),
    ],
)
def test_exhausted_resources_are_not_bugs(
    chip: Path,
    spikeport: Spikeport,
    failing: Callable[[BaseException], None],
    error: Exception,
    said: str,
) -> None:
    failing(error)
    code, _, err = spikeport("inspect", chip)
    assert code == (1 if isinstance(error, CheckFailedError) else 2)
    assert one_line(err) == f"spikeport: {said}"


def shell(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script in which "$@" is the command with these arguments."""
    command = ["bash", "-c", script, "bash", *COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ('"$@" | true; exit ${PIPESTATUS[0]}', 141, ""),
        ('"$@" --json | true; exit ${PIPESTATUS[0]}', 141, ""),
        ('"$@" --help | true; exit ${PIPESTATUS[0]}', 141, ""),
        ('PYTHONUNBUFFERED=1 "$@" | true; exit ${PIPESTATUS[0]}', 141, ""),
        ('"$@" >&-', 0, ""),
        ('"$@" <&- >&- 2>&-', 0, ""),
        ('"$@" > /dev/full', 2, "spikeport: standard output: No space left on device\n"),
        ('"$@" --help > /dev/full', 2, "spikeport: standard output: No space left on device\n"),
        ('"$@" > /dev/full 2> /dev/full', 2, ""),
        ('"$@" 2> /dev/full >/dev/null', 0, ""),
        ('"$@"x 2> /dev/full', 2, ""),
        ('"$@"x 2>&-', 2, ""),
        ('"$@"x --bogus 2> /dev/full', 2, ""),
        ('"$@"x 2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}', 2, ""),
    ],
)
def test_streams_that_are_closed_or_full(chip: Path, script: str, code: int, said: str) -> None:
    done = shell(script, "inspect", chip)
    assert (done.returncode, done.stderr) == (code, said)
    assert done.stdout == ""


def test_a_failed_check_still_fails_in_a_pipeline(chip: Path) -> None:
    script = '"$@" | cat > /dev/null; exit ${PIPESTATUS[0]}'
    assert shell(script, "check", chip, "--target", "loihi1").returncode in (0, 1)
    done = shell('"$@" 2> /dev/full > /dev/null', "compare", "--trace", chip, chip)
    assert done.returncode == 2


def test_a_name_that_the_terminal_cannot_show(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.spikeport"
    save_network(network(), tmp_path / "n.spikeport")
    os.rename(tmp_path / "n.spikeport", path)
    for options in ([], ["--json"]):
        for encoding in ("utf-8", "ascii"):
            done = subprocess.run(
                [*COMMAND, "inspect", path, *options],
                capture_output=True,
                env=os.environ | {"PYTHONIOENCODING": encoding},
            )
            assert (done.returncode, done.stderr) == (0, b"")


INTERRUPTING = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)

wanted, ignored = sys.argv.pop(1), sys.argv.pop(1)
sys.meta_path.insert(0, Interrupt())
if ignored == "True":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
from spikeport.cli import main
main()
"""


@pytest.mark.parametrize(
    "module",
    ["typer", "rich.table", "numpy", "spikeport.cli._judge", "numba", "llvmlite", "sklearn"],
)
@pytest.mark.parametrize("ignored", [False, True])
def test_interrupted_while_it_imports(folder: Path, module: str, ignored: bool) -> None:
    """If Ctrl-C is ignored, as under nohup, it stays ignored."""
    chip = str(folder / "m.spikeport")
    command = [sys.executable, "-c", INTERRUPTING, module, str(ignored), "energy", chip, "-n", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if ignored:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


LOST = (
    *("inspect m.nir", "inspect m.safetensors", "run m.spikeport -n 4 --trace t.h5"),
    *("run m.nir -n 4", "quantize m.nir -o q.spikeport --calibration 8"),
    *("export m.spikeport -o e.nir", "energy m.spikeport -n 4", "compare m.spikeport -n 2"),
)


@pytest.mark.slow
@pytest.mark.parametrize("words", LOST)
def test_from_a_current_folder_that_was_deleted(folder: Path, tmp_path: Path, words: str) -> None:
    for path in folder.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "gone").mkdir()
    command = [str(tmp_path / word) if "." in word else word for word in words.split()]
    script = f'cd {tmp_path}/gone && rmdir "$PWD" && exec "$@"'
    done = shell(script, *command)
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "gone").mkdir()
    relative = shell(script, *words.split())
    assert relative.returncode == 2
    assert re.search("no such file|does not exist", one_line(relative.stderr), re.IGNORECASE)
