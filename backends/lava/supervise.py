"""Run the worker process once, in a separate session with a time limit, and clean up after it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from spikeport.backends.lava.environment import worker_environment
from spikeport.backends.lava.stuck import describe_stuck
from spikeport.backends.lava.worker.sweep import busy_ticks, sweep
from spikeport.errors import BackendUnavailableError

POLL_S = 0.02
LOOK_S = 1.0
"""Seconds between two checks of the worker's processor time."""
MOVING_S = 3.0
"""A worker whose step count changed within this time is slow, not stuck."""
IDLE_LOOKS = 60
IDLE_TICKS = 5
"""A worker is hung if it uses less than this many ticks of 10 ms over that many checks. Checks are
counted instead of seconds, because all of Spikeport may have been suspended meanwhile."""
SHOWN_LINES = 12
LOG_BYTES = 1 << 16


def run_worker(
    python: Path,
    folder: Path,
    jobs: int,
    steps: int,
    timeout_s: float,
    report: Callable[[int], None],
) -> None:
    """Run the worker on `folder`/job0 ... until it ends, fails, hangs or takes `timeout_s`.

    Whatever happens, including Ctrl-C, no process and no shared-memory segment of it remains.

    Args:
        steps: Lava steps of all jobs.
        report: called with the number of Lava steps done.

    Raises:
        BackendUnavailableError: it failed, was killed, hung or took too long; the message says what
            its processes were doing, or contains its last lines.
    """
    with _memory_file("log") as log, _memory_file("progress") as counter:
        command = [str(python), "-m", "worker", "run", folder.name, str(jobs), str(counter)]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=worker_environment(),
            stdin=subprocess.PIPE,  # Its end tells the worker that this process has ended.
            stdout=log,
            stderr=log,
            pass_fds=[counter],
            start_new_session=True,
        )
        try:
            why, moving = _wait(process.pid, timeout_s, counter, report)
            if why:
                doing = "it was making progress" if moving else describe_stuck(process.pid)
        finally:
            sweep(process.pid, folder.name)
            process.communicate()
        if why:
            done = f"{_read(counter)} of {steps} Lava steps done"
            raise _failure(f"{why} and was stopped, {done}; {doing}", log)
        code = process.returncode
        if code < 0 or code > 128:
            raise _failure(f"was killed by signal {-code if code < 0 else code - 128}", log)
        if code > 0:
            raise _failure("failed", log)


def _wait(
    pid: int, timeout_s: float, counter: int, report: Callable[[int], None]
) -> tuple[str, bool]:
    """Wait for the worker to end; otherwise return what is wrong and whether it makes progress."""
    next_look = moved = time.monotonic()
    deadline = next_look + timeout_s
    looks: deque[int] = deque(maxlen=IDLE_LOOKS + 1)
    reported = None
    while True:
        # Observed but not yet reaped: until then no other session can have this id.
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if (done := _read(counter)) != reported:
            report(done)
            reported, moved = done, time.monotonic()
        if ended is not None:
            return "", True
        now = time.monotonic()
        if now > deadline:
            return f"took longer than {timeout_s:g} s", done > 0 and now - moved < MOVING_S
        if now >= next_look:
            looks.append(busy_ticks(pid))
            next_look = now + LOOK_S
            if len(looks) > IDLE_LOOKS and 0 <= looks[-1] - looks[0] < IDLE_TICKS:
                return f"did nothing for {IDLE_LOOKS * LOOK_S:g} s", False
        time.sleep(POLL_S)


def _read(counter: int) -> int:
    """Number of Lava steps done."""
    return int.from_bytes(os.pread(counter, 8, 0), "little")


@contextmanager
def _memory_file(name: str) -> Iterator[int]:
    """A file in memory: it cannot fill a disk, and unlike a pipe it never blocks its writer."""
    with open(os.memfd_create(f"spikeport-lava-{name}"), "wb") as file:
        # Numbered above the standard streams, whose numbers are free if those are closed.
        descriptor = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _failure(how: str, log: int) -> BackendUnavailableError:
    size = os.fstat(log).st_size
    text = os.pread(log, LOG_BYTES, max(0, size - LOG_BYTES)).decode("utf-8", "replace")
    lines = text.strip().splitlines()[-SHOWN_LINES:]
    said = "" if lines else " nothing"
    return BackendUnavailableError(f"backend 'lava': its worker {how}; last output:{said}", *lines)
