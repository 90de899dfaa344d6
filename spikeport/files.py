"""Writing files so that a full disk or a killed process never harms what stood there before."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from spikeport.errors import OutputError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; on success rename it to `path`.

    The rename is atomic and the bytes are flushed to disk before it, so a reader sees
    either the old file or the whole new one.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {_reason(error)}") from error
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(target)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{target}: cannot be written: {_reason(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` through `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to `path` through `replacing`."""
    write_bytes(path, text.encode("utf-8"))


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
