"""`inspect` and `backends`: the verbs that show information."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikeport.cli import _io
from spikeport.cli._foreign import Foreign, takes_foreign
from spikeport.cli._tables import (
    backends_table,
    connections_table,
    facts_table,
    limitations_table,
    populations_tables,
    readers_table,
)
from spikeport.network import DeployedNetwork
from spikeport.report.graph_drawing import draw_graph
from spikeport.storage import write_text

if TYPE_CHECKING:
    from spikeport.export import Portability


@takes_foreign
def inspect(
    file: Annotated[
        Path,
        typer.Argument(
            help="Deployed network (.spikeport or .net), NIR file (.nir) or checkpoint "
            "(.safetensors)."
        ),
    ],
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Also draw the graph to this file.")
    ] = None,
    *,
    foreign: Foreign,
    as_json: _io.Json = False,
) -> None:
    """Show the contents of a network file, and what other readers of NIR make of it."""
    from spikeport.workflow import inspect_network, open_contents
    from spikeport.workflow.inspection import readers_of

    if svg is not None:
        _io.check_out("--svg", svg, [".svg"], file)
    network = open_contents(file, **foreign.given())
    facts = inspect_network(network).as_dict()
    stated = {name: "not stated" if fact is None else fact for name, fact in facts.items()}
    data, tables = facts, [facts_table(str(file), stated)]
    if isinstance(network, DeployedNetwork):
        data = {**facts, **network.canonical_form()[0]}
        tables += [*populations_tables(network), connections_table(network)]
    read = readers_of(network)
    data = {**data, "readers": [_summary(one) for one in read]}
    tables += [readers_table(read)] if read else []
    if svg is not None:
        write_text(svg, draw_graph(network, file.name))
    _io.emit(as_json, data, *tables)


def _summary(found: Portability) -> dict[str, Any]:
    nodes = [node.node for node in found.concerned]
    return {"reader": found.reader, "word": str(found.word), "nodes": nodes}


def backends(as_json: _io.Json = False) -> None:
    """List backends, how to fix missing ones, and features that targets do not support."""
    from spikeport.backends import list_backends, status_of
    from spikeport.backends.targets import list_chips

    rows: list[dict[str, Any]] = []
    for backend in list_backends().values():
        status = status_of(backend)
        rows.append(
            {
                "name": backend.name,
                "what": backend.what,
                "takes": backend.takes,
                "version": status.version,
                "reason": status.reason,
                "fix": status.fix,
                "limitations": [str(one) for one in backend.limitations],
            }
        )
    chips: list[dict[str, Any]] = [
        {
            "name": chip.name,
            "title": chip.title,
            "reason": chip.reason,
            "fix": chip.fix,
            "limitations": [str(one) for one in chip.limitations],
        }
        for chip in list_chips()
    ]
    listed = [
        {**chip, "limitations": [chip["reason"], chip["fix"]]} if chip["reason"] else chip
        for chip in chips
    ]
    shown = backends_table(rows), limitations_table([*rows, *listed])
    _io.emit(as_json, {"backends": rows, "chips": chips}, *shown)
