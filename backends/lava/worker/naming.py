"""Name Lava's processes after the parts of the network they run, and get their stacks."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

MARK = "spikeport-lava:"
SERVICE = "Lava's runtime service"
ASK = signal.SIGUSR1


def announce(part: str) -> None:
    """Name this process, and let ASK write its Python stack to the memory file of that name.

    The name can be read in /proc/PID/fd, even if the process is stopped.
    """
    file = os.memfd_create(MARK + part)
    faulthandler.register(ASK, file, all_threads=False)
    os.register_at_fork(after_in_child=partial(os.close, file))


def part_of(pid: int) -> tuple[str, Path] | None:
    """The part that a process has announced, and the file that receives its stack."""
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                _, mark, part = os.readlink(entry).partition(f"/memfd:{MARK}")
                if mark:
                    return part.removesuffix(" (deleted)"), entry
    return None


def name_processes(parts: dict[int, str]) -> None:
    """Have every process that Lava will start named, and recorded in `parts` by its process id.

    The name of a process of the network is the entry "part" of its parameters.
    """
    from lava.magma.runtime.message_infrastructure.multiprocessing import MultiProcessing

    stock = MultiProcessing.build_actor

    def build_actor(self: Any, target_fn: Any, builder: Any, exception_q: Any = None) -> Any:
        parameters = getattr(builder, "proc_params", None)
        part = parameters["part"] if parameters else SERVICE

        def named(**given: Any) -> None:
            announce(part)
            target_fn(**given)

        actor = stock(self, named, builder, exception_q)
        parts[actor.pid] = part
        return actor

    MultiProcessing.build_actor = build_actor
