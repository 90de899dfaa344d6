"""The graph of a network as one self-contained SVG image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from spikeport.network import (
    AnyPopulation,
    BiasInjection,
    Coding,
    Connection,
    DeployedNetwork,
    Input,
    ReadoutKind,
)
from spikeport.report.graph_layout import Arrow, Box, layout
from spikeport.report.templates import render
from spikeport.text import shown

if TYPE_CHECKING:
    import nir

    from spikeport.export.nir import FloatContents, FloatNetwork

LONGEST = 44
"""Characters of a line of text."""
ENDS = {"Input": "input", "Output": "readout"}
"""Styles of NIR's nodes at the ends of a graph."""


def draw_graph(network: DeployedNetwork | FloatNetwork | FloatContents, title: str = "") -> str:
    """Draw a network as SVG, sources above targets.

    Edges that arrive in a later step (delayed or closing a cycle) are dashed. Several connections
    between the same two parts share one box.

    Args:
        title: for screen readers and tooltips; by default what the network is.

    Raises:
        BackendUnavailableError: jinja2 is not installed.
    """
    if isinstance(network, DeployedNetwork):
        boxes, arrows = _deployed(network)
    else:
        boxes, arrows = _float(network.checked.graph)
    counted = f"{len(boxes)} parts, {len(arrows)} edges"
    return render("graph.svg.j2", drawing=layout(boxes, arrows), title=title or counted)


def _deployed(network: DeployedNetwork) -> tuple[list[Box], list[Arrow]]:
    read = {readout.population: readout.kind for readout in network.readouts}
    boxes = [_input_box(part) for part in network.inputs]
    boxes += [_population_box(network.by_name[name], read.get(name)) for name in network.order]
    between: dict[tuple[str, str], list[Connection]] = {}
    for connection in network.connections:
        between.setdefault((connection.source, connection.target), []).append(connection)
    arrows = []
    for (source, target), parts in between.items():
        box = _connections_box(parts)
        boxes.append(box)
        late = all(map(_delay, parts))
        arrows += [Arrow(_part(source), box.key), Arrow(box.key, _part(target), late)]
    return boxes, arrows


def _part(name: str) -> str:
    """The key of an input or a population; a connection may have the same name."""
    return f"part {name}"


def _input_box(part: Input) -> Box:
    values = "spikes" if part.coding is Coding.SPIKES else f"{part.coding} {part.low}..{part.high}"
    return _box(_part(part.name), "input", part.name, f"Input {_size(part.shape)}", values)


def _population_box(part: AnyPopulation, read: ReadoutKind | None) -> Box:
    kind = "neurons" if read is None else "readout"
    lines = [f"{part.MODEL} {_size(part.shape)}"]
    lines += [] if read is None else [f"readout: {read}"]
    return _box(_part(part.name), kind, part.name, *lines)


def _connections_box(parts: Sequence[Connection]) -> Box:
    """All connections from one part to another."""
    first = parts[0]
    key = f"connection {first.name}"
    if len(parts) > 1:
        delays = [_delay(part) for part in parts]
        lines = [f"delays {min(delays)}..{max(delays)}"] if any(delays) else []
        return _box(key, "map", f"{len(parts)} connections", *lines)
    if isinstance(first, BiasInjection):
        return _box(key, "map", first.name, "bias injection")
    lines = [f"{type(first).__name__} {first.extent}"]
    lines += [f"after a {_size(first.pool.kernel_size)} sum-pool"] if first.pool else []
    lines += [f"delay {first.delay}"] if first.delay else []
    return _box(key, "map", first.name, *lines)


def _delay(part: Connection) -> int:
    return 0 if isinstance(part, BiasInjection) else part.delay


def _float(graph: nir.NIRGraph) -> tuple[list[Box], list[Arrow]]:
    from spikeport.export.nir.fields import INTEGRATING, SPIKING, kind

    styles = {**dict.fromkeys((*SPIKING, *INTEGRATING), "neurons"), **ENDS}
    boxes = [
        _box(
            name,
            styles.get(kind(node), "map"),
            name,
            f"{kind(node)} {_size(_shape(node))}".rstrip(),
        )
        for name, node in graph.nodes.items()
    ]
    return boxes, [Arrow(source, target) for source, target in sorted(graph.edges)]


def _shape(node: Any) -> Iterable[int]:
    """The shape of a node's output."""
    shape = next(iter(node.output_type.values()), None)
    return () if shape is None else [int(size) for size in shape]


def _size(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _box(key: str, kind: str, *lines: str) -> Box:
    return Box(key, tuple(map(_cut, lines)), kind)


def _cut(text: str) -> str:
    text = shown(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
