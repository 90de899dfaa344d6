"""Files of named arrays and a JSON header: safetensors, never pickle, with a format version.

The header stands in the safetensors metadata under the key `spikeport`.
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

from spikeport.errors import InputError
from spikeport.files import write_bytes
from spikeport.text import quoted


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file.

    Attributes:
        name, version: what its header states.
        what: for messages, as "Spikeport network".
        writer: name of the function that writes it.
    """

    name: str
    version: int
    what: str
    writer: str


def write_tensors(
    path: str | os.PathLike[str],
    kind: Format,
    header: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
) -> None:
    """Write arrays and header to `path`, whole or not at all.

    Raises:
        OutputError: the file cannot be written; what stood there before is unharmed.
    """
    text = json.dumps({"format": kind.name, "version": kind.version, **header}, sort_keys=True)
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_bytes(path, safetensors.numpy.save(whole, metadata={"spikeport": text}))


def read_tensors(
    path: str | os.PathLike[str], kind: Format
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and the arrays that `write_tensors` wrote.

    Raises:
        InputError: the file is missing, damaged, of another kind or version.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("spikeport", "null"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        raise InputError(
            f"{path}: not a {kind.what} file, or damaged ({error}); "
            f"expected the safetensors file that {kind.writer} writes"
        ) from error
    if not isinstance(header, dict) or header.get("format") != kind.name:
        raise InputError(f"{path}: is safetensors, but not a {kind.what}")
    version = header.get("version")
    if version != kind.version:
        raise InputError(
            f"{path}: format version {quoted(version)}, this Spikeport reads {kind.version}"
        )
    return header, arrays
