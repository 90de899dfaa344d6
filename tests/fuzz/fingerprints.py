"""A digest of any value that a reader returns: equal for equal values of equal types."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import nir
import numpy as np

from spikeport.export.nir.fields import node_values


def fingerprint(*values: Any) -> str:
    """Hex digest of `values`."""
    found = hashlib.sha256()
    for value in values:
        for piece in _pieces(value):
            found.update(piece)
    return found.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    yield f"({type(value).__name__} ".encode()
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        yield f"{array.dtype.str} {array.shape} ".encode() + array.tobytes()
    elif isinstance(value, Enum | str | int | float | bytes | None):
        yield repr(value).encode("utf-8", "backslashreplace")
    elif isinstance(value, nir.NIRGraph):
        yield from _pieces({name: (type(n), node_values(n)) for name, n in value.nodes.items()})
        yield from _pieces(sorted(value.edges))
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            yield from _pieces(key)
            yield from _pieces(value[key])
    elif isinstance(value, list | tuple | set | frozenset):
        for item in sorted(value, key=repr) if isinstance(value, set | frozenset) else value:
            yield from _pieces(item)
    elif hasattr(value, "state_dict"):
        yield from _pieces(value.state_dict())
        parts = [getattr(value, name, None) for name in ("input", "steps", "options")]
        yield from _pieces((*parts, repr(getattr(value, "nodes", ""))))
    elif hasattr(value, "detach"):
        yield from _pieces(value.detach().numpy())
    elif isinstance(value, type):
        yield value.__name__.encode()
    elif dataclasses.is_dataclass(value):
        for part in dataclasses.fields(value):
            yield from _pieces(getattr(value, part.name))
    elif hasattr(value, "__array__"):
        yield from _pieces(np.asarray(value))
    else:
        raise TypeError(f"no mark for {type(value)}")
    yield b")"
