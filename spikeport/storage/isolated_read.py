"""Read an untrusted file in a separate process.

Some damaged files make libhdf5 crash or loop forever, which no exception handler can catch. They
are therefore read in a short-lived child process with a CPU time limit.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from spikeport.errors import FileFormatError, InputError, error_classes
from spikeport.storage.files import check_readable

SECONDS = 3
SECONDS_PER_BYTE = 1 / 1e6
"""CPU time limit, excluding start-up: twice the time needed for a file of many small objects."""
_START_S = 60
"""Wall-clock time allowed for starting the process on a busy machine."""
_REFUSED = 2


def run_isolated(path: str | os.PathLike[str], entry: str, arguments: Sequence[str] = ()) -> bytes:
    """Call a function that reads `path` in a child process; return what it writes to stdout.

    Args:
        entry: `module:function`, called with `path` and `arguments`.

    Raises:
        InputError: as raised by the function; or the child crashed or exceeded its time limit.
    """
    path = Path(path)
    check_readable(path)
    limit = int(SECONDS + path.stat().st_size * SECONDS_PER_BYTE)
    command = [sys.executable, "-P", "-c", f"from {__name__} import main; main()"]
    command += [entry, str(limit), str(path), *arguments]
    # Without the current directory, which may contain anyone's modules or no longer exist, and
    # without the names of import hooks.
    places = [*filter(os.path.isabs, sys.path), str(Path(__file__).absolute().parents[2])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=_START_S + 2 * limit
        )
    except subprocess.TimeoutExpired:
        raise FileFormatError(f"{path}: damaged: reading it took more than {limit} s") from None
    message = done.stderr.decode("utf-8", "replace")
    if done.returncode == -signal.SIGXCPU:
        raise FileFormatError(f"{path}: damaged: reading it took more than {limit} s")
    if done.returncode < 0:
        raise FileFormatError(f"{path}: damaged: reading it crashed (signal {-done.returncode})")
    if done.returncode == _REFUSED:
        code, _, message = message.partition("\n")
        raise error_classes()[code](message)
    if done.returncode:
        raise FileFormatError(f"{path}: cannot be read: {message.strip().splitlines()[-1]}")
    return done.stdout


def main() -> None:
    """Entry point of the child process: ENTRY SECONDS FILE, then the arguments of ENTRY."""
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
        sys.stderr.buffer.write(f"{error.code}\n{error}".encode())
        sys.exit(_REFUSED)
