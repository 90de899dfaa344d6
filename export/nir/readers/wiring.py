"""How readers connect the nodes of a graph, and in what form a file suits them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import nir

from spikeport.export.nir.fields import NODE_TYPES, kind
from spikeport.export.nir.graph import CheckedGraph, Edge
from spikeport.export.nir.readers.fidelity import Finding, unsupported
from spikeport.export.nir.readers.walks import (
    depth_first,
    depth_first_edges,
    first_come,
    late_edges,
)

_TAKEN = """
    T_destination add_module add_submodule apply bfloat16 buffers call_super_init children
    clear code compile cpu cuda delete_all_unused_submodules delete_submodule double
    dump_patches eval execution_order extra_repr float forward get_buffer
    get_execution_order get_extra_state get_input_nodes get_parameter get_submodule graph
    half initialized_state instantiate_modules ipu is_none items keys load_state_dict meta
    modules mtia named_buffers named_children named_modules named_parameters parameters pop
    print_readable recompile register_backward_hook register_buffer register_forward_hook
    register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook
    requires_grad_ return_state set_extra_state set_submodule shape_env share_memory
    state_dict stateful_modules to to_empty to_folder train training type update values xpu
    zero_grad
"""
RESERVED = frozenset(_TAKEN.split())
"""Names that modules of torch 2.13 and nirtorch 2.6 have themselves; no node may have them."""


@dataclass(frozen=True, slots=True)
class Wired:
    """A graph as a reader connects it.

    Attributes:
        edges: in the order that suits it.
        findings: per node, what it would connect otherwise.
        in_order: the names of nodes must sort in the order in which they compute.
    """

    edges: tuple[Edge, ...]
    findings: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    in_order: bool = False


@dataclass(frozen=True, slots=True)
class Wiring:
    """How a reader connects nodes.

    Attributes:
        connect: the order of edges, and what is connected otherwise.
        splits: edges on which a node that changes nothing is needed.
        reserved: names that no node may have.
    """

    connect: Callable[[CheckedGraph, str], Wired]
    splits: Callable[[CheckedGraph], tuple[Edge, ...]] = lambda checked: ()
    reserved: frozenset[str] = frozenset()


def _single_ends(checked: CheckedGraph, reader: str) -> Iterator[tuple[str, Finding]]:
    for what, ends in (("Input", checked.graph.inputs), ("Output", checked.graph.outputs)):
        if len(ends) > 1:
            cause = f"{reader} runs graphs with one {what}, this one has {len(ends)}"
            for name in sorted(ends):
                yield name, unsupported(cause, "a file for each")


def _grouped(found: Iterator[tuple[str, Finding]]) -> dict[str, tuple[Finding, ...]]:
    made: dict[str, tuple[Finding, ...]] = {}
    for name, finding in found:
        made[name] = (*made.get(name, ()), finding)
    return made


def by_depth(checked: CheckedGraph, reader: str) -> Wired:
    """nirtorch's `GraphExecutor`, run step by step."""
    edges = depth_first_edges(checked)

    def findings() -> Iterator[tuple[str, Finding]]:
        yield from _single_ends(checked, reader)
        order = depth_first(edges, min(checked.graph.inputs))
        late = late_edges(order, edges)
        for source, target in sorted(late ^ checked.plan.feedback):
            when = "a step late" if (source, target) in late else "in the same step"
            cause = f"{reader} walks depth first, and would deliver '{source}' to it {when}"
            yield target, unsupported(cause, "join branches by one map of both")
        if kind(checked.graph.nodes[order[-1]]) != "Output":
            cause = f"{reader} returns what '{order[-1]}' sends"
            yield order[-1], unsupported(cause)

    return Wired(edges, _grouped(findings()))


def by_depth_in_one_call(checked: CheckedGraph, reader: str) -> Wired:
    """nirtorch's `GraphExecutor` with modules that take all steps of a sample at once."""
    wired = by_depth(checked, reader)

    def findings() -> Iterator[tuple[str, Finding]]:
        for name, each in wired.findings.items():
            yield from ((name, one) for one in each)
        cause = f"{reader} runs all steps of a layer before the next, so that no loop delivers"
        for source, _ in sorted(checked.plan.feedback):
            yield source, unsupported(cause, "a network without recurrence")

    return Wired(wired.edges, _grouped(findings()))


def by_name(checked: CheckedGraph, reader: str) -> Wired:
    """nirtorch's `nir_to_torch`."""
    graph = checked.graph
    kinds = {name: kind(node) for name, node in graph.nodes.items()}
    found = _grouped(_single_ends(checked, reader))
    edges = depth_first_edges(checked)
    in_order = not found and first_come(kinds, edges) != checked.plan.feedback
    return Wired(edges, found, in_order)


def summed_outputs(checked: CheckedGraph) -> tuple[Edge, ...]:
    """Edges into Outputs of several sources, which `nir_to_torch` returns one by one."""
    graph = checked.graph
    return tuple(
        (source, name)
        for name in sorted(graph.outputs)
        if len(checked.sources[name]) > 1
        for source in checked.sources[name]
    )


def dense_loops(checked: CheckedGraph) -> tuple[Edge, ...]:
    """Edges from a neuron to a dense map that leads back to it and nowhere else.

    snnTorch takes such a pair out of the graph, and then cannot read what it puts there instead
    (import_nir.py `_replace_rnn_subgraph_with_nirgraph`); a node between them hides it.
    """
    nodes, edges = checked.graph.nodes, {(str(a), str(b)) for a, b in checked.graph.edges}
    return tuple(
        (a, b)
        for a, b in sorted(edges)
        if (b, a) in edges
        and isinstance(nodes[a], nir.LIF | nir.CubaLIF | nir.IF)
        and isinstance(nodes[b], nir.Affine | nir.Linear)
    )


def as_a_chain(checked: CheckedGraph, reader: str) -> Wired:
    """Spyx follows the first edge of each node, from the Input on."""
    follow: dict[str, list[str]] = {}
    for source, target in checked.graph.edges:
        follow.setdefault(source, []).append(target)

    def findings() -> Iterator[tuple[str, Finding]]:
        yield from _single_ends(checked, reader)
        for name, targets in follow.items():
            if len(targets) > 1:
                cause = f"{reader} runs a chain, and follows one of its {len(targets)} edges"
                yield name, unsupported(cause, "a network without branches and loops")
        for name, sources in checked.sources.items():
            if len(sources) > 1:
                cause = f"{reader} runs a chain, and does not sum its {len(sources)} inputs"
                yield name, unsupported(cause, "a network without branches and loops")

    return Wired(tuple(sorted(checked.graph.edges)), _grouped(findings()))


def as_a_graph(checked: CheckedGraph, reader: str) -> Wired:
    """All edges as NIR means them."""
    return Wired(depth_first_edges(checked))


def time_fields(type_name: str) -> tuple[str, ...]:
    """The fields of a type of node that are times."""
    fields = NODE_TYPES[type_name].fields
    return tuple(name for name in fields if name.startswith("tau") or name == "delay")
