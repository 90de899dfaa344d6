"""Read the HDF5 of an untrusted NIR file.

nir's own reader follows links to other files and decompresses whatever a file declares. This one
uses `spikeport.storage.hdf5` and reads only the types and fields that NIR defines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py

from spikeport.errors import FileFormatError, FileVersionError
from spikeport.export.nir.fields import NODE_TYPES
from spikeport.storage import check_count
from spikeport.storage.canonical import sha256
from spikeport.storage.hdf5 import Budget, check_data, child, load, members, reading
from spikeport.storage.limits import MAX_DEPTH, MAX_EDGES, MAX_NAME, MAX_PARTS
from spikeport.text import quoted

fail = FileFormatError.fail

_VERSION = re.compile(r"[01]\.")


@dataclass(frozen=True, slots=True)
class RawNode:
    """A node as stored in the file, before any check except the size limits."""

    type: str
    fields: Mapping[str, Any]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RawGraph:
    """A graph as stored in the file; its nodes may be graphs."""

    nodes: Mapping[str, RawNode | RawGraph]
    edges: tuple[tuple[str, str], ...]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RawFile:
    """A NIR file as stored.

    Attributes:
        file_bytes: size of the file.
        sha256: digest of the file.
    """

    graph: RawGraph
    file_bytes: int
    sha256: str


def read_raw(path: str | os.PathLike[str], metadata_key: str) -> RawFile:
    """Read the graph of a NIR file without interpretation; metadata only under `metadata_key`.

    Raises:
        InputError: no such file, not HDF5, damaged, not NIR, or it breaks a limit or a rule;
            the message names the file and the position in it.
    """
    with reading(path, "NIR") as (file, content):
        budget = Budget(len(content))
        _check_version(file, budget)
        root = child(file, "node", budget)
        if not isinstance(root, h5py.Group):
            fail("contains no group 'node', so it is not a NIR file")
        graph = _graph_or_node(root, budget, metadata_key, 0)
    if isinstance(graph, RawNode):
        fail(f"{path}: contains a single {graph.type} node, must contain a NIRGraph")
    return RawFile(graph, len(content), sha256(content))


def _check_version(file: h5py.File, budget: Budget) -> None:
    """Files of 0.x and 1.x differ only in optional fields; older ones state no version."""
    item = child(file, "version", budget)
    version = None if item is None else load(item, budget)
    if version is not None and not (isinstance(version, str) and _VERSION.match(version)):
        FileVersionError.fail(f"NIR version is {quoted(version)}, this Spikeport reads 0.x and 1.x")


def _graph_or_node(group: h5py.Group, budget: Budget, key: str, depth: int) -> RawNode | RawGraph:
    where = group.name
    if depth > MAX_DEPTH:
        fail(f"'{where}': graphs are nested deeper than {MAX_DEPTH}")
    item = child(group, "type", budget)
    type_name = None if item is None else load(item, budget)
    if not isinstance(type_name, str):
        fail(f"'{where}' has no type; was the file written to its end?")
    metadata = _metadata(group, budget, key)
    if type_name == "NIRGraph":
        return RawGraph(
            _children(group, "nodes", budget, key, depth), _edges(group, budget), metadata
        )
    if type_name not in NODE_TYPES:
        fail(
            f"'{where}': type {quoted(type_name)} is not supported, must be one of "
            f"{', '.join(NODE_TYPES)}"
        )
    fields = {
        name: load(item, budget)
        for name, item in members(group, budget, lambda n: n not in ("type", "metadata"))
    }
    return RawNode(type_name, fields, metadata)


def _children(
    group: h5py.Group, name: str, budget: Budget, key: str, depth: int
) -> dict[str, RawNode | RawGraph]:
    nodes = child(group, name, budget)
    if not isinstance(nodes, h5py.Group):
        fail(f"'{group.name}' (NIRGraph): group '{name}' is missing")
    check_count(f"'{nodes.name}'", len(nodes), MAX_PARTS)
    found: dict[str, RawNode | RawGraph] = {}
    for node_name, node in members(nodes, budget):
        if not isinstance(node, h5py.Group):
            fail(f"'{node.name}': a node must be a group")
        found[node_name] = _graph_or_node(node, budget, key, depth + 1)
    return found


def _edges(group: h5py.Group, budget: Budget) -> tuple[tuple[str, str], ...]:
    item = child(group, "edges", budget)
    if item is None:
        fail(f"'{group.name}' (NIRGraph): 'edges' is missing")
    text = check_data(item, budget)
    if item.size == 0:
        return ()
    if not text or item.ndim != 2 or item.shape[1] != 2:
        fail(f"'{item.name}' has shape {item.shape} of {item.dtype}, must be N x 2 names")
    check_count(f"'{item.name}'", len(item), MAX_EDGES)
    # a few at a time: each entry may point to the same, very long text
    blocks = (item[row : row + 16] for row in range(0, len(item), 16))
    return tuple((_name(item.name, a), _name(item.name, b)) for rows in blocks for a, b in rows)


def _metadata(group: h5py.Group, budget: Budget, key: str) -> dict[str, Any]:
    """Our own entries only: strings, and one level of arrays."""
    item = child(group, "metadata", budget)
    if not isinstance(item, h5py.Group):
        return {}
    found: dict[str, Any] = {}
    for name, entry in members(item, budget, lambda n: n.startswith(key)):
        if isinstance(entry, h5py.Group):
            found[name] = {n: load(array, budget) for n, array in members(entry, budget)}
        else:
            found[name] = load(entry, budget)
    return found


def _name(where: str, value: Any) -> str:
    text = value.decode("utf-8") if isinstance(value, bytes) else value
    if not isinstance(text, str) or len(text) > MAX_NAME:
        fail(f"'{where}': {quoted(text)}: must be a name of at most {MAX_NAME} characters")
    return text
