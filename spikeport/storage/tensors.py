"""Files of named arrays and a JSON header: safetensors, never pickle, with a format version.

The header is stored in the safetensors metadata under the key `spikeport`. Its `digest` is the
SHA-256 of the rest of the header and of the arrays. Files written by Spikeport 0.1.0 have no digest
and can still be read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from spikeport.errors import FileFormatError, FileVersionError, InputError
from spikeport.storage.canonical import Arrays, digest
from spikeport.storage.files import check_readable, write_bytes
from spikeport.storage.strict_json import parse_json
from spikeport.text import quoted

KEY = "spikeport"
DIGEST = "digest"
TYPES = ("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "F32", "F64")


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file.

    Attributes:
        name, version: as stated in the header.
        what: the kind in messages, such as "Spikeport network".
        writer: name of the function that writes it.
        keys: the remaining keys of the header.
    """

    name: str
    version: int
    what: str
    writer: str
    keys: tuple[str, ...]


def write_tensors(
    path: str | os.PathLike[str],
    kind: Format,
    header: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write arrays and header to `path`, completely or not at all.

    Raises:
        OutputError: the file cannot be written; an existing file is unharmed.
    """
    stated = {"format": kind.name, "version": kind.version, **header}
    write_bytes(path, pack(with_digest(stated, arrays), arrays))


def read_tensors(path: str | os.PathLike[str], kind: Format) -> tuple[dict[str, Any], Arrays]:
    """The header and the arrays that `write_tensors` wrote.

    Raises:
        InputError: the file is missing, damaged, of another kind or version, or was modified.
    """
    header, arrays = unpack(
        path,
        f"not a {kind.what} file, or damaged; expected what {kind.writer} writes",
    )
    if not isinstance(header, dict) or header.get("format") != kind.name:
        raise FileFormatError(f"{path}: is a safetensors file, but not a {kind.what}")
    version = header.get("version")
    if version != kind.version or isinstance(version, bool):
        raise FileVersionError(
            f"{path}: format version {quoted(version)}, this Spikeport reads {kind.version}"
        )
    check_digest(path, header, arrays)
    for key in header:
        if key not in (*kind.keys, "format", "version", DIGEST):
            raise FileFormatError(f"{path}: bad header (unknown key {quoted(key)})")
    return header, arrays


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], key: str = KEY) -> bytes:
    """Serialize arrays as safetensors, with `header` as JSON under `key` in the metadata."""
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    metadata = {key: json.dumps(header, sort_keys=True, allow_nan=False)}
    data: bytes = safetensors.numpy.save(whole, metadata=metadata)
    return data


def unpack(path: str | os.PathLike[str], refusal: str, key: str = KEY) -> tuple[Any, Arrays]:
    """The inverse of `pack`: the uninterpreted header (None if there is none) and the arrays.

    Args:
        refusal: the error message for a file that is damaged or not safetensors.

    Raises:
        InputError: no such file, not safetensors, damaged, or a tensor type that NumPy does not
            have.
    """
    path = Path(path)
    check_readable(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = parse_json((file.metadata() or {}).get(key, "null"))
            arrays = {}
            for name in file.keys():  # noqa: SIM118
                if (kind := file.get_slice(name).get_dtype()) not in TYPES:
                    raise FileFormatError(
                        f"{path}: tensor {quoted(name)} has type {kind}, must be one of "
                        f"{', '.join(TYPES)}"
                    )
                arrays[name] = file.get_tensor(name)
    except MemoryError as error:
        raise FileFormatError(f"{path}: reading it needs more memory than is available") from error
    except InputError:
        raise
    except (SafetensorError, ValueError, OSError) as error:
        raise FileFormatError(f"{path}: {refusal} ({error})") from error
    return header, arrays


def with_digest(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The header as read back from JSON, with its digest added."""
    plain: dict[str, Any] = json.loads(json.dumps(header, allow_nan=False))
    return {**plain, DIGEST: digest(plain, arrays)}


def check_digest(
    path: str | os.PathLike[str], header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Check the digest in a header, if there is one, against the header and the arrays.

    Raises:
        InputError: they differ.
    """
    if DIGEST not in header:
        return
    rest = {key: value for key, value in header.items() if key != DIGEST}
    if (found := digest(rest, arrays)) != header[DIGEST]:
        raise FileFormatError(
            f"{path}: digest is {found[:12]}, but the file states {str(header[DIGEST])[:12]}: it "
            "was changed after writing, or is damaged"
        )
