"""Readers for the published file formats of image data sets: IDX, and CIFAR's binary format.

Both treat files as untrusted: declared sizes are checked against the file before memory is
allocated.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import DataSetError, InputError
from spikeport.storage import check_bytes

MAX_BYTES = 4 * 2**30
IDX_UINT8 = 8
CIFAR_PIXELS = 3 * 32 * 32


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an array of bytes from an IDX file, plain or compressed (.gz).

    The file is a magic number 0x0000 08 dd, dd sizes as big-endian uint32, then the bytes in C
    order (LeCun's MNIST page).

    Raises:
        InputError: missing, truncated, too long, of another type or number of dimensions, or
            larger than MAX_BYTES.
    """
    try:
        with path.open("rb") as file:
            return _idx(path, gzip.open(file) if path.suffix == ".gz" else file, dimensions)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error


def _idx(path: Path, file: BinaryIO | gzip.GzipFile, dimensions: int) -> NDArray[np.uint8]:
    header = file.read(4 + 4 * dimensions)
    magic = bytes((0, 0, IDX_UINT8, dimensions))
    if header[:4] != magic:
        raise DataSetError(
            f"{path}: begins with {header[:4].hex() or 'nothing'}, an IDX file of bytes in "
            f"{dimensions} dimensions begins with {magic.hex()}"
        )
    if len(header) < 4 + 4 * dimensions:
        raise DataSetError(f"{path}: ends within its header of {4 + 4 * dimensions} bytes")
    shape = tuple(int(size) for size in np.frombuffer(header[4:], ">u4"))
    count = math.prod(shape)
    if count > MAX_BYTES:
        raise DataSetError(f"{path}: declares {shape}, {count} bytes, the limit is {MAX_BYTES}")
    # A bounded read: nothing is allocated for bytes that are declared but not present.
    data, file_bytes = bytearray(), path.stat().st_size
    while len(data) <= count and (part := file.read(min(count + 1 - len(data), 2**24))):
        data += part
        check_bytes(f"{path}: {shape}", len(data), file_bytes)
    if len(data) != count:
        found = f"only {len(data)}" if len(data) < count else "more"
        raise DataSetError(f"{path}: declares {shape}, {count} bytes, but contains {found}")
    return np.frombuffer(bytes(data), np.uint8).reshape(shape)


def read_cifar(
    path: Path, *, label_bytes: int = 1, classes: int = 10
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read images (N, 3, 32, 32) and labels from a file in CIFAR's binary format.

    A record has `label_bytes` label bytes, of which the last one is used (CIFAR-100 has the coarse
    label before it), and 3072 pixel bytes: red, green and blue planes in row order.

    Raises:
        InputError: missing, not a whole number of records, or a label out of range.
    """
    record = label_bytes + CIFAR_PIXELS
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise DataSetError(f"{path}: has {size} bytes, the limit is {MAX_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    if not data or len(data) % record:
        raise DataSetError(
            f"{path}: has {len(data)} bytes, must be a whole number of records of {record} bytes"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    labels = records[:, label_bytes - 1].astype(np.int64)
    if labels.max() >= classes:
        first = int(np.argmax(labels >= classes))
        raise DataSetError(
            f"{path}: record {first} has label {labels[first]}, must lie in 0..{classes - 1}; "
            "is this file from another data set?"
        )
    return np.ascontiguousarray(records[:, label_bytes:]).reshape(-1, 3, 32, 32), labels


def unreadable(path: Path, error: Exception) -> InputError:
    """The error for a file or folder that cannot be read."""
    reason = getattr(error, "strerror", None) or error
    return InputError(f"{path}: cannot be read: {reason}")
