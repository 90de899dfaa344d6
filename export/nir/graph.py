"""Flat graphs of NIR nodes: checks, order of computation, shapes, equality."""

from __future__ import annotations

import logging
import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.checks import MAX_STEPS
from spikeport.errors import GraphError
from spikeport.export.nir.fields import (
    NODE_TYPES,
    SPIKING,
    Shape,
    kind,
    label,
    make_node,
    node_values,
)
from spikeport.export.nir.shapes import input_shape, output_shape, parameter_shape, shared
from spikeport.network import Input
from spikeport.storage import check_elements

fail = GraphError.fail

_log = logging.getLogger(__name__)

Edge = tuple[str, str]
DEFAULT_DT_S = 1e-4
"""snnTorch 1.0.0 imports NIR with this fixed time step; the others only depend on dt / tau."""


@dataclass(frozen=True, slots=True)
class ComputeOrder:
    """The order in which nodes compute.

    Attributes:
        order: every node once; each delay-free edge points forward.
        feedback: edges that close a cycle and therefore deliver the output of an earlier step:
            the back edges of a depth-first search from the Input nodes in order of name.
        delays: nodes whose output of a step does not depend on their input of that step, which
            break cycles without feedback edges: Delay nodes of at least one step, and neurons
            with late spikes.
    """

    order: tuple[str, ...]
    feedback: frozenset[Edge]
    delays: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class CheckedGraph:
    """A flat graph that satisfies all rules, with the results of checking it.

    Attributes:
        graph: all shapes are filled in, all arrays read-only.
        plan: the order in which its nodes compute.
        sources: the source nodes of each node, sorted by name.
        shapes: of the output of each node, without a batch axis.
    """

    graph: nir.NIRGraph
    dt_s: float | None
    late_spikes: bool
    plan: ComputeOrder
    sources: Mapping[str, tuple[str, ...]]
    shapes: Mapping[str, Shape]
    _contents: tuple[Any, ...]

    def holds(self, graph: nir.NIRGraph, dt_s: float | None, late_spikes: bool) -> bool:
        """Whether this is the result of checking `graph` like that, with nothing replaced since.

        Arrays are not compared, because their values cannot have changed.
        """
        if graph is not self.graph or (dt_s, late_spikes) != (self.dt_s, self.late_spikes):
            return False
        now = _contents(graph)
        return len(now) == len(self._contents) and all(map(operator.is_, now, self._contents))


def compute_order(
    graph: nir.NIRGraph, dt_s: float | None, *, late_spikes: bool = False
) -> ComputeOrder:
    """Sort a flat graph topologically.

    Args:
        late_spikes: as in `Semantics`.

    Raises:
        InputError: an edge names a missing node or occurs twice, or a node has a loose end.
    """
    edges = check_edges(graph)
    delays = frozenset(
        name
        for name, node in graph.nodes.items()
        if (isinstance(node, nir.Delay) and delay_steps(node, dt_s).min() >= 1)
        or (late_spikes and NODE_TYPES[kind(node)].membrane and kind(node) in SPIKING)
    )
    follow: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in sorted(edges, reverse=True):
        if target not in delays:
            follow[source].append(target)
    roots = [*sorted(graph.inputs), *sorted(delays)]
    done: list[str] = []
    feedback: set[Edge] = set()
    open_nodes: set[str] = set()
    seen: set[str] = set()
    for root in roots:
        stack = [root]
        while stack:
            name = stack[-1]
            if name not in seen:
                seen.add(name)
                open_nodes.add(name)
            if follow[name]:
                target = follow[name].pop()
                if target in open_nodes:
                    feedback.add((name, target))
                elif target not in seen:
                    stack.append(target)
                continue
            stack.pop()
            open_nodes.discard(name)
            done.append(name)
    for name in graph.nodes:
        if name not in seen:
            fail(f"{label(name, graph.nodes[name])} is not reached from any Input: missing edge")
    return ComputeOrder(tuple(reversed(done)), frozenset(feedback), delays)


def check_edges(graph: nir.NIRGraph) -> list[Edge]:
    """Edges as pairs of known names, each once, leaving no end loose."""
    edges = [(str(source), str(target)) for source, target in graph.edges]
    for edge in edges:
        for name in edge:
            if name not in graph.nodes:
                fail(f"edge {edge}: node '{name}' does not exist")
    for edge, count in Counter(edges).items():
        if count > 1:
            fail(f"edge {edge} is given {count} times, must be given once")
    for what in ("Input", "Output"):
        if not any(kind(node) == what for node in graph.nodes.values()):
            fail(f"graph: has no {what} node, needs at least one")
    sources, targets = {edge[0] for edge in edges}, {edge[1] for edge in edges}
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.Output) and name not in sources:
            fail(f"{label(name, node)} has no outgoing edge, only an Output may end the graph")
        if not isinstance(node, nir.Input) and name not in targets:
            fail(f"{label(name, node)} has no incoming edge, only an Input may begin the graph")
        if isinstance(node, nir.Input) and name in targets:
            fail(f"{label(name, node)} has an incoming edge, must begin the graph")
    return edges


def check_inputs(graph: nir.NIRGraph, inputs: Sequence[Input]) -> None:
    """Check that each Input node of a checked graph has its `Input`, of the same shape."""
    declared = {part.name: part.shape for part in inputs}
    drawn = {
        name: tuple(int(n) for n in node.input_type["input"]) for name, node in graph.inputs.items()
    }
    if declared != drawn:
        fail(f"inputs: the graph has {drawn}, but {declared} were given")


def sources_of(graph: nir.NIRGraph) -> dict[str, tuple[str, ...]]:
    """Names of the source nodes of each node, in order."""
    found: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        found[target].append(source)
    return {name: tuple(sorted(sources)) for name, sources in found.items()}


def delay_steps(node: nir.Delay, dt_s: float | None) -> NDArray[np.int64]:
    """Number of whole steps per neuron: round(delay / dt), or at least 1 while dt is not known.

    Raises:
        InputError: a delay exceeds MAX_STEPS.
    """
    if dt_s is None:
        return (np.asarray(node.delay) > 0).astype(np.int64)
    steps = np.rint(np.asarray(node.delay, np.float64) / dt_s)
    if steps.max(initial=0) > MAX_STEPS:
        fail(f"delay is {steps.max():.4g} steps of {dt_s:g} s, the limit is {MAX_STEPS}")
    return steps.astype(np.int64)


def check_graph(
    nodes: Mapping[str, Any],
    edges: Iterable[Edge],
    dt_s: float | None,
    file_bytes: int | None = None,
    *,
    late_spikes: bool = False,
) -> CheckedGraph:
    """Build a checked flat graph with all shapes filled in; nodes are copied, edges sorted.

    Args:
        dt_s: None if it is not known yet.
        late_spikes: as in `Semantics`; it decides the order in which the nodes compute.
        file_bytes: size of the file that the graph was read from. A file may store one number for
            a whole layer of neurons; `limits.check_elements` bounds its expansion.

    Raises:
        InputError: a node, an edge or a shape breaks a rule.
    """
    fresh = {name: make_node(name, kind(node), node_values(node)) for name, node in nodes.items()}
    draft = nir.NIRGraph(fresh, sorted(edges), type_check=False)
    plan, sources = compute_order(draft, dt_s), sources_of(draft)
    shapes = _infer_shapes(draft, plan, sources)
    if file_bytes is not None:
        check_elements("graph", sum(prod(shape) for shape in shapes.values()), file_bytes)
    for name, node in fresh.items():
        given = shapes[sources[name][0]] if sources[name] else None
        _fill(name, fresh, node, given, shapes[name])
    graph = nir.NIRGraph(fresh, draft.edges, type_check=False)
    if late_spikes:
        plan = compute_order(graph, dt_s, late_spikes=True)
    contents = _contents(graph)
    for value in contents:
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return CheckedGraph(graph, dt_s, late_spikes, plan, sources, shapes, contents)


def _contents(graph: nir.NIRGraph) -> tuple[Any, ...]:
    """All names, nodes, fields and edges; the same objects if nothing was replaced."""
    found: list[Any] = []
    for name, node in graph.nodes.items():
        found += (name, node, *node_values(node).values())
    for edge in graph.edges:
        found += edge
    return tuple(found)


def _infer_shapes(
    graph: nir.NIRGraph, plan: ComputeOrder, sources: Mapping[str, tuple[str, ...]]
) -> dict[str, Shape]:
    """Output shape of every node.

    Raises:
        InputError: shapes do not match; the message names the node.
    """
    follow: dict[str, list[Any]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        follow[source].append(graph.nodes[target])
    shapes: dict[str, Shape] = {}
    for name in plan.order:
        node = graph.nodes[name]
        if name in plan.delays:
            shapes[name] = tuple(node.delay.shape)
            continue
        if isinstance(node, nir.Input):
            shapes[name] = input_shape(name, node, follow[name])
            continue
        known = [s for s in sources[name] if (s, name) not in plan.feedback]
        shapes[name] = output_shape(name, node, _common(name, node, known, shapes))
    for name, fed_by in sources.items():
        if fed_by:
            node, shape = graph.nodes[name], _common(name, graph.nodes[name], fed_by, shapes)
            if name in plan.delays and shape != shapes[name]:
                fail(f"{label(name, node)}: expects shape {shapes[name]}, received {shape}")
            output_shape(name, node, shape)
    return shapes


def difference(first: nir.NIRGraph, second: nir.NIRGraph) -> str | None:
    """The first difference between two flat graphs, None if they are equal.

    Types, fields, data types and edges are compared; the order of nodes and edges and metadata are
    not.
    """
    for name in sorted({*first.nodes, *second.nodes}):
        if name not in first.nodes or name not in second.nodes:
            return f"node '{name}' is only in one of them"
        one, two = first.nodes[name], second.nodes[name]
        if kind(one) != kind(two):
            return f"node '{name}' is {kind(one)} in one and {kind(two)} in the other"
        values = node_values(two)
        for field, value in node_values(one).items():
            a, b = np.asarray(value), np.asarray(values[field])
            if a.dtype != b.dtype or not np.array_equal(a, b):
                return f"{label(name, one)}: field '{field}' differs"
    if set(map(tuple, first.edges)) != set(map(tuple, second.edges)):
        odd = sorted(set(map(tuple, first.edges)) ^ set(map(tuple, second.edges)))[0]
        return f"edge {odd} is only in one of them"
    return None


def _fill(name: str, nodes: dict[str, Any], node: Any, given: Shape | None, made: Shape) -> None:
    """Store the inferred shapes in the fields that NIR has for them."""
    if NODE_TYPES[kind(node)].elementwise and shared(own := parameter_shape(node), made):
        if own:
            _log.warning(
                "%s: its parameters have shape %s; its %s neurons share them",
                label(name, node), own, made,
            )  # fmt: skip
        full = {f: np.array(np.broadcast_to(v, made)) for f, v in node_values(node).items()}
        node = nodes[name] = make_node(name, kind(node), full)
    if isinstance(node, nir.Flatten) and given is not None:
        node.start_dim, node.end_dim = node.start_dim % len(given), node.end_dim % len(given)
        node.end_dim = -1 if node.end_dim == len(given) - 1 else node.end_dim
    if isinstance(node, nir.Conv1d | nir.Conv2d) and given is not None:
        node.input_shape = given[1] if isinstance(node, nir.Conv1d) else given[1:]
    if given is not None:
        node.input_type = {"input": np.array(given)}
    elif isinstance(node, nir.Input):
        node.input_type = {"input": np.array(made)}
    node.output_type = {"output": np.array(made)}


def _common(
    name: str, node: Any, sources: Iterable[str], shapes: Mapping[str, Shape]
) -> Shape | None:
    given = {source: shapes[source] for source in sources}
    if len(set(given.values())) > 1:
        fail(f"{label(name, node)}: its inputs differ in shape and cannot be summed: {given}")
    return next(iter(given.values()), None)
