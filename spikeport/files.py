"""Writing files so that a full disk or a killed process never harms what stood there before."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from spikeport.errors import OutputError

SUFFIX = ".spikeport.tmp"
DESCRIPTORS = Path("/proc/self/fd")
_NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)
"""What open() says where the file system, or the kernel, has no unnamed files."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[FileIO]:
    """Give a new file to write to; on success it takes the place of `path`.

    That is atomic and its bytes are on disk before, so a reader sees either the old file or the
    whole new one. While it is written the file has no name (open(2), O_TMPFILE), so a killed
    process leaves nothing. Only for the moment of taking the place, or all the time where the
    file system has no unnamed files, it is `.NAME.*.spikeport.tmp` beside `path`; one that a
    killed process has left is removed by the next who writes `path`.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}{SUFFIX}")
    try:
        _clear(target)
        unnamed = _unnamed(target.parent)
        try:
            with unnamed or _named(temporary) as file:
                yield file
                os.fsync(file.fileno())
                if unnamed is not None:
                    _link(unnamed, temporary)
                temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` through `replacing`."""
    with replacing(path) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to `path` through `replacing`."""
    write_bytes(path, text.encode("utf-8"))


def _unnamed(folder: Path) -> FileIO | None:
    """A file without a name in `folder`, in use; None where there is no such thing."""
    if not hasattr(os, "O_TMPFILE") or not DESCRIPTORS.is_dir():
        return None
    try:
        file = FileIO(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666), "w+")
    except OSError as error:
        if error.errno in _NO_UNNAMED:
            return None
        raise
    _use(file)
    return file


def _named(path: Path) -> FileIO:
    """A new file at `path`, in use."""
    while True:
        file = FileIO(path, "x+")
        _use(file)
        if path.exists():  # Else another process took it for a left one before it was in use.
            return file
        file.close()


def _link(file: FileIO, path: Path) -> None:
    """Give an unnamed file its name; once it had one it cannot be given another."""
    # The folder counts for nothing here, but only with one does Python follow symbolic links.
    os.link(DESCRIPTORS / str(file.fileno()), path, src_dir_fd=file.fileno(), follow_symlinks=True)


def _use(file: FileIO) -> None:
    """Mark `file` as one in use, until it is closed or its process ends."""
    with contextlib.suppress(OSError):  # Some network file systems have no locks.
        fcntl.flock(file, fcntl.LOCK_EX)


def _clear(target: Path) -> None:
    """Remove the temporary files of `target` that no process has in use."""
    found: list[str] = []
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        prefix = f".{target.name}."
        found = [e.path for e in entries if e.name.startswith(prefix) and e.name.endswith(SUFFIX)]
    for path in found:
        with contextlib.suppress(OSError), FileIO(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)


def make_folder(folder: Path) -> None:
    """Make it, with those above it.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror or error}") from error
