"""Clean up: end every process of a session and unlink every shared-memory segment and semaphore of
a run."""

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
    """Kill every process of `session` except `spare`, then unlink what is named after `token`.

    That are segments `token`-*, and semaphores sem.`token`-*, which a process removes as soon as it
    has made them. While it makes one, the C library has a second name for it, which goes too.
    """
    while running := [pid for pid in processes(session) if pid not in spare]:
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    semaphores = [*SHARED_MEMORY.glob(f"sem.{token}-*")]
    if semaphores:
        made = {_inode(path) for path in semaphores} - {None}
        semaphores = [path for path in SHARED_MEMORY.glob("sem.*") if _inode(path) in made]
    for path in (*SHARED_MEMORY.glob(f"{token}-*"), *semaphores):
        path.unlink(missing_ok=True)


def _inode(path: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_ino
    return None


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
