"""A temporary folder that is removed when the process that requested it ends.

A process that is killed outright cannot remove its own folder. A helper process therefore creates
and removes it: this file, run as a program that needs only the standard library. It runs in a
separate session, which no Ctrl-C reaches, and waits for the end of its standard input.
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
"""Number of consecutive checks that find no folder, after which no process can recreate it."""
LOOKS = 600


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Create a folder whose name begins with `prefix`; it is removed however this process ends.

    Raises:
        OutputError: it cannot be created.
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
        assert keeper.stdin is not None  # requested above, as are stdout and stderr
        assert keeper.stdout is not None
        assert keeper.stderr is not None
        if not (name := keeper.stdout.readline().rstrip(b"\n")):
            said = keeper.stderr.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise OutputError(f"{place}: no folder for temporary files can be created: {said}")
        folder = Path(place) / name.decode("ascii")
        try:
            yield folder
        finally:
            keeper.communicate(ORDERLY.encode("ascii"))
            shutil.rmtree(folder, ignore_errors=True)  # in case the helper itself was killed


def keep_folder(place: str, prefix: str) -> None:
    """Create the folder, print its name, and remove it when standard input is closed."""
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
