"""Values read in an isolated process, as bytes: JSON and safetensors, never pickle."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from spikeport.storage.hdf5 import naming
from spikeport.storage.hdf5_seal import check_seal
from spikeport.storage.isolated_read import run_isolated

_Arrays = dict[str, NDArray[Any]]


def read_packed(
    path: str | os.PathLike[str],
    what: str,
    entry: str,
    arguments: Sequence[str],
    records: Iterable[type],
) -> Any:
    """The value that `entry` gives to `write_packed` in a child process; see `run_isolated`.

    Args:
        what: what the file should contain, for messages.
        records: the dataclasses that the value may contain.

    Raises:
        InputError: as for `run_isolated`, or the file was modified after it was sealed.
    """
    with naming(path, what):
        check_seal(path)
    found = run_isolated(path, entry, arguments)
    text, _, arrays = found.partition(b"\0")
    kinds = {kind.__name__: kind for kind in records}
    return _unpacked(json.loads(text), safetensors.numpy.load(arrays), kinds)


def write_packed(value: Any) -> None:
    """Write a value of text, arrays, tuples, dictionaries and dataclasses to standard output."""
    arrays: _Arrays = {}
    text = json.dumps(_plain(value, arrays))  # ASCII, so the first zero byte terminates it
    sys.stdout.buffer.write(text.encode("ascii") + b"\0" + safetensors.numpy.save(arrays))


def _plain(value: Any, arrays: _Arrays) -> Any:
    """JSON data; each value is a list of its kind and content, arrays are added to `arrays`."""
    match value:
        case str():
            return ["text", value]
        case tuple():
            return ["tuple", [_plain(item, arrays) for item in value]]
        case dict():
            return ["dict", {key: _plain(item, arrays) for key, item in value.items()}]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = [getattr(value, field.name) for field in dataclasses.fields(value)]
            return ["record", type(value).__name__, [_plain(item, arrays) for item in fields]]
    array = np.asarray(value)
    name = str(len(arrays))
    arrays[name] = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))).reshape(-1)
    return ["array", name, array.shape]


def _unpacked(data: Any, arrays: _Arrays, records: dict[str, type]) -> Any:
    """The inverse of `_plain`."""
    match data:
        case ["text", text]:
            return text
        case ["tuple", items]:
            return tuple(_unpacked(item, arrays, records) for item in items)
        case ["dict", items]:
            return {key: _unpacked(item, arrays, records) for key, item in items.items()}
        case ["record", name, items]:
            return records[name](*(_unpacked(item, arrays, records) for item in items))
    _, name, shape = data
    return arrays[name].reshape(shape)[()]
