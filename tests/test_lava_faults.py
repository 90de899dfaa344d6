"""What goes wrong with Lava gives one clear error and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import pty
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from spikeport.backends.lava import backend as lava_backend
from spikeport.backends.lava import create_environment, lava_status, run_lava
from spikeport.backends.lava.environment import VARIABLE, lava_python
from spikeport.backends.lava.worker.naming import part_of
from spikeport.backends.lava.worker.sweep import processes
from spikeport.errors import BackendUnavailableError, CheckFailedError, OutputError
from tests.helpers.lava import LONG, needs_lava, network, run_command, samples
from tests.helpers.leftovers import NAME, command_of, running, segments

pytestmark = pytest.mark.usefixtures("temporary")
LAVA = lava_python()


def wrapper(tmp_path: Path, script: str) -> str:
    """An interpreter that runs `script`, in which "$LAVA" is the real one."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nLAVA="{LAVA}"\n{script}\n')
    path.chmod(0o755)
    return str(path)


def save(array: str) -> str:
    """Shell command that replaces the spikes by another array."""
    return f'"$LAVA" -c "import numpy as n; n.save(\'job0/a.spikes.npy\', n.{array})"'


def worker_processes() -> dict[str, int]:
    """Process ids by name: the worker's guard, its child that imports Lava, Lava's own."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    ours = [pid for pid, parent in parents.items() if parent == os.getpid() and processes(pid)]
    (guard,) = [pid for pid in ours if "worker" in command_of(pid)]
    found = {"guard": guard}
    for pid in processes(guard):
        if (named := part_of(pid)) is not None:
            found[named[0]] = pid
    return found


def once_running(act: Callable[[], None]) -> Callable[[int, int], None]:
    """A progress function that acts when the first samples are through."""
    acted: list[bool] = []

    def progress(done: int, _: int) -> None:
        if done and not acted:
            acted.append(True)
            act()

    return progress


def test_a_missing_environment_says_how_to_fix_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/bin/python")
    version, reason, fix, _ = lava_status()
    assert version is None
    assert reason == "/nowhere/bin/python is not an executable interpreter"
    assert fix == (  # a new environment alone would not be asked
        "unset SPIKEPORT_LAVA_PYTHON, or set it to Lava's interpreter, as made by: "
        "python -m spikeport.backends.lava.environment .venv-lava"
    )
    with pytest.raises(BackendUnavailableError, match=r"not an executable.*to fix: unset") as e:
        run_lava(network(), samples())
    assert e.value.exit_code == 3


def test_no_environment_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, temporary: Path
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("spikeport.backends.lava.environment.HERE", tmp_path / "a" / "b")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.chdir(temporary)
    assert lava_status()[:2] == (None, f"no environment '.venv-lava' found, {VARIABLE} is not set")


def test_an_environment_without_lava(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, sys.executable)
    assert lava_status().reason.endswith(
        "cannot import Lava: ModuleNotFoundError: No module named 'lava'"
    )


def test_an_environment_that_cannot_be_made(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(BackendUnavailableError, match=r"-m venv --clear .* failed: Error"):
        create_environment(blocked / "environment")


@needs_lava
@pytest.mark.parametrize("victim", ["guard", "Lava's main process"])
def test_a_killed_worker(victim: str) -> None:
    def kill() -> None:
        os.kill(worker_processes()[victim], signal.SIGKILL)

    with pytest.raises(
        BackendUnavailableError, match="worker was killed by signal 9; last output: nothing"
    ) as error:
        run_lava(network(), LONG, progress=once_running(kill), timeout_s=60)
    assert error.value.exit_code == 3


PARTS = ["input 'x'", "connection 'x_to_a'", "population 'a'", "Lava's runtime service"]


@needs_lava
@pytest.mark.parametrize("victim", PARTS)
def test_a_killed_process_of_lava_is_named(victim: str) -> None:
    def kill() -> None:
        found = worker_processes()
        assert set(found) == {"guard", "Lava's main process", *PARTS}
        os.kill(found[victim], signal.SIGKILL)

    said = f"worker failed; last output:\n  {victim} was killed by signal 9 .SIGKILL; out of mem"
    with pytest.raises(BackendUnavailableError, match=said) as error:
        run_lava(network(), LONG, progress=once_running(kill), timeout_s=60)
    assert error.value.exit_code == 3


@needs_lava
@pytest.mark.parametrize("victim", PARTS)
def test_a_worker_that_hangs(victim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeport.backends.lava.supervise.IDLE_LOOKS", 3)

    def stop() -> None:
        os.kill(worker_processes()[victim], signal.SIGSTOP)

    said = (
        r"worker did nothing for 3 s and was stopped, \d+ of 100001 Lava steps done; "
        rf"stuck: {victim} \(stopped by a signal\)"
    )
    with pytest.raises(BackendUnavailableError, match=said):
        run_lava(network(), LONG, progress=once_running(stop), timeout_s=60)


@needs_lava
def test_a_slow_worker_is_not_called_stuck() -> None:
    said = r"took longer than 6 s and was stopped, [1-9]\d* of .* done; it was making progress"
    with pytest.raises(BackendUnavailableError, match=said):
        run_lava(network(), LONG, timeout_s=6)


@needs_lava
def test_a_busy_process_is_named_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A population that loops for ever inside Lava's own threshold code, from step 3 on, and that
    # would not mind SIGTERM.
    patch = tmp_path / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(LOOPING)
    script = f'PYTHONPATH="$PYTHONPATH:{patch}" exec "$LAVA" "$@"'
    monkeypatch.setenv(VARIABLE, wrapper(tmp_path, script))
    said = (
        r"took longer than 8 s and was stopped, 1 of 100001 Lava steps done; stuck: population 'a'"
        r" \(busy in loop, .*sitecustomize.py:\d+\)"
    )
    with pytest.raises(BackendUnavailableError, match=said):
        run_lava(network(), LONG, timeout_s=8)


LOOPING = """
import importlib.abc, signal, sys

def loop(self, *_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while self.time_step >= 3:
        pass
    return self.v > self.effective_vth

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "worker.models.processes":
            from lava.proc.lif.models import PyLifResetModelBitAcc
            PyLifResetModelBitAcc.spiking_activation = loop

sys.meta_path.insert(0, Finder())
"""


@needs_lava
def test_interrupted_by_control_c() -> None:
    with pytest.raises(KeyboardInterrupt):
        run_lava(network(), LONG, progress=once_running(lambda: signal.raise_signal(signal.SIGINT)))


@needs_lava
def test_a_model_that_raises_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, wrapper(tmp_path, 'ulimit -f 64; exec "$LAVA" "$@"'))
    said = r"worker failed; last output:(.|\n)*in run_spk(.|\n)*OSError: .* File too large"
    with pytest.raises(BackendUnavailableError, match=said) as error:
        run_lava(network(), samples(80))
    assert error.value.exit_code == 3


@needs_lava
def test_no_room_for_the_input() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OutputError, match="for Lava's worker cannot be written: File too lar"):
            run_lava(network(), samples(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@needs_lava
def test_no_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(OutputError, match=r"/nowhere: no folder for temporary .*: No such f"):
        run_lava(network(), samples())


@needs_lava
@pytest.mark.parametrize(
    "harm",
    [
        "truncate -s 300 job0/*.npy",
        "rm job0/a.spikes.npy",
        save("zeros((60, 29), n.uint8)"),
        save("full((60, 30), 2, n.uint8)"),
        save("array([{}])"),
    ],
    ids=["truncated", "missing", "shape", "value", "pickle"],
)
def test_a_damaged_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    script = f'"$LAVA" "$@"; code=$?; [ "$3" = run ] && {harm}; exit $code'
    monkeypatch.setenv(VARIABLE, wrapper(tmp_path, script))
    with pytest.raises(BackendUnavailableError, match="finished, but left a damaged result"):
        run_lava(network(), samples())


@needs_lava
def test_spikes_that_do_not_follow_from_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge = (
        "import numpy as n; a = n.load('job0/a.spikes.npy'); a[7, 3] ^= 1; "
        "n.save('job0/a.spikes.npy', a)"
    )
    script = f'"$LAVA" "$@"; code=$?; [ "$3" = run ] && "$LAVA" -c "{forge}"; exit $code'
    monkeypatch.setenv(VARIABLE, wrapper(tmp_path, script))
    with pytest.raises(CheckFailedError, match=r"population 'a': recorded spikes diff.* in 1 of"):
        run_lava(network(), samples())


@needs_lava
def test_spikeport_killed_while_lava_runs(temporary: Path, tmp_path: Path) -> None:
    script = tmp_path / "long.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})\n"
        "from tests.helpers.lava import LONG, network\n"
        "from spikeport.backends.lava import run_lava\n"
        "run_lava(network(), LONG, progress=lambda done, all: print(done, flush=True))\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as spikeport:
        assert spikeport.stdout is not None
        while int(spikeport.stdout.readline()) == 0:
            pass
        (token,) = [entry.name for entry in temporary.iterdir()]
        assert any(name.startswith(f"{token}-") for name in segments())
        assert len(running(temporary)) > 5
        spikeport.kill()
    deadline = time.monotonic() + 10
    while (running(temporary) or any(temporary.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(name.startswith(f"{token}-") for name in segments())


@pytest.fixture
def long_run(tmp_path: Path) -> list[str]:
    """`spikeport run` on Lava that takes minutes."""
    return run_command(tmp_path, steps=20, count=5000)


def wait_for_lava(folder: Path) -> None:
    """Until the models of a worker in `folder` are there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        (token,) = [entry.name for entry in folder.glob(NAME + "*")] or [" "]
        if any(name.startswith(f"{token}-") for name in segments()) and len(running(folder)) > 5:
            return
        time.sleep(0.05)
    raise AssertionError("Lava did not start")


@needs_lava
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_command_ended_while_lava_runs(
    long_run: list[str], temporary: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(long_run, stderr=subprocess.PIPE, text=True) as spikeport:
        wait_for_lava(temporary)
        spikeport.send_signal(number)
        _, said = spikeport.communicate(timeout=30)
    assert spikeport.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in said
    deadline = time.monotonic() + 10
    while (running(temporary) or any(temporary.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.05)


@needs_lava
@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("run", ["-b", "lava"]),
        ("run", ["-b", "lava", "--trace", "t.h5"]),
        ("compare", ["-b", "native,lava", "-n", "5000"]),
    ],
    ids=["run", "trace", "compare"],
)
def test_the_command_has_a_time_limit_and_a_progress_bar(
    long_run: list[str], tmp_path: Path, verb: str, options: list[str]
) -> None:
    chip, images = tmp_path / "chip.spikeport", tmp_path / "images.npz"
    command = [*long_run[:3], verb, str(chip), "--data", str(images), *options, "--timeout", "3"]
    before = set(tmp_path.iterdir())
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stderr=theirs, stdout=subprocess.PIPE, cwd=tmp_path
    ) as spikeport:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the other end has closed.
            while piece := os.read(ours, 4096):
                shown += piece
        os.close(ours)
        assert spikeport.wait(30) == 3
    text = shown.decode()
    name = "recording" if "--trace" in options else "lava"
    assert f"{name} \x1b" in text
    assert "\u2501" in text
    assert "worker took longer than 3 s and was stopped" in " ".join(text.split())
    assert set(tmp_path.iterdir()) == before


SECOND_COMMAND = """
import threading
import types
import numpy as np
from worker.fixes import import_lava
import_lava()
from lava.magma.compiler.channels.pypychannel import CspSelector, PyPyChannel
from lava.magma.runtime.message_infrastructure.shared_memory_manager import SharedMemoryManager
memory = SharedMemoryManager()
memory.start()
channel = PyPyChannel(types.SimpleNamespace(smm=memory), "a", "b", (1,), np.int32, 4)
sender, receiver = channel.src_port, channel.dst_port
sender.start()
receiver.start()
selector, stock_put = CspSelector(), receiver._queue.put_nowait
seen, waiting, puts = threading.Event(), threading.Event(), []

def put(item):
    puts.append(item)
    if len(puts) == 2:
        seen.set()
        waiting.wait()
    stock_put(item)

def wait():
    waiting.set()
    if not threading.Condition.wait(selector._cv, 30):
        raise SystemExit("the second message was never noticed")

receiver._queue.put_nowait, selector._cv.wait = put, wait
for value in (1, 2):
    sender.send(np.array([value], np.int32))
seen.wait()
first = receiver.recv()[0]
print(first, selector.select((receiver, lambda: receiver.recv()[0])))
memory.shutdown()
"""


@needs_lava
def test_a_message_that_arrives_while_its_receiver_goes_to_sleep_wakes_it() -> None:
    """The second message is announced while the first waits, and enters the queue when the receiver
    has taken the first and found the queue empty; lava-nc 0.10.0 alone then waits forever."""
    done = subprocess.run(
        [str(LAVA), "-c", SECOND_COMMAND],
        env={"PYTHONPATH": str(Path(lava_backend.__file__).parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["1", "2"], "")
