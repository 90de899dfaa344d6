"""Find the Lava process that hangs, from the kernel and from the stacks of the processes.

If Lava hangs, all processes but one wait for a message. The one that does not is stopped, blocked
or busy, and is the one that is stuck. If all of them wait, a message was lost.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from spikeport.backends.lava.worker.naming import ASK, SERVICE, part_of
from spikeport.backends.lava.worker.sweep import processes

ANSWER_S = 1.0
STATES = {"T": "stopped by a signal", "t": "stopped by a debugger", "D": "waiting for a disk"}
WAITING = "waiting for a message"
CHANNEL = "pypychannel.py"
"""The file of Lava in which a process waits for others."""
IDLE = "select"
"""The function in that file in which a process has nothing to do until the next step."""
OUTERMOST = "_run_module_as_main"
"""The last function of every stack: the worker is started with `python -m`."""
_FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)')
SHOWN = 6


def describe_stuck(session: int) -> str:
    """Describe the processes of a worker's session that are busy, and those that wait for messages.

    Every process is asked for its stack; call this only for a session that is about to be ended.
    """
    states = {pid: state for pid, state in processes(session).items() if pid != session}
    parts = {pid: found for pid in states if (found := part_of(pid)) is not None}
    stacks = _ask({pid: file for pid, (_, file) in parts.items() if states[pid] not in STATES})
    stuck, waiting = [], []
    for pid, state in sorted(states.items()):
        part = parts[pid][0] if pid in parts else "an internal process of Lava"
        # A process without a name does not take part in the steps.
        doing = STATES.get(state) or (_doing(stacks.get(pid)) if pid in parts else "")
        if doing == WAITING:
            waiting += [] if part == SERVICE else [part]
        elif doing:
            stuck.append(f"{part} ({doing})")
    said = [f"stuck: {_listed(stuck)}" if stuck else "no Lava process was busy"]
    if waiting:
        said.append(f"{WAITING}: {_listed(waiting)}")
    return "; ".join(said)


def _ask(files: Mapping[int, Path]) -> dict[int, str]:
    """The stack of each process that answers in time."""
    for pid in files:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, ASK)
    answers: dict[int, str] = {}
    deadline = time.monotonic() + ANSWER_S
    while len(answers) < len(files) and time.monotonic() < deadline:
        time.sleep(0.02)
        for pid, file in files.items():
            with contextlib.suppress(OSError):
                if OUTERMOST in (text := file.read_text(encoding="utf-8", errors="replace")):
                    answers[pid] = text
    return answers


def _doing(stack: str | None) -> str:
    """WAITING, "" if idle until the next step, otherwise the position of the process."""
    frames = _FRAME.findall(stack or "")
    if not frames:
        return "does not answer"
    frames = [frame for frame in frames if Path(frame[0]).name != "threading.py"] or frames
    file, line, function = frames[0]
    if Path(file).name == CHANNEL:
        return "" if function == IDLE else WAITING
    return f"busy in {function}, {'/'.join(Path(file).parts[-3:])}:{line}"


def _listed(parts: list[str]) -> str:
    more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    return ", ".join(parts[:SHOWN]) + more
