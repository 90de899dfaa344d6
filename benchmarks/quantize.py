"""Quantization, and the float simulation that it rests on beside Norse.

`python -m benchmarks.quantize [--networks wide ...] [--samples N] [--json FILE]`

Float networks of three benchmark networks: each weight is moved off the grid of integers by a few
percent, so that scales have to be searched. Samples are random spikes, or for N-MNIST recordings in
steps of 1 ms, if SPIKEPORT_DATA holds them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from benchmarks.calibrate import calibrated
from benchmarks.networks import SEED, dense_chain, nmnist_cnn, random_spikes, resnet18
from benchmarks.table import print_table
from spikeport.backends.norse import run_norse
from spikeport.errors import SpikeportError
from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.deployed import float_view
from spikeport.network import DeployedNetwork
from spikeport.simulators import run_float
from spikeport.storage import write_text
from spikeport.trainer import load_dataset
from spikeport.workflow import quantize

RECORDINGS = "nmnist_train_1000.npz"
ACTIVITY = 0.1
NOISE = 0.02
"""Standard deviation of what is added to weights, in their own standard deviation."""
BATCH = 32
"""Samples that the float simulations run at once."""
COLUMNS = (
    "network", "T", "samples", "quantize s", "processor s", "float s", "processor s", "Norse s",
    "processor s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """A network to quantize."""

    title: str
    build: Callable[[], DeployedNetwork]
    samples: int


CASES = {
    "wide": Case("784-8192-10", lambda: dense_chain(784, 8192, 10, steps=20), 256),
    "nmnist": Case("N-MNIST CNN", lambda: nmnist_cnn(steps=300), 100),
    "resnet18": Case("ResNet-18", lambda: resnet18(steps=4), 256),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantize", description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--samples", type=int, help="instead of the number of each network")
    parser.add_argument("--json", type=Path, help="output file")
    chosen = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # of quantization, about random networks
    rows = [_row(CASES[name], chosen.samples or CASES[name].samples) for name in chosen.networks]
    print_table(COLUMNS, [_cells(row) for row in rows])
    if chosen.json:
        write_text(chosen.json, json.dumps(rows, indent=1) + "\n")
    return 0


def _row(case: Case, samples: int) -> dict[str, Any]:
    network = case.build()
    spikes = _recordings(network, samples)
    if spikes is None:
        spikes = random_spikes(network, samples, ACTIVITY)
    chip = calibrated(network, spikes[:, :2], float(spikes.mean()))
    real, x = moved(float_view(chip)), spikes.astype(np.float64)
    quantize(real, x[:, :1])  # compiles, or loads, the kernels
    row = {"network": case.title, "steps": network.steps, "samples": samples}
    row |= _timed("quantize", lambda: quantize(real, x))
    for name, run in (("float", run_float), ("norse", run_norse)):
        try:
            row |= _timed(name, lambda run=run: _batches(run, real, x))  # type: ignore[misc]
        except SpikeportError as error:
            row[f"{name}_failed"] = str(error)
    return row


def moved(network: FloatNetwork) -> FloatNetwork:
    """The network with noise added to all weights that are not zero."""
    rng = np.random.default_rng(SEED)
    nodes: dict[str, Any] = dict(network.graph.nodes)
    for node in nodes.values():
        if hasattr(node, "weight"):
            weight = np.asarray(node.weight, np.float64)
            noise = NOISE * weight.std() * rng.standard_normal(weight.shape)
            node.weight = weight + noise * (weight != 0)
    graph = nir.NIRGraph(nodes, network.graph.edges, type_check=False)
    return replace(network, graph=graph)


def _recordings(network: DeployedNetwork, samples: int) -> NDArray[np.uint8] | None:
    """N-MNIST as spikes (T, B, 2, 34, 34), for a network that takes it, if it is there."""
    root = Path(os.environ.get("SPIKEPORT_DATA", "data"))
    found = [path for path in (root / RECORDINGS, root / "data" / RECORDINGS) if path.is_file()]
    if network.inputs[0].shape != (2, 34, 34) or not found:
        return None
    data = load_dataset(found[0], network.steps, window_us=1000, coding="spikes")
    return data.train_x[:samples].astype(np.uint8)


def _batches(run: Callable[..., Any], network: FloatNetwork, x: NDArray[np.float64]) -> None:
    for first in range(0, x.shape[1], BATCH):
        run(network, x[:, first : first + BATCH], record=())


def _timed(name: str, run: Callable[[], object]) -> dict[str, float]:
    wall, spent = time.perf_counter(), time.process_time()
    run()
    return {
        f"{name}_s": time.perf_counter() - wall,
        f"{name}_processor_s": time.process_time() - spent,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    names = [
        f"{name}{kind}_s" for name in ("quantize", "float", "norse") for kind in ("", "_processor")
    ]
    times = [f"{row[name]:.2f}" if name in row else "-" for name in names]
    return (row["network"], str(row["steps"]), str(row["samples"]), *times)


if __name__ == "__main__":
    sys.exit(main())
