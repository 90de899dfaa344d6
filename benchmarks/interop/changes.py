"""What frameworks do with our graphs, as changes of the graph: under them nothing may differ."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np

from spikeport import FloatNetwork
from spikeport.export.nir import parse_rules, preset


def changed(network: FloatNetwork, texts: Iterable[str]) -> FloatNetwork:
    """The network under other rules (`--semantics`), `dt=SECONDS`, or with a change below."""
    rules: list[str] = []
    for text in texts:
        if text in CHANGES:
            network = CHANGES[text](network)
        elif text.startswith("dt="):
            network = replace(network, dt_s=float(text.removeprefix("dt=")))
        else:
            rules.append(text)
    name, given = parse_rules("rules", rules)
    kinds = {type(node).__name__ for node in network.graph.nodes.values()}
    semantics = network.semantics if name is None else preset(name, kinds)
    return replace(network, semantics=semantics.changed(**given))


def _input_into_loop(network: FloatNetwork) -> FloatNetwork:
    """What a recurrent neuron receives goes into its recurrent map instead."""
    return _redirected(network, _loops(network))


def _input_out_of_loop(network: FloatNetwork) -> FloatNetwork:
    """What a recurrent map receives from elsewhere goes into its neurons instead."""
    return _redirected(network, {back: neuron for neuron, back in _loops(network).items()})


def _redirected(network: FloatNetwork, instead: Mapping[str, str]) -> FloatNetwork:
    edges = [
        (a, instead[b]) if b in instead and a != instead[b] else (a, b)
        for a, b in network.graph.edges
    ]
    return _with(network, network.graph.nodes, edges)


def _loops(network: FloatNetwork) -> dict[str, str]:
    """Recurrent neurons and their maps."""
    graph = network.graph
    return {
        a: b
        for a, b in graph.edges
        if (b, a) in graph.edges and isinstance(graph.nodes[b], nir.Affine | nir.Linear)
    }


def _filter_gain(network: FloatNetwork) -> FloatNetwork:
    """CubaLIF has w_in = tau_syn / dt."""
    nodes = {name: copy.copy(node) for name, node in network.graph.nodes.items()}
    for node in nodes.values():
        if isinstance(node, nir.CubaLIF):
            node.w_in = node.tau_syn / network.dt_s
    return _with(network, nodes, network.graph.edges)


def _no_loop_bias(network: FloatNetwork) -> FloatNetwork:
    """Recurrent maps have no bias."""
    nodes = dict(network.graph.nodes)
    for back in _loops(network).values():
        nodes[back] = nir.Linear(nodes[back].weight)
    return _with(network, nodes, network.graph.edges)


def _one_path(network: FloatNetwork) -> FloatNetwork:
    """Every node sends along its first edge only, in the order of the file."""
    (name,) = (name for name, node in network.graph.nodes.items() if isinstance(node, nir.Input))
    firsts = dict(sorted(network.graph.edges, reverse=True))
    edges = []
    while name in firsts:
        edges.append((name, firsts[name]))
        name = firsts[name]
    kept = {name for edge in edges for name in edge}
    return _with(network, {n: x for n, x in network.graph.nodes.items() if n in kept}, edges)


def _channels_last(network: FloatNetwork) -> FloatNetwork:
    """Flatten puts channels last, and the weights behind it stay as they are."""
    nodes = dict(network.graph.nodes)
    for name, node in network.graph.nodes.items():
        if isinstance(node, nir.Flatten):
            shape = network.checked.shapes[network.checked.sources[name][0]]
            order = np.moveaxis(np.arange(int(np.prod(shape))).reshape(shape), 0, -1).ravel()
            back = np.argsort(order)
            for reader in [b for a, b in network.graph.edges if a == name]:
                nodes[reader] = _permuted(nodes[reader], back)
    return _with(network, nodes, network.graph.edges)


def _permuted(node: Any, columns: Any) -> Any:
    """Column i of the weights reads position columns[i] of a map whose channels come last."""
    weight = node.weight[:, columns]
    return nir.Affine(weight, node.bias) if isinstance(node, nir.Affine) else nir.Linear(weight)


def _with(network: FloatNetwork, nodes: Any, edges: Any) -> FloatNetwork:
    return replace(network, graph=nir.NIRGraph(dict(nodes), list(edges), type_check=False))


CHANGES: Mapping[str, Callable[[FloatNetwork], FloatNetwork]] = {
    "input into loop": _input_into_loop,
    "input out of loop": _input_out_of_loop,
    "w_in of tau_syn": _filter_gain,
    "no loop bias": _no_loop_bias,
    "one path": _one_path,
    "channels last": _channels_last,
}
