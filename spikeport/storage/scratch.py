"""A folder for temporary files which is gone with the process that asked for it.

That process cannot remove it where it is killed outright. So another one makes and removes it:
this file, run as a program, which needs nothing but the standard library. It sits in a session of
its own, where no Ctrl-C reaches it, and waits for the end of its standard input.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ORDERLY = "ended"
POLL_S = 0.1
QUIET_LOOKS = 10
"""Looks in a row without the folder after which nobody can be left who makes it again."""
LOOKS = 600


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A new folder whose name begins with `prefix`; it is gone whatever ends this process.

    Raises:
        OutputError: it cannot be made.
    """
    from spikeport.errors import OutputError

    place = tempfile.gettempdir()
    with subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, place, prefix],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as keeper:
        assert keeper.stdin is not None  # asked for above, as are the next two
        assert keeper.stdout is not None
        assert keeper.stderr is not None
        if not (name := keeper.stdout.readline().rstrip(b"\n")):
            said = keeper.stderr.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise OutputError(f"{place}: no folder for temporary files can be made: {said}")
        folder = Path(place) / name.decode("ascii")
        try:
            yield folder
        finally:
            keeper.communicate(ORDERLY.encode("ascii"))
            shutil.rmtree(folder, ignore_errors=True)  # If the keeper itself was killed.


def keep_folder(place: str, prefix: str) -> None:
    """Make the folder, say its name, and remove it when the other end of standard input is gone."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    except OSError as error:
        sys.exit(error.strerror)
    with suppress(BrokenPipeError):
        sys.stdout.write(f"{folder.name}\n")
        sys.stdout.flush()
    wanted = 1 if sys.stdin.read() == ORDERLY else QUIET_LOOKS
    quiet = 0
    for _ in range(LOOKS):
        shutil.rmtree(folder, ignore_errors=True)
        quiet = 0 if folder.exists() else quiet + 1
        if quiet >= wanted:
            return
        time.sleep(POLL_S)


if __name__ == "__main__":
    keep_folder(*sys.argv[1:])
