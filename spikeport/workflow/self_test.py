"""Self-tests of an installation: one tiny network through files and backends.

Each test returns what it has shown, and raises a `CheckFailedError` if it fails.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

import numpy as np

from spikeport.backends import list_backends, run, status_of
from spikeport.errors import CheckFailedError
from spikeport.export.nir import FloatNetwork, Semantics
from spikeport.network import (
    Coding,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    load_network,
    save_network,
)
from spikeport.runs import Run

STEPS = 6
SAMPLES = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 1, 1]])


def backend_tests() -> Mapping[str, Callable[[], str]]:
    """A test of each backend that is installed, except those that the others are compared with."""
    return {
        f"{name} runs a network": partial(_runs, name)
        for name, one in list_backends().items()
        if name not in ("native", "float") and status_of(one).version
    }


def _runs(name: str) -> str:
    """The spikes of a backend must be those of native or, of a float network, of float."""
    deployed = list_backends()[name].takes == "deployed"
    first = _first("native" if deployed else "float")
    if name == "reference" or not deployed:
        found = run(name, _chip() if deployed else _graph(), SAMPLES, record=("spikes",))
    else:
        found = run(name, _chip(), SAMPLES)
    counts = [{key: value.tolist() for key, value in one.spike_counts.items()}
              for one in (first, found)]  # fmt: skip
    if counts[0] != counts[1]:
        raise CheckFailedError(
            f"backend '{name}' counts {counts[1]} spikes, '{first.backend}' {counts[0]}"
        )
    spikes = sum(int(value.sum()) for value in found.spike_counts.values())
    return f"{spikes} spikes, the same as {first.backend}"


@cache
def _first(name: str) -> Run:
    return run(name, _chip() if name == "native" else _graph(), SAMPLES)


def _native() -> str:
    spikes = sum(int(value.sum()) for value in _first("native").spike_counts.values())
    return f"{spikes} spikes"


def _own_file() -> str:
    return _read_again("n.spikeport")


def _nir_file() -> str:
    """HDF5 is parsed in a process of its own."""
    return _read_again("n.nir")


def _read_again(name: str) -> str:
    from spikeport.export import read_nir_deployed
    from spikeport.workflow.networks import write_nir

    network = _chip()
    with tempfile.TemporaryDirectory(prefix="spikeport-doctor-") as folder:
        path = Path(folder) / name
        if path.suffix == ".nir":
            write_nir(network, path)
            found = read_nir_deployed(path)
        else:
            save_network(network, path)
            found = load_network(path)
    if found.content_hash != network.content_hash:
        raise CheckFailedError(f"{name}: the network that was read is not the one written")
    return f"written and read again, {network.content_hash[:12]}"


SELF_TESTS: Mapping[str, Callable[[], str]] = {
    ".spikeport file": _own_file,
    ".nir file": _nir_file,
    "native runs a network": _native,
}


@cache
def _chip() -> DeployedNetwork:
    weights = np.array([[4, -2, 6, 2], [2, 4, -4, 6], [-2, 6, 4, 4]], np.int16)
    return DeployedNetwork(
        (Input("x", (4,), Coding.SPIKES),),
        (Population("out", (3,), vth=9, decay_v=512),),
        (Dense("x", "out", weights),),
        (Readout("out"),),
        steps=STEPS,
    )


@cache
def _graph() -> FloatNetwork:
    import nir

    weights = np.array([[0.5, -0.25, 0.75, 0.25], [0.25, 0.5, -0.5, 0.75]])
    nodes = {
        "x": nir.Input({"input": np.array([4])}),
        "fc": nir.Affine(weights, np.zeros(2)),
        "out": nir.IF(r=np.ones(2), v_threshold=np.full(2, 1.0)),
        "output": nir.Output({"output": None}),
    }
    edges = [("x", "fc"), ("fc", "out"), ("out", "output")]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    return FloatNetwork(graph, 1e-3, STEPS, (Input("x", (4,), Coding.SPIKES),), Semantics())
