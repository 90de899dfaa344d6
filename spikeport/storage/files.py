"""Atomic file output: a full disk or a killed process leaves the previous file intact.

Every output goes through `replacing`. Symbolic links are followed: the target is replaced, the
link remains. A replaced file keeps its permissions, and its owner if this process may set it;
other hard links to it keep the old content. Devices, FIFOs, sockets and write-protected files are
refused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import uuid
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path

from spikeport.errors import FileMissingError, InputError, OutputError

SUFFIX = ".spikeport.tmp"
LONG_NAME = 200
"""Longest file name, in bytes, that the name of its temporary file repeats (file systems allow
255); a longer name is replaced by its digest."""
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
KNOWN = (
    *(".spikeport", ".nir", ".net", ".safetensors", ".h5", ".hdf5", ".html", ".htm"),
    *(".json", ".md", ".xml", ".svg", ".toml", ".npz", ".shard", ".png", ".jpg", ".pdf"),
)
"""Suffixes of the files that Spikeport writes or reads, and of other pictures."""
DESCRIPTORS = Path("/proc/self/fd")
_NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)
"""Error codes of open() if the file system or the kernel does not support unnamed files."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[FileIO]:
    """Open a new file for writing that atomically replaces `path` on success.

    Its bytes are on disk before the replacement, so a reader sees either the old file or the
    complete new one. While being written the file has no name (open(2), O_TMPFILE), so a killed
    process leaves nothing behind. Only at the moment of replacement, or throughout if the file
    system does not support unnamed files, it is called `.NAME.*.spikeport.tmp` in the same folder;
    such a file left by a killed process is removed by the next process that writes `path`.

    Raises:
        OutputError: the folder is missing or not writable, the disk is full, or the existing file
            is write-protected or not a regular file.
    """
    path = Path(path)
    try:
        old = _replaceable(path)
        target = _target(path)
        temporary = target.with_name(f"{_prefix(target)}{uuid.uuid4().hex[:12]}{SUFFIX}")
        _clear(target)
        unnamed = _unnamed(target.parent)
        try:
            with unnamed or _named(temporary) as file:
                yield file
                if old is not None:
                    _take_over(old, file)
                os.fsync(file.fileno())
                if unnamed is not None:
                    _link(unnamed, temporary)
                temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def check_readable(path: str | os.PathLike[str]) -> None:
    """Refuse what is no file that can be opened.

    Raises:
        FileMissingError: it does not exist, is a folder or device, or its rights forbid to read it.
    """
    if not os.path.isfile(path):
        problem = "is not a file" if os.path.exists(path) else "no such file"
    elif os.access(path, os.R_OK):
        return
    else:
        problem = "its rights forbid to read it"
    raise FileMissingError(f"{os.fspath(path)}: {problem}")


def check_output(
    path: str | os.PathLike[str],
    *,
    suffixes: Iterable[str] = (),
    inputs: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """Refuse an unsuitable output path before any computation.

    Args:
        suffixes: of this kind of file; if given, the suffixes of other kinds are refused.
        inputs: files that must not be overwritten, under any name; missing files are ignored.

    Raises:
        InputError: it is one of the inputs, or has the suffix of another kind of file.
        OutputError: it exists and is not a regular file, or it or its folder cannot be written.
    """
    path = Path(path)
    try:
        old = _replaceable(path)
        folder = _target(path).parent
        (_unnamed(folder) or os.scandir(folder)).close()
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    for read in inputs:
        with contextlib.suppress(OSError):
            if old is not None and os.path.samestat(old, os.stat(read)):
                raise InputError(
                    f"{path}: is the same file as the input {read}, which would be overwritten; "
                    "choose another name"
                )
    allowed = tuple(suffixes)
    if allowed and path.suffix not in allowed and path.suffix.lower() in KNOWN:
        raise InputError(f"{path}: suffix '{path.suffix}', must be {' or '.join(allowed)}")


def _target(path: Path) -> Path:
    """The path of the file itself: the target if `path` is a symbolic link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _replaceable(path: Path) -> os.stat_result | None:
    """The status of the existing file at `path`; None if there is none.

    Raises:
        OSError: it must not be replaced.
    """
    try:
        # Not os.readlink: the kernel refuses to follow links planted in shared folders.
        found = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "a special file")
        raise OutputError(f"{path}: cannot be written: it is {kind}, must be a regular file")
    os.close(
        os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    )  # fails if it is write-protected
    return found


def _take_over(old: os.stat_result, file: FileIO) -> None:
    """Give `file` the permissions of the file that it replaces, and its owner where possible."""
    for owner in (old.st_uid, -1):
        try:
            os.fchown(file.fileno(), owner, old.st_gid)
            break
        except OSError:
            continue
    os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode) & 0o777)


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
    """A file without a name in `folder`, marked as in use; None if that is not supported."""
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
    """A new file at `path`, marked as in use."""
    while True:
        file = FileIO(path, "x+")
        _use(file)
        if path.exists():  # Otherwise another process removed it before it was marked as in use.
            return file
        file.close()


def _link(file: FileIO, path: Path) -> None:
    """Give an unnamed file its name; this works only once."""
    # The folder has no effect here, but Python follows symbolic links only if one is given.
    os.link(DESCRIPTORS / str(file.fileno()), path, src_dir_fd=file.fileno(), follow_symlinks=True)


def _use(file: FileIO) -> None:
    """Mark `file` as in use until it is closed or its process ends."""
    with contextlib.suppress(OSError):  # Some network file systems have no locks.
        fcntl.flock(file, fcntl.LOCK_EX)


def _prefix(target: Path) -> str:
    """The common prefix of the names of all temporary files of `target`."""
    name = os.fsencode(target.name)
    short = target.name if len(name) <= LONG_NAME else hashlib.sha256(name).hexdigest()[:32]
    return f".{short}."


def _clear(target: Path) -> None:
    """Remove the temporary files of `target` that no process is using.

    Anything but a regular file is left alone, because Spikeport did not create it.
    """
    found: list[str] = []
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        prefix = _prefix(target)
        found = [
            entry.path
            for entry in entries
            if entry.name.startswith(prefix)
            and entry.name.endswith(SUFFIX)
            and entry.is_file(follow_symlinks=False)
        ]
    for path in found:
        with contextlib.suppress(OSError), _opened(path) as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)


def _opened(path: str) -> FileIO:
    """Open a file for reading, without following links or waiting for the writer of a FIFO."""
    return FileIO(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))


def make_folder(folder: Path) -> None:
    """Create a folder and its parents.

    Raises:
        OutputError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror or error}") from error


@contextlib.contextmanager
def output_folder(folder: Path) -> Iterator[None]:
    """Create a folder for what the block writes; if it fails before that, nothing is left of it.

    Raises:
        OutputError: it cannot be created.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    make_folder(folder)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # one that is not empty stays, with its parents
            for path in missing:
                path.rmdir()
        raise
