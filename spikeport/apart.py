"""Reading a stranger's file in a process of its own.

libhdf5 loops for ever or crashes on some damaged files, where no exception can be caught. So such
a file is read by a short-lived process with limits.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from spikeport.errors import InputError

SECONDS = 3
SECONDS_PER_BYTE = 1 / 1e6
"""Limit of computing time without start-up: twice what many small objects need."""
_START_S = 60
"""Wall-clock time that a busy machine may need to start the process."""
_REFUSED = 2


def run_apart(path: str | os.PathLike[str], entry: str, arguments: Sequence[str] = ()) -> bytes:
    """What a function that reads `path` writes to standard output, run in another process.

    Args:
        entry: `module:function`, called with `path` and `arguments`.

    Raises:
        InputError: the function's own, or reading crashed or did not end.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    limit = int(SECONDS + path.stat().st_size * SECONDS_PER_BYTE)
    command = [sys.executable, "-P", "-c", f"from {__name__} import main; main()"]
    command += [entry, str(limit), str(path), *arguments]
    # Neither the current folder, where anybody's modules may lie and which may be gone, nor the
    # names of import hooks.
    places = [*filter(os.path.isabs, sys.path), str(Path(__file__).absolute().parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=_START_S + 2 * limit
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{path}: damaged: reading it did not end within {limit} s") from None
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode == -signal.SIGXCPU:
        raise InputError(f"{path}: damaged: reading it did not end within {limit} s")
    if done.returncode < 0:
        raise InputError(f"{path}: damaged: reading it crashed (signal {-done.returncode})")
    if done.returncode == _REFUSED:
        raise InputError(said)
    if done.returncode:
        raise InputError(f"{path}: cannot be read: {said.strip().splitlines()[-1]}")
    return done.stdout


def main() -> None:
    """What the other process does; its arguments are ENTRY SECONDS FILE and those of ENTRY."""
    entry, seconds, *arguments = sys.argv[1:]
    module, _, name = entry.partition(":")
    function = getattr(__import__(module, fromlist=[name]), name)
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + int(seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        function(*arguments)
    except InputError as error:
        sys.stderr.buffer.write(str(error).encode("utf-8"))
        sys.exit(_REFUSED)
