"""One run of the worker process: started in a session of its own, timed, and always swept away."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from spikeport.backends.lava.environment import worker_environment
from spikeport.backends.lava.worker.sweep import sweep
from spikeport.errors import BackendUnavailableError

POLL_S = 0.02
SHOWN_LINES = 12
LOG_BYTES = 1 << 16


def run_worker(
    python: Path, folder: Path, jobs: int, timeout_s: float, report: Callable[[int], None]
) -> None:
    """Run the worker on `folder`/job0 ... until it ends, fails or `timeout_s` have passed.

    Whatever happens, Ctrl-C included, no process and no shared-memory segment of it remains.

    Args:
        report: called with the Lava steps done.

    Raises:
        BackendUnavailableError: it failed, was killed or took too long; with its last lines.
    """
    with _memory_file("log") as log, _memory_file("progress") as counter:
        command = [str(python), "-m", "worker", "run", folder.name, str(jobs), str(counter)]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=worker_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[counter],
            start_new_session=True,
        )
        try:
            in_time = _wait(process.pid, time.monotonic() + timeout_s, counter, report)
        finally:
            sweep(process.pid, folder.name)
            process.wait()
        if not in_time:
            raise _failure(f"took longer than {timeout_s:g} s and was stopped", log)
        code = process.returncode
        if code < 0 or code > 128:
            raise _failure(f"was killed by signal {-code if code < 0 else code - 128}", log)
        if code > 0:
            raise _failure("failed", log)


def _wait(pid: int, deadline: float, counter: int, report: Callable[[int], None]) -> bool:
    """Wait for the worker's end; False if the deadline came first."""
    reported = None
    while True:
        # Seen but not yet reaped: until then no other session can get this one's number.
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if (done := int.from_bytes(os.pread(counter, 8, 0), "little")) != reported:
            report(done)
            reported = done
        if ended is not None:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)


@contextmanager
def _memory_file(name: str) -> Iterator[int]:
    """A file without a disk: it cannot be full, and unlike a pipe it never blocks its writer."""
    descriptor = os.memfd_create(f"spikeport-lava-{name}")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _failure(how: str, log: int) -> BackendUnavailableError:
    size = os.fstat(log).st_size
    text = os.pread(log, LOG_BYTES, max(0, size - LOG_BYTES)).decode("utf-8", "replace")
    lines = text.strip().splitlines()[-SHOWN_LINES:]
    said = "".join(f"\n  {line}" for line in lines) or " nothing"
    return BackendUnavailableError(f"backend 'lava': its worker {how}; it said last:{said}")
