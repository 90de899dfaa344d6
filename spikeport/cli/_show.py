"""`inspect` and `backends`: the verbs that only look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikeport.cli import _io
from spikeport.cli._tables import backends_table, connections_table, facts_table, populations_table
from spikeport.errors import InputError
from spikeport.float_network import FloatNetwork
from spikeport.network import DeployedNetwork


def inspect(
    file: Annotated[Path, typer.Argument(help=".spikeport, .nir or checkpoint file.")],
    dt: _io.Dt = None,
    steps: _io.Steps = None,
    reset: _io.ResetName = None,
    as_json: _io.Json = False,
) -> None:
    """Show what a network file holds."""
    network = _io.open_network(file, _io.Foreign(dt, steps, reset))
    if isinstance(network, DeployedNetwork):
        from spikeport.network_hash import describe

        facts = _deployed_facts(network)
        tables = (populations_table(network), connections_table(network))
        lava = _needs("lava", network)
        shown = facts_table(str(file), {**facts, "on lava": "\n".join(lava)})
        _io.emit(as_json, {**facts, "lava": lava, **describe(network)[0]}, shown, *tables)
        return
    facts = _float_facts(network)
    _io.emit(as_json, facts, facts_table(str(file), facts))


def backends(as_json: _io.Json = False) -> None:
    """List every backend with its version, or why it cannot run and the command that mends it."""
    from spikeport.backends.registry import list_backends

    rows = []
    for backend in list_backends().values():
        status = backend.status()
        rows.append(
            {
                "name": backend.name,
                "what": backend.what,
                "takes": backend.takes,
                "version": status.version,
                "reason": status.reason,
                "remedy": status.remedy,
            }
        )
    _io.emit(as_json, {"backends": rows}, backends_table(rows))


def _needs(name: str, network: DeployedNetwork) -> list[str]:
    """What a network needs of a backend, or why that cannot run it."""
    from spikeport.backends.registry import backend

    notes = backend(name).notes
    try:
        return list(notes(network) if notes else ()) or ["needs nothing of ours"]
    except InputError as error:
        return [str(error)]


def _deployed_facts(network: DeployedNetwork) -> dict[str, Any]:
    return {
        "kind": "chip integers (deployed)",
        "content_hash": network.content_hash,
        "steps": network.steps,
        "neurons": sum(part.size for part in network.populations),
        "weights_stored": sum(part.weight.size for part in network.synapses),
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
        ),
        "nodes": ", ".join(f"{name}:{kind}" for name, kind in kinds.items()),
        "edges": ", ".join(f"{a}->{b}" for a, b in sorted(network.graph.edges)),
    }
