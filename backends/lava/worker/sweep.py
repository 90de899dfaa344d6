"""Clean up: end every process of a session and unlink every shared-memory segment of a run."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Container, Iterator
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_STATE, _SESSION, _TIMES = 0, 3, slice(11, 15)
"""Positions in /proc/PID/stat after the command name (proc_pid_stat(5))."""


def sweep(session: int, token: str, spare: Container[int] = ()) -> None:
    """Kill every process of `session` except `spare`, then unlink the segments named `token`-*."""
    while running := [pid for pid in processes(session) if pid not in spare]:
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    for segment in SHARED_MEMORY.glob(f"{token}-*"):
        segment.unlink(missing_ok=True)


def processes(session: int) -> dict[int, str]:
    """Ids of the processes of a session that still run, with their state (R, S, D, T, ...);
    zombies are left out."""
    return {pid: fields[_STATE].decode() for pid, fields in _stats(session)}


def busy_ticks(session: int) -> int:
    """Processor time of a session without its leader, in clock ticks; ended processes are included
    once they are reaped."""
    return sum(
        int(ticks) for pid, fields in _stats(session) if pid != session for ticks in fields[_TIMES]
    )


def _stats(session: int) -> Iterator[tuple[int, list[bytes]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                if int(fields[_SESSION]) == session and fields[_STATE] not in (b"Z", b"X"):
                    yield int(entry.name), fields
