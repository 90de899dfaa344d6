"""What a Lava worker can leave on a machine: processes and shared memory."""

from __future__ import annotations

import contextlib
from pathlib import Path

from spikeport.backends.lava.worker.sweep import SHARED_MEMORY

NAME = "spikeport-lava-"


def segments() -> set[str]:
    return {entry.name for entry in SHARED_MEMORY.iterdir()}


def leaked(before: set[str]) -> set[str]:
    """Segments that are new and that no process uses (another Lava may run on this machine)."""
    used = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                maps = (entry / "maps").read_text()
                used |= {Path(line).name for line in maps.splitlines() if "/dev/shm/" in line}
    return {
        s
        for s in segments() - before - used
        if s.startswith((NAME, "psm_", f"sem.{NAME}", "sem.mp-"))
    }


def running(folder: Path) -> list[int]:
    """Processes that were started with `folder` as TMPDIR and still run."""
    mark, found = f"TMPDIR={folder}".encode(), []
    for entry in Path("/proc").iterdir():
        try:
            environment = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if mark in environment.split(b"\0"):
            found.append(int(entry.name))
    return found


def command_of(pid: int) -> list[str]:
    """What a process was started with; nothing if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []
