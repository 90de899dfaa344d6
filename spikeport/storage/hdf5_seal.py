"""The seal of an HDF5 file: a SHA-256 digest appended to the file.

HDF5 ignores bytes past its own end of file, so every HDF5 reader still opens a sealed file. A tool
that modifies the file in place truncates the seal; the file is then treated as unsealed.
"""

from __future__ import annotations

import hashlib
import os
from io import FileIO
from typing import BinaryIO

from spikeport.errors import FileFormatError

fail = FileFormatError.fail


_HEAD = b"\nspikeport sha256 "
SIZE = len(_HEAD) + 64 + 1
_HDF5 = b"\x89HDF\r\n\x1a\n"
_PIECE = 2**20


def seal(file: FileIO) -> None:
    """Append the digest of the whole content of `file`, which is open for reading and writing."""
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
    rest = memoryview(_seal_of(digest.hexdigest()))
    while rest:
        rest = rest[file.write(rest) :]


def sealed(data: bytes) -> bytes:
    """`data` followed by its seal."""
    return data + _seal_of(hashlib.sha256(data).hexdigest())


def check_seal(path: str | os.PathLike[str]) -> bool:
    """Whether an HDF5 file is sealed.

    Raises:
        InputError: the file was modified after it was sealed, or its seal is damaged.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return check_open_seal(file)


def check_open_seal(file: BinaryIO) -> bool:
    """Like `check_seal`, for a file or content that is open for reading."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(64)
    file.seek(max(size - SIZE, 0))
    tail = file.read(SIZE)
    if not tail.startswith(_HEAD):
        if 0 < size - _end(head) <= SIZE:
            raise OSError("its end is damaged")
        return False
    file.seek(0)
    digest, left = hashlib.sha256(), size - SIZE
    while left and (piece := file.read(min(left, _PIECE))):
        digest.update(piece)
        left -= len(piece)
    if tail != _seal_of(digest.hexdigest()):
        fail("does not match its stored digest: it was changed after writing, or is damaged")
    return True


def _seal_of(digest: str) -> bytes:
    return _HEAD + digest.encode("ascii") + b"\n"


def _end(head: bytes) -> int:
    """End-of-file address in the superblock of the HDF5 file that starts with `head`, else 2^64.

    Source: HDF5 File Format Specification 3.0, section II.A, superblock versions 0 to 3.
    """
    if not head.startswith(_HDF5) or len(head) < 64:
        return 2**64
    version, wide = head[8], head[13] if head[8] < 2 else head[9]
    place = {0: 40, 1: 44, 2: 28, 3: 28}.get(version, 0)
    return int.from_bytes(head[place : place + 8], "little") if place and wide == 8 else 2**64
