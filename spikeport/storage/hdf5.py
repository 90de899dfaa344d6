"""Read untrusted HDF5 files safely, and write HDF5 files so that no fault damages existing ones.

Only plain data stored in the file itself is read, with the usual compression and declared sizes
within `limits`; hard links are visited once. Written files are sealed (see `hdf5_seal`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO, FileIO
from math import prod
from pathlib import Path
from typing import Any

import h5py
import h5py.h5o

from spikeport.errors import FileFormatError, InputError
from spikeport.storage.files import check_readable, replacing
from spikeport.storage.hdf5_seal import check_open_seal, seal
from spikeport.storage.limits import (
    FREE_BYTES,
    MAX_CHUNK_BYTES,
    MAX_DATASET_BYTES,
    MAX_NAME,
    MAX_OBJECTS,
    MAX_RATIO,
    MAX_TOTAL_BYTES,
)

fail = FileFormatError.fail

_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_SZIP,
    h5py.h5z.FILTER_LZF,
}


@dataclass(slots=True)
class Budget:
    """Memory and objects that a file may still use."""

    file_bytes: int
    bytes: int = 0
    seen: set[Any] = field(default_factory=set)

    def take(self, where: str, count: int) -> None:
        """Account for `count` bytes that `where` declares."""
        self.bytes += count
        if count > MAX_DATASET_BYTES or self.bytes > MAX_TOTAL_BYTES:
            fail(
                f"{where} declares {count} bytes ({self.bytes} in all), the limits are "
                f"{MAX_DATASET_BYTES} and {MAX_TOTAL_BYTES}"
            )
        if self.bytes > max(FREE_BYTES, MAX_RATIO * self.file_bytes):
            fail(
                f"{where} declares {count} bytes ({self.bytes} in all) in a file of "
                f"{self.file_bytes}, more than {MAX_RATIO} times its size"
            )

    def visit(self, where: str, item: Any) -> None:
        """Account for an object that must not have been visited before."""
        info = h5py.h5o.get_info(item.id)
        key = (info.fileno, info.addr)
        if key in self.seen:
            fail(f"{where} is linked more than once; every object must have a single path")
        self.seen.add(key)
        if len(self.seen) > MAX_OBJECTS:
            fail(f"{where}: the file contains more than {MAX_OBJECTS} objects")


@contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[tuple[h5py.File, bytes]]:
    """Open an HDF5 file whose content is read once, as a whole, and yield both.

    What the file says is then what the content says, whatever happens to the file meanwhile.

    Raises:
        InputError: as for `naming`, the file is larger than what it may declare, or it is sealed
            and was modified afterwards.
    """
    with naming(path, what):
        if (size := Path(path).stat().st_size) > MAX_TOTAL_BYTES:
            fail(f"has {size} bytes, the limit is {MAX_TOTAL_BYTES}")
        content = Path(path).read_bytes()
        check_open_seal(BytesIO(content))
        with h5py.File(BytesIO(content), "r") as file:
            yield file, content


@contextmanager
def naming(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Convert every error while reading within the block to one error that names the file.

    Args:
        what: what the file should contain, for the message.

    Raises:
        InputError: no such file, not HDF5, damaged, or it breaks a rule.
    """
    check_readable(path)
    try:
        yield
    except InputError as error:
        raise type(error)(f"{path}: {error}") from error
    except MemoryError as error:
        raise FileFormatError(f"{path}: reading it needs more memory than is available") from error
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError) as error:
        raise FileFormatError(f"{path}: not a {what} (HDF5) file, or damaged ({error})") from error


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Open a new HDF5 file that replaces `path` once all of it is on disk.

    Yields the file and a function that raises if a write has failed so far.

    Raises:
        OutputError: the file cannot be written; an existing file is unharmed.
    """
    with replacing(path) as raw:
        disk = _Disk(raw)
        with h5py.File(disk, "w") as file:
            yield file, disk.check
        disk.check()
        seal(raw)


class _Disk:
    """A file object for h5py that stores write errors until they are checked.

    HDF5 cannot close a file after a write failed on a full disk; the process would abort on exit.
    """

    def __init__(self, raw: FileIO) -> None:
        self._raw = raw
        self._error: OSError | None = None
        self.seek, self.tell, self.read = raw.seek, raw.tell, raw.read

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def readinto(self, buffer: memoryview) -> int:
        count = self._raw.readinto(buffer) or 0
        if self._error is None:
            return count
        buffer[count:] = bytes(len(buffer) - count)
        return len(buffer)

    def write(self, data: memoryview) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while self._error is None and len(rest):
                rest = rest[self._raw.write(rest) :]
        except OSError as error:
            self._error = error
        return size

    def truncate(self, size: int) -> int:
        try:
            self._raw.truncate(size)
        except OSError as error:
            self._error = self._error or error
        return size

    def flush(self) -> None:
        """Nothing to do: writes are not buffered."""


def members(
    group: h5py.Group, budget: Budget, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[tuple[str, Any]]:
    """The members of a group that are `wanted`, by name; see `child`."""
    for name in map(str, group):
        if wanted(name):
            yield name, child(group, name, budget)


def child(group: h5py.Group, name: str, budget: Budget) -> Any:
    """A member of a group, None if there is none; links to other places are refused."""
    link = group.get(name, getlink=True)
    if link is None:
        return None
    where = f"'{str(group.name).rstrip('/')}/{name}'"
    if len(name) > MAX_NAME:
        fail(f"{where[:80]}...: name has {len(name)} characters, limit {MAX_NAME}")
    if not isinstance(link, h5py.HardLink):
        fail(f"{where} is a {type(link).__name__}, links are refused")
    item = group[name]
    budget.visit(where, item)
    return item


def load(item: Any, budget: Budget) -> Any:
    """Value of a dataset: an array, or a single string as `str`."""
    if not check_data(item, budget):
        return item[()]
    if item.shape != ():
        fail(f"'{item.name}' has shape {item.shape}, must be a single string")
    value = item[()]
    return value.decode("utf-8") if isinstance(value, bytes) else value


def check_data(item: Any, budget: Budget) -> bool:
    """Refuse a dataset that is not plain data or exceeds the budget; return whether it is text."""
    text = check_plain(item)
    each = item.dtype.itemsize if not text or item.dtype.kind != "O" else MAX_NAME
    budget.take(f"'{item.name}'", prod(item.shape) * each)
    return text


def check_plain(item: Any) -> bool:
    """Refuse a dataset that is not numbers or text within the file; return whether it is text."""
    where = f"'{item.name}'"
    if not isinstance(item, h5py.Dataset):
        fail(f"{where} is a group, must be a value")
    if item.is_virtual or item.external:
        fail(f"{where} stores its data outside of the file, which is refused")
    plist = item.id.get_create_plist()
    for index in range(plist.get_nfilters()):
        if (code := plist.get_filter(index)[0]) not in _FILTERS:
            fail(f"{where} uses HDF5 filter {code}, must be gzip, szip or lzf")
    if item.shape is None:
        fail(f"{where} is empty")
    width = item.dtype.itemsize
    size = prod(item.shape) * width
    if item.chunks and prod(item.chunks) * width > max(MAX_CHUNK_BYTES, size):
        fail(
            f"{where} has {size} bytes in chunks of {item.chunks}, "
            f"limit {MAX_CHUNK_BYTES} bytes per chunk"
        )
    text = h5py.check_string_dtype(item.dtype)
    if text is None and item.dtype.kind not in "fiub":
        fail(f"{where} has type {item.dtype}, must be numbers or text")
    return text is not None
