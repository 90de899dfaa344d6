"""Write NIR files that any NIR reader can read."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any

import nir

from spikeport.checks import NAME_RULE, is_name
from spikeport.errors import GraphError, InputError, UnsupportedError
from spikeport.export.nir.deployed import float_view, form_of
from spikeport.export.nir.float_network import FloatNetwork
from spikeport.export.nir.graph import DEFAULT_DT_S
from spikeport.export.nir.layout import view_notes
from spikeport.export.nir.metadata import deployed_metadata, float_metadata, for_reader
from spikeport.export.nir.portable import portable_graph
from spikeport.export.nir.readers import Fidelity, Portability, adapt, own_form
from spikeport.network import DeployedNetwork
from spikeport.storage import sealed, write_bytes
from spikeport.text import quoted

fail = UnsupportedError.fail


def write_nir_file(
    network: FloatNetwork | DeployedNetwork,
    path: str | os.PathLike[str],
    *,
    dt_s: float | None = None,
    reader: str | None = None,
    allow_unsupported: bool = False,
) -> Portability | None:
    """Write a network as NIR, completely or not at all.

    A deployed network is written as its float view, which any NIR reader can run, with its integers
    in the metadata, so that `read_nir` returns the same network.

    Args:
        dt_s: time step of the float view of a deployed network, default 1e-4.
        reader: write the graph in the form that this reader runs, one of `READERS`; Spikeport
            reads the network's own graph from it.
        allow_unsupported: also if the reader does not run all of its nodes.

    Returns:
        What the reader makes of the network, None without one.

    Raises:
        InputError: there is no such reader, or it does not run a node (the message names all); the
            graph breaks a rule, or a node's name is not safe in other tools.
        OutputError: the file cannot be written; an existing file is unharmed.
    """
    if isinstance(network, DeployedNetwork):
        view = float_view(network, DEFAULT_DT_S if dt_s is None else dt_s)
        metadata = deployed_metadata(network, view, form_of(view), view_notes(network))
    else:
        if dt_s is not None:
            InputError.fail(
                f"dt_s is {dt_s}: a float network has its own time step, {network.dt_s}"
            )
        view, metadata = network, float_metadata(network)
    graph = view.checked.graph
    for name in graph.nodes:
        if not is_name(name):
            GraphError.fail(f"node {quoted(name)}: name must be {NAME_RULE}")
    if reader is None:
        write_bytes(path, _bytes(graph, metadata))
        return None
    adapted = adapt(view, reader)
    found = adapted.portability
    if found.word is Fidelity.UNSUPPORTED and not allow_unsupported:
        fail(
            f"{found.version} does not run {len(found.concerned)} of {len(found.nodes)} nodes: "
            f"{refusal(found)}"
        )
    stored = nir.NIRGraph(dict(adapted.nodes), list(adapted.edges), type_check=False)
    original = own_form(view.checked, adapted.names, stored.nodes, stored.edges)
    write_bytes(path, _bytes(stored, for_reader(metadata, reader, *original)))
    return found


def refusal(found: Portability) -> str:
    """All nodes that a reader does not run, with causes and remedies, on one line."""
    parts = []
    for one in found.concerned:
        instead = f" (instead: {one.remedy})" if one.remedy else ""
        parts.append(f"node '{one.node}' ({one.type}): {one.cause}{instead}")
    return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class _Contents:
    """What `nir.write` stores; it asks for nothing but this dictionary."""

    stored: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.stored


def _bytes(graph: nir.NIRGraph, metadata: dict[str, Any]) -> bytes:
    """The file as bytes, so that HDF5 never encounters a full disk.

    A v_reset of zeros is left out: readers take it as zero, and nir <= 1.0.4, which Sinabs and
    Rockpool install, opens no file with the field.
    """
    nodes, forms = portable_graph(graph)
    facts = {**metadata, **forms}
    written = nir.NIRGraph(nodes, graph.edges, metadata=facts, type_check=False).to_dict()
    for fields in written["nodes"].values():
        reset = fields.get("v_reset")
        if reset is not None and not reset.any() and reset.dtype == fields["v_threshold"].dtype:
            del fields["v_reset"]
    buffer = io.BytesIO()
    nir.write(buffer, _Contents(written))
    return sealed(buffer.getvalue())
