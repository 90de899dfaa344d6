"""A digest at the end of a file, for kinds of files that cannot hold one of themselves.

HDF5 ignores what follows its own end, so a sealed file is an ordinary HDF5 file for every reader.
A tool that changes it in place cuts the seal off: such a file reads as one from elsewhere.
"""

from __future__ import annotations

import hashlib
import os
from io import FileIO
from pathlib import Path

from spikeport.part_rules import fail

_HEAD = b"\nspikeport sha256 "
SIZE = len(_HEAD) + 64 + 1
_HDF5 = b"\x89HDF\r\n\x1a\n"
_PIECE = 2**20


def seal(file: FileIO) -> None:
    """Append the digest of all that `file` holds, which is open to read and to write."""
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
    rest = memoryview(_seal_of(digest.hexdigest()))
    while rest:
        rest = rest[file.write(rest) :]


def sealed(data: bytes) -> bytes:
    """`data` with its seal."""
    return data + _seal_of(hashlib.sha256(data).hexdigest())


def check_seal(path: str | os.PathLike[str]) -> bool:
    """Whether an HDF5 file is sealed.

    Raises:
        InputError: it was changed since, or its seal is damaged.
        OSError: it cannot be read.
    """
    size = Path(path).stat().st_size
    with open(path, "rb") as file:
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
        fail("does not have the digest it states: it was changed after writing, or is damaged")
    return True


def _seal_of(digest: str) -> bytes:
    return _HEAD + digest.encode("ascii") + b"\n"


def _end(head: bytes) -> int:
    """Where the HDF5 file that begins with `head` ends by its own account; 2^64 if not known.

    Source: HDF5 File Format Specification 3.0, section II.A, superblock versions 0 to 3.
    """
    if not head.startswith(_HDF5) or len(head) < 64:
        return 2**64
    version, wide = head[8], head[13] if head[8] < 2 else head[9]
    place = {0: 40, 1: 44, 2: 28, 3: 28}.get(version, 0)
    return int.from_bytes(head[place : place + 8], "little") if place and wide == 8 else 2**64
