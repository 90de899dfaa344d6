"""Convert nested NIR graphs to one flat graph with safe names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from spikeport.checks import is_name
from spikeport.errors import FileFormatError, GraphError
from spikeport.export.nir.fields import Shape, make_node
from spikeport.export.nir.graph import Edge
from spikeport.export.nir.hdf5 import RawGraph, RawNode
from spikeport.storage import check_count
from spikeport.storage.limits import MAX_EDGES, MAX_PARTS

fail = GraphError.fail


@dataclass(slots=True)
class FlatGraph:
    """Nodes and edges under safe names, and the declarations of nested Input and Output nodes.

    Attributes:
        ports: (what, its declared shape, the nodes whose output passes through it).
    """

    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    ports: list[tuple[str, Shape, tuple[str, ...]]] = field(default_factory=list)

    def check_ports(self, shapes: Mapping[str, Shape]) -> None:
        """Check the shapes declared by nested Input and Output nodes."""
        for what, declared, sources in self.ports:
            for source in sources:
                if declared and shapes[source] != declared:
                    fail(f"{what} declares shape {declared}, received {shapes[source]}")


def flatten(raw: RawGraph) -> FlatGraph:
    """Inline subgraphs: `sub.lif` becomes node `sub_lif`; their Input and Output nodes are removed.

    Names keep letters, digits and "_", everything else becomes "_": importers write names into
    generated code, and Spikeport's own networks allow no others.

    Raises:
        InputError: an edge names a missing node, or a subgraph lacks a unique Input or Output.
    """
    nodes: dict[str, RawNode] = {}
    edges: list[Edge] = []
    _collect(raw, "", nodes, edges)
    check_count("graph: nodes", len(nodes), MAX_PARTS)
    ports = [name for name, node in nodes.items() if "." in name and _is_port(name, node, raw)]
    flat = FlatGraph()
    passing: list[tuple[str, Shape, tuple[str, ...]]] = []
    into: dict[str, list[str]] = {name: [] for name in nodes}
    out: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in edges:
        out[a].append(b)
        into[b].append(a)
    total = len(edges)
    for port in ports:
        sources, targets = into[port], out[port]
        if port in sources or not sources or not targets:
            fail(f"node '{port}' (subgraph port) needs an edge on both sides")
        declared = make_node(port, nodes[port].type, nodes[port].fields)
        size = declared.input_type["input"]
        shape = () if size is None else tuple(int(n) for n in size)
        passing.append((f"node '{port}' ({nodes[port].type})", shape, tuple(sources)))
        total += len(sources) * len(targets) - len(sources) - len(targets)
        check_count("graph: edges", total, MAX_EDGES)
        for a in sources:
            out[a] = [name for name in out[a] if name != port] + targets
        for b in targets:
            into[b] = [name for name in into[b] if name != port] + sources
        del nodes[port]
    names = safe_names(nodes)
    flat.nodes = {names[name]: _made(names[name], node) for name, node in nodes.items()}
    flat.edges = [(names[a], names[b]) for a in nodes for b in out[a]]
    flat.ports = [(w, s, tuple(names[n] for n in x if n in names)) for w, s, x in passing]
    return flat


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """A unique safe name for each name; safe names are unchanged."""
    given = sorted(names, key=lambda name: (not is_name(name), name))
    made: dict[str, str] = {}
    taken: set[str] = set()
    counts: Counter[str] = Counter()
    for name in given:
        stem = re.sub(r"[^A-Za-z0-9_]", "_", name)
        stem = stem if stem[:1].isalpha() or stem[:1] == "_" else f"node_{stem}"
        safe = stem[:64]
        while safe in taken:
            counts[stem[:56]] += 1
            safe = f"{stem[:56]}_{counts[stem[:56]] + 1}"
        made[name] = safe
        taken.add(safe)
    return made


def _collect(graph: RawGraph, prefix: str, nodes: dict[str, RawNode], edges: list[Edge]) -> None:
    inner: dict[str, RawGraph] = {}
    for name, node in graph.nodes.items():
        path = f"{prefix}{name}"
        if path in nodes:
            fail(f"node '{path}' is defined twice")
        if isinstance(node, RawGraph):
            inner[name] = node
            _collect(node, f"{path}.", nodes, edges)
        else:
            nodes[path] = node
    ports: dict[tuple[str, str], str] = {}

    def port(name: str, kind: str) -> str:
        if name in inner and (name, kind) not in ports:
            ports[name, kind] = _port(name, inner[name], kind)
        return ports.get((name, kind), name)

    where = f"subgraph '{prefix[:-1]}': " if prefix else ""
    for edge in graph.edges:
        for name in edge:
            if name not in graph.nodes:
                fail(f"{where}edge {edge}: node '{name}' does not exist")
        source, target = edge
        edges.append((f"{prefix}{port(source, 'Output')}", f"{prefix}{port(target, 'Input')}"))


def _port(name: str, graph: RawGraph, kind: str) -> str:
    found = [
        n for n, node in graph.nodes.items() if isinstance(node, RawNode) and node.type == kind
    ]
    if len(found) != 1:
        fail(f"subgraph '{name}' has {len(found)} {kind} nodes, must have one")
    return f"{name}.{found[0]}"


def _is_port(name: str, node: RawNode, raw: RawGraph) -> bool:
    return node.type in ("Input", "Output") and name not in raw.nodes


def _made(name: str, raw: RawNode) -> Any:
    node = make_node(name, raw.type, raw.fields)
    if not isinstance(raw.metadata, Mapping):
        raise FileFormatError(f"node '{name}': metadata is damaged")
    node.metadata = dict(raw.metadata)
    return node
