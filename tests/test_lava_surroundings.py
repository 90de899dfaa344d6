"""Lava in unfriendly surroundings: no space, closed streams, odd folders, concurrent runs."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spikeport.backends.lava import run_lava
from spikeport.backends.lava.worker.sweep import SHARED_MEMORY, sweep
from spikeport.simulators import run_native
from tests.helpers.lava import needs_lava, network, run_command, samples
from tests.helpers.leftovers import NAME, command_of, leaked, running, segments
from tests.helpers.mounts import in_mounts, needs_mounts

pytestmark = pytest.mark.usefixtures("temporary")


@pytest.fixture
def short_run(tmp_path: Path) -> list[str]:
    """`spikeport run` of four samples on Lava, which prints JSON."""
    return [*run_command(tmp_path, steps=5, count=4), "--json"]


def ran(output: str) -> None:
    assert json.loads(output)["spikes"] == {"a": 4 * 5 * 10}


@needs_lava
@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(short_run: list[str], tmp_path: Path, closed: str) -> None:
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *short_run, "--trace", "t.h5"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    if " >&-" in closed:
        assert done.stdout == ""
    else:
        ran(done.stdout)
    assert (tmp_path / "t.h5").stat().st_size > 0


@needs_lava
def test_odd_names_another_language_and_another_python(short_run: list[str]) -> None:
    """No UTF-8, foreign modules in the current folder, a foreign `python` first in PATH."""
    odd = Path(os.environ["TMPDIR"]) / "ordner mit ümlaut\n'x'"
    odd.mkdir()
    for name in ("python", "python3"):
        (odd / name).write_text("#!/bin/sh\nexit 77\n")
        (odd / name).chmod(0o755)
    for name in ("lava", "numpy", "worker", "tempfile"):
        (odd / f"{name}.py").write_text("raise SystemExit(78)\n")
    before = set(odd.iterdir())
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "PYTHON"))}
    environment |= {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "TMPDIR": str(odd),
        "PATH": f"{odd}{os.pathsep}{os.environ['PATH']}",
        "PYTHONSTARTUP": str(odd / "lava.py"),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    command = [short_run[0], "-P", *short_run[1:]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=odd, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    ran(done.stdout)
    assert set(odd.iterdir()) == before
    shutil.rmtree(odd)


@needs_lava
def test_a_current_folder_that_is_gone(short_run: list[str], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *short_run]
    done = subprocess.run(command, capture_output=True, text=True, cwd=gone)
    assert (done.returncode, done.stderr) == (0, "")
    ran(done.stdout)


@needs_lava
@needs_mounts
def test_a_current_folder_that_cannot_be_written(short_run: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    done = in_mounts("mount -t tmpfs -o ro none $FOLDER", short_run, folder)
    assert (done.returncode, done.stderr) == (0, "")
    ran(done.stdout)


@needs_lava
@needs_mounts
@pytest.mark.parametrize(
    ("room", "said"),
    [("size=160k", "no room in /dev/shm?"), ("size=4k", "No space left on device")],
)
def test_no_room_for_shared_memory(
    short_run: list[str], tmp_path: Path, room: str, said: str
) -> None:
    done = in_mounts(f"mount -t tmpfs -o {room} none /dev/shm", short_run, tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert said in done.stderr
    assert "backend 'lava': its worker" in done.stderr


@needs_lava
@needs_mounts
@pytest.mark.parametrize("room", ["size=8k", "nr_inodes=2"])
def test_no_room_for_temporary_files(short_run: list[str], tmp_path: Path, room: str) -> None:
    many = [*short_run[:-1], "--trace", "t.h5"]
    done = in_mounts(f"mount -t tmpfs -o {room} none $TMPDIR", many, tmp_path)
    assert done.returncode in (2, 3)
    assert "No space left on device" in done.stderr
    assert not (tmp_path / "t.h5").exists()


@needs_lava
def test_several_runs_at_once() -> None:
    """In threads of one process; one of them is killed, which the others do not notice."""
    nets = [network(steps) for steps in (20, 30, 40)]

    def killed() -> str:
        try:
            run_lava(network(), samples(100_000), timeout_s=600)
        except Exception as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(4) as pool:
        lost = pool.submit(killed)
        runs = [pool.submit(run_lava, net, samples(10), record=("spikes",)) for net in nets]
        finished = [run.result() for run in runs]
        guards = [pid for pid in running(Path(os.environ["TMPDIR"])) if pid != os.getpid()]
        assert guards
        for pid in guards:
            if "worker" in command_of(pid):
                os.kill(pid, signal.SIGKILL)
                break
        assert "its worker was killed by signal 9" in lost.result()
    for net, run in zip(nets, finished, strict=True):
        expected = run_native(net, samples(10), record=("spikes",))
        assert run.counts == expected.counts
        assert run.trace is not None
        assert expected.trace is not None
        assert (run.trace.spikes["a"] == expected.trace.spikes["a"]).all()


@pytest.mark.slow
@needs_lava
def test_kills_at_random_moments(tmp_path: Path) -> None:
    """Of Spikeport itself or of any process that it has started, from its start on."""
    command, folder = run_command(tmp_path, steps=20, count=5000), Path(os.environ["TMPDIR"])
    moments = random.Random(0)
    before = segments()
    for _ in range(5):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as spikeport:
            time.sleep(moments.uniform(0, 5))
            others = [pid for pid in running(folder) if pid != spikeport.pid]
            victim = moments.choice([spikeport.pid, *others[:1], *others])
            keeper = any(part.endswith("scratch.py") for part in command_of(victim))
            os.kill(victim, signal.SIGKILL)
            if keeper:  # Nobody minds, until the end.
                spikeport.send_signal(signal.SIGINT)
            _, said = spikeport.communicate(timeout=60)
        assert spikeport.returncode in (3, 130, -signal.SIGKILL)
        assert "Traceback" not in said or "process model" in said
        wait_until_clean(folder, before)


def wait_until_clean(folder: Path, before: set[str]) -> None:
    deadline = time.monotonic() + 20
    while running(folder) or any(folder.iterdir()) or leaked(before):
        assert time.monotonic() < deadline, (running(folder), list(folder.iterdir()))
        time.sleep(0.05)


def test_semaphores_of_a_killed_process_are_swept(tmp_path: Path) -> None:
    """Killed while it made one, a process leaves it, and a second name that the C library uses."""
    token, nobody = f"{NAME}{secrets.token_hex(8)}", 2**22 - 1
    made, other, shared = (
        SHARED_MEMORY / name for name in (f"sem.{token}-a", f"sem.{token[::-1]}", f"{token}-b")
    )
    second = SHARED_MEMORY / f"sem.{secrets.token_hex(3)}"
    for path in (made, other, shared):
        path.touch()
    second.hardlink_to(made)
    try:
        sweep(nobody, token)
        assert not any(path.exists() for path in (made, second, shared))
        assert other.exists()
    finally:
        for path in (made, second, other, shared):
            path.unlink(missing_ok=True)


def test_semaphores_are_named_after_the_run() -> None:
    code = (
        "from multiprocessing.synchronize import SemLock\n"
        "from spikeport.backends.lava.worker.simulate import keep_together\n"
        "keep_together('token'); print(SemLock._make_name())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("/token-")
