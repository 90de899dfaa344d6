"""Reading the HDF5 of a NIR file that anybody may have written.

nir's own reader follows links to other files and inflates whatever a file declares. This one
opens nothing but plain data inside the file: hard links visited once, data stored in the file
itself, the usual compression, declared sizes within limits, known types and fields.
Limits hold for hostile files; no published network comes near them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from spikeport.errors import InputError
from spikeport.export.nir_fields import NODE_TYPES, fail

MAX_DATASET_BYTES = 2 * 2**30
MAX_TOTAL_BYTES = 4 * 2**30
FREE_BYTES = 64 * 2**20
"""A file may always inflate to this much; beyond it to at most MAX_RATIO times its own size."""
MAX_RATIO = 256
MAX_OBJECTS = 200_000
MAX_DEPTH = 16
MAX_NAME = 1024

_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_SZIP,
    h5py.h5z.FILTER_LZF,
}
_VERSION = re.compile(r"[01]\.")


@dataclass(frozen=True, slots=True)
class RawNode:
    """A node as the file holds it, before any rule but the size limits was checked."""

    type: str
    fields: Mapping[str, Any]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RawGraph:
    """A graph as the file holds it; nodes may be graphs."""

    nodes: Mapping[str, RawNode | RawGraph]
    edges: tuple[tuple[str, str], ...]
    metadata: Mapping[str, Any]


@dataclass(slots=True)
class _Budget:
    """What a file may still use up."""

    file_bytes: int
    bytes: int = 0
    seen: set[Any] = field(default_factory=set)

    def take(self, where: str, count: int) -> None:
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
        info = h5py.h5o.get_info(item.id)
        key = (info.fileno, info.addr)
        if key in self.seen:
            fail(f"{where} is linked twice, every object must have one place")
        self.seen.add(key)
        if len(self.seen) > MAX_OBJECTS:
            fail(f"{where}: the file holds more than {MAX_OBJECTS} objects")


def read_raw(path: str | os.PathLike[str], metadata_key: str) -> RawGraph:
    """The graph in a NIR file, nothing interpreted; of metadata only what `metadata_key` begins.

    Raises:
        InputError: no such file, not HDF5, damaged, not NIR, or it breaks a limit or a rule;
            the message names the file and the place in it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            budget = _Budget(path.stat().st_size)
            _check_version(file, budget)
            root = _child(file, "node", budget)
            if not isinstance(root, h5py.Group):
                fail("holds no group 'node', so it is no NIR file")
            graph = _graph_or_node(root, budget, metadata_key, 0)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError) as error:
        raise InputError(f"{path}: not a NIR (HDF5) file, or damaged ({error})") from error
    if isinstance(graph, RawNode):
        raise InputError(f"{path}: holds a single {graph.type} node, must hold a NIRGraph")
    return graph


def _check_version(file: h5py.File, budget: _Budget) -> None:
    """Files of 0.x and 1.x differ only in what may be absent; older ones state no version."""
    item = _child(file, "version", budget)
    version = None if item is None else _load(item, budget)
    if version is not None and not (isinstance(version, str) and _VERSION.match(version)):
        fail(f"NIR version is {version!r}, this Spikeport reads 0.x and 1.x")


def _graph_or_node(group: h5py.Group, budget: _Budget, key: str, depth: int) -> RawNode | RawGraph:
    where = group.name
    if depth > MAX_DEPTH:
        fail(f"'{where}': graphs are nested deeper than {MAX_DEPTH}")
    item = _child(group, "type", budget)
    type_name = None if item is None else _load(item, budget)
    if not isinstance(type_name, str):
        fail(f"'{where}' has no type")
    metadata = _metadata(group, budget, key)
    if type_name == "NIRGraph":
        return RawGraph(
            _children(group, "nodes", budget, key, depth), _edges(group, budget), metadata
        )
    if type_name not in NODE_TYPES:
        fail(
            f"'{where}': type {type_name!r} is not supported, must be one of "
            f"{', '.join(NODE_TYPES)}"
        )
    fields = {
        name: _load(child, budget)
        for name, child in _members(group, budget, lambda n: n not in ("type", "metadata"))
    }
    return RawNode(type_name, fields, metadata)


def _children(
    group: h5py.Group, name: str, budget: _Budget, key: str, depth: int
) -> dict[str, RawNode | RawGraph]:
    nodes = _child(group, name, budget)
    if not isinstance(nodes, h5py.Group):
        fail(f"'{group.name}' (NIRGraph): group '{name}' is missing")
    found: dict[str, RawNode | RawGraph] = {}
    for child_name, child in _members(nodes, budget):
        if not isinstance(child, h5py.Group):
            fail(f"'{child.name}': a node must be a group")
        found[child_name] = _graph_or_node(child, budget, key, depth + 1)
    return found


def _edges(group: h5py.Group, budget: _Budget) -> tuple[tuple[str, str], ...]:
    item = _child(group, "edges", budget)
    if item is None:
        fail(f"'{group.name}' (NIRGraph): 'edges' is missing")
    text = _checked(item, budget)
    if item.size == 0:
        return ()
    if not text or item.ndim != 2 or item.shape[1] != 2:
        fail(f"'{item.name}' has shape {item.shape} of {item.dtype}, must be N x 2 names")
    # few at a time: each entry may point to the same, very long text
    blocks = (item[row : row + 16] for row in range(0, len(item), 16))
    return tuple((_name(item.name, a), _name(item.name, b)) for rows in blocks for a, b in rows)


def _metadata(group: h5py.Group, budget: _Budget, key: str) -> dict[str, Any]:
    """Our own entries only: strings, and one level of arrays."""
    item = _child(group, "metadata", budget)
    if not isinstance(item, h5py.Group):
        return {}
    found: dict[str, Any] = {}
    for name, child in _members(item, budget, lambda n: n.startswith(key)):
        if isinstance(child, h5py.Group):
            found[name] = {n: _load(array, budget) for n, array in _members(child, budget)}
        else:
            found[name] = _load(child, budget)
    return found


def _members(
    group: h5py.Group, budget: _Budget, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[tuple[str, Any]]:
    for name in group:
        if wanted(name):
            yield name, _child(group, name, budget)


def _child(group: h5py.Group, name: str, budget: _Budget) -> Any:
    """A member of a group, None where it has none; never one that lies elsewhere."""
    link = group.get(name, getlink=True)
    if link is None:
        return None
    where = f"'{group.name.rstrip('/')}/{name}'"
    if len(name) > MAX_NAME:
        fail(f"{where[:80]}...: name has {len(name)} characters, limit {MAX_NAME}")
    if not isinstance(link, h5py.HardLink):
        fail(f"{where} is a {type(link).__name__}, links are refused")
    item = group[name]
    budget.visit(where, item)
    return item


def _load(item: Any, budget: _Budget) -> Any:
    """Value of a dataset: an array, or one text as `str`."""
    if not _checked(item, budget):
        return item[()]
    if item.shape != ():
        fail(f"'{item.name}' has shape {item.shape}, must be one text")
    value = item[()]
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _checked(item: Any, budget: _Budget) -> bool:
    """Refuse a dataset that is not plain data within the file; whether it is text."""
    where = f"'{item.name}'"
    if not isinstance(item, h5py.Dataset):
        fail(f"{where} is a group, must be a value")
    if item.is_virtual or item.external:
        fail(f"{where} keeps its data outside of the file, which is refused")
    plist = item.id.get_create_plist()
    for index in range(plist.get_nfilters()):
        if (code := plist.get_filter(index)[0]) not in _FILTERS:
            fail(f"{where} uses HDF5 filter {code}, must be gzip, szip or lzf")
    if item.shape is None:
        fail(f"{where} is empty")
    text = h5py.check_string_dtype(item.dtype)
    if text is None and item.dtype.kind not in "fiub":
        fail(f"{where} has type {item.dtype}, must be numbers or text")
    each = item.dtype.itemsize if text is None or text.length else MAX_NAME
    budget.take(where, int(np.prod(item.shape, dtype=object)) * each)
    return text is not None


def _name(where: str, value: Any) -> str:
    text = value.decode("utf-8") if isinstance(value, bytes) else value
    if not isinstance(text, str) or len(text) > MAX_NAME:
        fail(f"'{where}': {str(text)[:40]!r}... must be a name of at most {MAX_NAME} characters")
    return text
