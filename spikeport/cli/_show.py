"""`inspect` and `backends`: the verbs that only look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikeport.cli import _io
from spikeport.cli._tables import (
    backends_table,
    connections_table,
    facts_table,
    limitations_table,
    populations_table,
)
from spikeport.network import DeployedNetwork, FloatNetwork


def inspect(
    file: Annotated[Path, typer.Argument(help=".spikeport, .nir or checkpoint file.")],
    dt: _io.Dt = None,
    steps: _io.Steps = None,
    reset: _io.ResetName = None,
    strict: _io.Strict = None,
    as_json: _io.Json = False,
) -> None:
    """Show what a network file holds."""
    network = _io.open_network(file, _io.Foreign(dt, steps, reset, strict))
    if isinstance(network, DeployedNetwork):
        facts = _deployed_facts(network)
        tables = (populations_table(network), connections_table(network))
        _io.emit(
            as_json,
            {**facts, **network.canonical_form()[0]},
            facts_table(str(file), facts),
            *tables,
        )
        return
    facts = _float_facts(network)
    _io.emit(as_json, facts, facts_table(str(file), facts))


def backends(as_json: _io.Json = False) -> None:
    """List every backend, with its version or how to fix it, and what targets do not support."""
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


def _deployed_facts(network: DeployedNetwork) -> dict[str, Any]:
    return {
        "kind": "chip integers (deployed)",
        "content_hash": network.content_hash,
        "steps": network.steps,
        "neurons": sum(part.size for part in network.populations),
        "weights_stored": sum(part.weight.size for part in network.weighted_connections),
        "inputs": ", ".join(
            f"{i.name} {i.shape} {i.coding} {i.low}..{i.high}" for i in network.inputs
        ),
        "readouts": ", ".join(f"{r.population} ({r.kind})" for r in network.readouts),
        **{f"provenance: {key}": value for key, value in network.provenance.items()},
    }


def _float_facts(network: FloatNetwork) -> dict[str, Any]:
    kinds = {name: type(node).__name__ for name, node in network.graph.nodes.items()}
    return {
        "kind": "NIR graph (float)",
        "steps": network.steps,
        "dt_s": network.dt_s,
        "reset": str(network.reset),
        "comparison": ">" if network.strict else ">=",
        "inputs": ", ".join(
            f"{i.name} {i.shape} {i.coding} {i.low}..{i.high}" for i in network.inputs
        )
        + (" (assumed, not stated in the file)" if network.inputs_assumed else ""),
        "nodes": ", ".join(f"{name}:{kind}" for name, kind in kinds.items()),
        "edges": ", ".join(f"{a}->{b}" for a, b in sorted(network.graph.edges)),
    }
