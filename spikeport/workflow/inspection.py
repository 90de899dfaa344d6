"""The main facts about a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spikeport.errors import InputError
from spikeport.network import DeployedNetwork, Input, Readout

if TYPE_CHECKING:
    from spikeport.export.nir import FloatContents, FloatNetwork
    from spikeport.export.nir.readers import Portability


@dataclass(frozen=True, slots=True)
class DeployedFacts:
    """Facts of a deployed network.

    Attributes:
        steps: T.
        weights_stored: over all connections, counting kernels once.
    """

    content_hash: str
    steps: int
    neurons: int
    weights_stored: int
    inputs: tuple[Input, ...]
    readouts: tuple[Readout, ...]
    provenance: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """One line of text or one number per fact."""
        return {
            "kind": "chip integers (deployed)",
            "content_hash": self.content_hash,
            "steps": self.steps,
            "neurons": self.neurons,
            "weights_stored": self.weights_stored,
            "inputs": _inputs(self.inputs),
            "readouts": ", ".join(f"{r.population} ({r.kind})" for r in self.readouts),
            **{f"provenance: {key}": value for key, value in self.provenance.items()},
        }


@dataclass(frozen=True, slots=True)
class FloatFacts:
    """Facts of a float network.

    Attributes:
        steps, dt_s: T and the time step, None if neither the file nor an argument states it.
        semantics: the rules of a step by name, see `Semantics`.
        inputs_assumed: they are not declared in the file.
        nodes: NIR's type by name.
        edges: (source, target), sorted.
        provenance: of a file of another tool, what was stated and what was assumed.
        rewrites: what became of the layers of the network that the graph was made from.
    """

    steps: int | None
    dt_s: float | None
    semantics: Mapping[str, str | bool | int]
    inputs: tuple[Input, ...]
    inputs_assumed: bool
    nodes: Mapping[str, str]
    edges: tuple[tuple[str, str], ...]
    provenance: Mapping[str, str]
    rewrites: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """One line of text or one number per fact."""
        assumed = " (assumed, not stated in the file)" if self.inputs_assumed else ""
        rules = {name: rule for name, rule in self.semantics.items() if name != "strict"}
        rewritten = {"rewritten": "; ".join(self.rewrites)} if self.rewrites else {}
        return {
            "kind": "NIR graph (float)",
            "steps": self.steps,
            "dt_s": self.dt_s,
            **rules,
            "comparison": ">" if self.semantics["strict"] else ">=",
            "inputs": _inputs(self.inputs) + assumed,
            "nodes": ", ".join(f"{name}:{kind}" for name, kind in self.nodes.items()),
            "edges": ", ".join(f"{a}->{b}" for a, b in self.edges),
            **{f"provenance: {key}": value for key, value in self.provenance.items()},
            **rewritten,
        }


def inspect_network(
    network: DeployedNetwork | FloatNetwork | FloatContents,
) -> DeployedFacts | FloatFacts:
    """The facts about a network, as shown by `spikeport inspect`."""
    if isinstance(network, DeployedNetwork):
        return DeployedFacts(
            content_hash=network.content_hash,
            steps=network.steps,
            neurons=sum(part.size for part in network.populations),
            weights_stored=sum(part.weight.size for part in network.weighted_connections),
            inputs=network.inputs,
            readouts=network.readouts,
            provenance=network.provenance,
        )
    graph = network.checked.graph
    return FloatFacts(
        steps=network.steps,
        dt_s=network.dt_s,
        semantics=network.semantics.as_dict(),
        inputs=network.inputs,
        inputs_assumed=network.inputs_assumed,
        nodes={name: type(node).__name__ for name, node in graph.nodes.items()},
        edges=tuple(sorted(graph.edges)),
        provenance=network.provenance,
        rewrites=network.rewrites,
    )


def readers_of(
    network: DeployedNetwork | FloatNetwork | FloatContents,
) -> tuple[Portability, ...]:
    """What every reader of NIR makes of a network; empty if it has no graph in NIR."""
    from spikeport.export.nir.deployed import float_view
    from spikeport.export.nir.readers import READERS, judge

    try:
        graph = float_view(network) if isinstance(network, DeployedNetwork) else network
    except InputError:  # such as another neuron model
        return ()
    return tuple(judge(graph, name) for name in READERS)


def _inputs(parts: Iterable[Input]) -> str:
    return ", ".join(f"{i.name} {i.shape} {i.coding} {i.low}..{i.high}" for i in parts)
