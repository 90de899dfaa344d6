"""The network's own graph, kept in the metadata of a file that is written for a reader.

Reading gives back the graph that was written, exactly. A digest of the graph in the file shows
whether another tool has changed it since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import nir
import numpy as np

from spikeport.checks import is_name
from spikeport.errors import FileFormatError, UnsupportedError
from spikeport.export.nir.fields import kind, make_node
from spikeport.export.nir.flatten import FlatGraph
from spikeport.export.nir.graph import CheckedGraph, Edge
from spikeport.export.nir.portable import from_the_end
from spikeport.export.nir.readers.rules import fields_of
from spikeport.storage.canonical import digest
from spikeport.text import quoted

fail = UnsupportedError.fail

ARRAYS_OF_ORIGINAL = "spikeport_original"
Arrays = dict[str, Any]


def own_form(
    original: CheckedGraph,
    names: Mapping[str, str],
    nodes: Mapping[str, Any],
    edges: Iterable[Edge],
) -> tuple[dict[str, Any], Arrays]:
    """JSON data and arrays from which `undo` makes the original graph.

    Args:
        names: the name in `original` of each node of the file that has one.
        nodes, edges: those of the checked graph that the file contains.
    """
    arrays: Arrays = {}
    changed = {}
    for name, own in names.items():
        node = original.graph.nodes[own]
        if not _equal(node, nodes[name]):
            changed[own] = {"type": kind(node), **_plain(own, fields_of(node), arrays)}
    data = {
        "names": dict(names),
        "nodes": changed,
        "edges": sorted([str(a), str(b)] for a, b in original.graph.edges),
        "sha256": digest_of(
            {n: from_the_end(x) if isinstance(x, nir.Flatten) else x for n, x in nodes.items()},
            edges,
        ),
    }
    return data, arrays


def undo(data: Any, arrays: Mapping[str, Any], flat: FlatGraph) -> FlatGraph:
    """The original graph of a file.

    Raises:
        InputError: the description is damaged, or the graph was changed after writing.
    """
    try:
        if digest_of(flat.nodes, flat.edges) != data["sha256"]:
            fail(
                "the graph was changed after it was written for another reader, so its own form in "
                "the metadata is stale; remove metadata 'spikeport' to read the graph as it is"
            )
        nodes = {own: flat.nodes[name] for name, own in data["names"].items()}
        if odd := [own for own in nodes if not is_name(own)] or [*data["nodes"].keys() - nodes]:
            raise ValueError(f"name {quoted(odd[0])}")
        for own, stated in data["nodes"].items():
            fields = {n: _read(v, arrays) for n, v in stated.items() if n != "type"}
            nodes[own] = make_node(own, stated["type"], fields)
        return FlatGraph(nodes, [(str(a), str(b)) for a, b in data["edges"]])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"metadata 'spikeport' is damaged: original, {error!r}") from error


def digest_of(nodes: Mapping[str, Any], edges: Iterable[Edge]) -> str:
    """SHA-256 of a graph; independent of the order of its nodes and edges."""
    arrays: Arrays = {}
    data = {}
    for name, node in nodes.items():
        made = make_node(name, kind(node), fields_of(node))
        data[name] = {"type": kind(made), **_plain(name, fields_of(made), arrays)}
    return digest({"nodes": data, "edges": sorted([str(a), str(b)] for a, b in edges)}, arrays)


def _plain(name: str, fields: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    """Fields as JSON; arrays go to `arrays`, and stand there as their key."""
    found: dict[str, Any] = {}
    for field, value in fields.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            arrays[f"{name}.{field}"] = value
            found[field] = {"array": f"{name}.{field}"}
        elif isinstance(value, str) or value is None:
            found[field] = value
        else:
            found[field] = np.asarray(value).tolist()
    return found


def _read(value: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return np.asarray(arrays[value["array"]])
    return np.asarray(value) if isinstance(value, list) else value


def _equal(one: Any, other: Any) -> bool:
    if kind(one) != kind(other):
        return False
    values = fields_of(other)
    for field, value in fields_of(one).items():
        a, b = np.asarray(value), np.asarray(values[field])
        if a.dtype != b.dtype or not np.array_equal(a, b):
            return False
    return True
