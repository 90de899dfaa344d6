"""Write a graph in the form that one reader runs, and say what it makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np

from spikeport.errors import UnknownNameError, UnsupportedError
from spikeport.export.nir.fields import kind, make_node, node_values
from spikeport.export.nir.graph import DEFAULT_DT_S, CheckedGraph, Edge, check_graph
from spikeport.export.nir.readers.fidelity import Finding, NodeFidelity, Portability, approximate
from spikeport.export.nir.readers.reader import REMEDIES, Graph, Reader
from spikeport.export.nir.readers.rules import Case, Written
from spikeport.export.nir.readers.table import READERS
from spikeport.export.nir.readers.wiring import time_fields
from spikeport.export.nir.semantics import Semantics
from spikeport.network import Reset
from spikeport.storage import nearest
from spikeport.text import quoted

fail = UnsupportedError.fail

_SUBTRACT = "norse.torch.functional.reset.reset_subtract"


@dataclass(frozen=True, slots=True, eq=False)
class Adapted:
    """A graph as it is written for a reader.

    Attributes:
        nodes, edges: under the names of the file, edges in order.
        names: the name in the network of each node; nodes that were added have none.
        portability: what the reader makes of the network.
    """

    nodes: Mapping[str, Any]
    edges: tuple[Edge, ...]
    names: Mapping[str, str]
    portability: Portability


def find_reader(name: str) -> Reader:
    """The entry of a reader.

    Raises:
        InputError: there is none of that name.
    """
    if name not in READERS:
        known = ", ".join(READERS)
        UnknownNameError.fail(
            f"reader {quoted(name)}: must be one of {known}{nearest(str(name), READERS)}"
        )
    return READERS[name]


def judge(network: Graph, reader: str) -> Portability:
    """What `reader` makes of a float network that is written for it.

    Raises:
        InputError: there is no such reader.
    """
    return adapt(network, reader).portability


def adapt(network: Graph, name: str) -> Adapted:
    """Write the graph of a network for a reader.

    Nodes are rewritten so that the reader runs the same step, nodes are added where it would
    connect the graph otherwise, and names are changed that it cannot take.

    Raises:
        InputError: there is no such reader.
    """
    reader = find_reader(name)
    checked, semantics = network.checked, network.semantics
    dt_s = DEFAULT_DT_S if network.dt_s is None else network.dt_s
    file_dt_s = dt_s if reader.dt_s is None else reader.dt_s
    kinds = frozenset(kind(node) for node in checked.graph.nodes.values())
    theirs = reader.rules_for(kinds, semantics)
    written = {
        node_name: _written(
            reader, Case(node_name, node, checked, dt_s, semantics, file_dt_s, theirs)
        )
        for node_name, node in checked.graph.nodes.items()
    }
    nodes = {node_name: one.node for node_name, one in written.items()}
    edges, added = _split(checked, reader.wiring.splits(checked), nodes)
    wired_graph = check_graph({**nodes, **added}, edges, file_dt_s)
    wired = reader.wiring.connect(wired_graph, reader.version.rpartition(" ")[0])
    looped = _looped(wired_graph, semantics, theirs)
    findings = {
        node_name: (*one.findings, *wired.findings.get(node_name, ()), *looped.get(node_name, ()))
        for node_name, one in written.items()
    }
    names = _file_names(reader, wired_graph, wired.in_order)
    order = [one for one in checked.plan.order if one in written]
    reset = f", reset_method={_SUBTRACT}" if semantics.reset is Reset.SUBTRACT else ""
    facts = tuple(NodeFidelity(one, kind(checked.graph.nodes[one]), findings[one]) for one in order)
    load = reader.load.format(dt=f"{file_dt_s:g}", reset=reset)
    return Adapted(
        {names[one]: node for one, node in wired_graph.graph.nodes.items()},
        tuple((names[a], names[b]) for a, b in wired.edges),
        {names[one]: one for one in nodes},
        Portability(name, reader.version, load, facts),
    )


def _written(reader: Reader, case: Case) -> Written:
    rule = reader.rules.get(kind(case.node))
    other = replace(reader.other, remedy=REMEDIES.get(kind(case.node), ""))
    found = Written(case.node, (other,)) if rule is None else rule(case)
    ratio = case.file_dt_s / case.dt_s
    if found.node is not case.node or ratio == 1 or not (times := time_fields(kind(case.node))):
        return found
    values = node_values(case.node)
    for field in times:
        values[field] = (np.asarray(values[field]) * ratio).astype(values[field].dtype)
    return Written(make_node(case.name, kind(case.node), values), found.findings)


def _split(
    checked: CheckedGraph, wanted: Iterable[Edge], nodes: Mapping[str, Any]
) -> tuple[list[Edge], dict[str, Any]]:
    """Put a Flatten of one axis, which changes nothing, on some edges; one for each target."""
    edges = [(str(a), str(b)) for a, b in checked.graph.edges]
    added: dict[str, Any] = {}
    through: dict[str, str] = {}
    for source, target in wanted:
        if target not in through:
            through[target] = _unused(f"{target}_in", (*nodes, *added))
            added[through[target]] = nir.Flatten({"input": None}, -1, -1)
            edges.append((through[target], target))
        edges.remove((source, target))
        edges.append((source, through[target]))
    return edges, added


def _looped(
    checked: CheckedGraph, ours: Semantics, theirs: Semantics
) -> dict[str, tuple[Finding, ...]]:
    """What readers do otherwise with maps whose output returns in a later step."""
    found: dict[str, tuple[Finding, ...]] = {}
    for source, _ in sorted(checked.plan.feedback):
        bias = np.any(getattr(checked.graph.nodes[source], "bias", 0))
        if ours.loop_delay != theirs.loop_delay:
            cause = f"a loop takes {theirs.loop_delay} step there, here {ours.loop_delay}"
            found[source] = (approximate(cause, f"loop_delay={theirs.loop_delay}"),)
        elif bias and ours.loop_bias is not theirs.loop_bias:
            cause = "its bias does not act there before the loop delivers first"
            found[source] = (approximate(cause, "loop_bias=false, or no bias"),)
    return found


def _file_names(reader: Reader, checked: CheckedGraph, in_order: bool) -> dict[str, str]:
    """The name in the file of each node: its own, unless the reader needs another."""
    digits = len(str(len(checked.plan.order)))
    wanted: dict[str, str] = {}
    for index, name in enumerate(checked.plan.order):
        end = reader.ends.get(kind(checked.graph.nodes[name]))
        if end is not None:
            wanted[name] = end
        elif in_order:
            wanted[name] = f"n{index:0{digits}}_{name}"[:56]
        elif name in reader.wiring.reserved | set(reader.ends.values()) or name.startswith("_"):
            wanted[name] = f"node_{name.lstrip('_')}"[:56]
        else:
            wanted[name] = name
    made: dict[str, str] = {}
    required = [*reader.ends.values(), *(name for name, own in wanted.items() if name == own)]
    for name in sorted(wanted, key=lambda one: wanted[one] not in required):
        made[name] = _unused(wanted[name], made.values())
    return made


def _unused(name: str, taken: Iterable[str]) -> str:
    while name in taken:
        name += "_"
    return name
