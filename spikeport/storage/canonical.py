"""The canonical form of a network: JSON text and named arrays, identical for equal networks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
OPTIONAL: Mapping[str, bool] = {"optional": True}
"""Field metadata: leave the field out of the canonical form while it has its default value. For
fields that were added later, so that hashes of networks without them do not change."""


def canonical_bytes(data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Serialize JSON data and named arrays; equal inputs give equal bytes."""
    return b"".join(_pieces(data, arrays))


def digest(data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of `canonical_bytes`, without holding them in memory."""
    found = hashlib.sha256()
    for piece in _pieces(data, arrays):
        found.update(piece)
    return found.hexdigest()


def _pieces(
    data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> Iterator[bytes | memoryview]:
    yield json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        yield f"\n{name} {little.dtype.str} {array.shape}\n".encode()
        yield little.reshape(-1).view(np.uint8).data


def sha256(data: bytes) -> str:
    """Hex digest of `data`."""
    return hashlib.sha256(data).hexdigest()


def array_fields(kind: type[Any]) -> tuple[str, ...]:
    """Names of the fields of a type of part that hold arrays."""
    return tuple(f.name for f in dataclasses.fields(kind) if str(f.type).startswith("NDArray["))


def part_form(part: Any, arrays: Arrays) -> dict[str, Any]:
    """One part as plain JSON data; its arrays are added to `arrays` under `part.field`."""
    data: dict[str, Any] = {"type": type(part).__name__}
    for name, value in stated_fields(part):
        if isinstance(value, np.ndarray):
            arrays[f"{part.name}.{name}"] = value
        elif dataclasses.is_dataclass(value):
            data[name] = part_form(value, arrays)
        else:
            data[name] = value
    return data


def stated_fields(part: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of the fields of a dataclass, without OPTIONAL ones at their defaults."""
    for item in dataclasses.fields(part):
        value = getattr(part, item.name)
        if item.metadata != OPTIONAL or value != item.default:
            yield item.name, value
