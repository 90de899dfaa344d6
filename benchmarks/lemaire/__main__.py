"""The method `lemaire2022` against two other implementations of it.

`python -m benchmarks.lemaire QUALIA SPIKINGJELLY [--json FILE]`

QUALIA is the Python of an environment with the implementation by a co-author of the publication,
which is AGPL and runs in its own process only: `python3.11 -m venv ENV && ENV/bin/pip install torch
qualia-core[pytorch]==2.6.0 qualia-codegen-core==2.6.0 qualia-codegen-plugin-snn==2.6.0
qualia-plugin-snn==2.6.0`. SPIKINGJELLY is that of one with spikingjelly==2.0.0.

Qualia's functions are given the layers and spikes of networks that have one connection per
population, with 32 and with 8 bits. Its terms must be those of Spikeport to 1e-12, but for
addressing, in which its code differs from the equations that it cites: it uses the rate of a source
instead of its spikes (17.2), and leaves out the output channels (16.3). These factors are applied
before the comparison. SpikingJelly's counts of each connection must be equal, those of addressing
too; its memories have other prices.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.neurobench.__main__ import every_step
from benchmarks.neurobench.exchange import write_task
from benchmarks.neurobench.networks import ACTIVITY, SAMPLES, given_samples, made_networks
from spikeport import run_native
from spikeport.energy import builtin_methods, estimate_by_method
from spikeport.energy.lemaire import (
    ADDRESSING,
    BIASES,
    OPERATIONS,
    POTENTIALS,
    QUEUES,
    WEIGHTS,
    Lemaire,
    leaks,
    reached_and_added,
)
from spikeport.network import DeployedNetwork, WeightedConnection
from spikeport.runs import EventCounts

NETWORKS, COUNTED = ("mlp", "composed", "leaky"), ("mlp", "conv", "composed", "leaky")
METHODS = ("lemaire2022", "lemaire2022-int8")
TERMS = (OPERATIONS, ADDRESSING, WEIGHTS, BIASES, POTENTIALS, QUEUES)
LIMIT_S, TOLERANCE = 600, 1e-12


def main() -> None:
    """Print the terms of each network in both; exit with 1 if any differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("qualia", type=Path)
    parser.add_argument("spikingjelly", type=Path)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    rows = [
        compare(name, network, method, chosen.qualia)
        for name, network in made_networks().items()
        if name in NETWORKS
        for method in METHODS
    ]
    for row in rows:
        verdict = "equal" if row["equal"] else f"DIFFERENT: {row['theirs']}"
        print(f"{row['name']:10} {row['method']:17} {row['total'] / 1e3:10.3f} nJ  {verdict}")
    counted_too = [
        compare_counts(name, network, chosen.spikingjelly)
        for name, network in made_networks().items()
        if name in COUNTED
    ]
    for row in counted_too:
        verdict = "equal" if row["equal"] else f"DIFFERENT: {row['theirs']}"
        print(f"{row['name']:10} {'counts':17} {len(row['ours'])} connections  {verdict}")
    if chosen.json:
        found = {"qualia": rows, "spikingjelly": counted_too}
        chosen.json.write_text(json.dumps(found, indent=2), encoding="utf-8")
    sys.exit(any(not row["equal"] for row in (*rows, *counted_too)))


def compare(name: str, network: DeployedNetwork, method: str, python: Path) -> dict[str, Any]:
    """The terms of one network by one method in both, in pJ for all samples."""
    counts = counted(network)
    estimate = estimate_by_method(network, counts, method)
    ours = dict.fromkeys(TERMS, 0.0) | {term.name: term.energy for term in estimate.terms}
    ours[ADDRESSING] = as_in_qualia(network, counts, method)
    theirs = _qualia(network, counts, method, python)
    return {
        "name": name,
        "method": method,
        "total": estimate.total,
        "ours": ours,
        "theirs": theirs,
        "equal": all(math.isclose(ours[key], theirs[key], rel_tol=TOLERANCE) for key in TERMS),
    }


def compare_counts(name: str, network: DeployedNetwork, python: Path) -> dict[str, Any]:
    """The counts of each connection in SpikingJelly and here."""
    samples = given_samples(network, SAMPLES, ACTIVITY)
    run = run_native(network, samples, record=("spikes", "v"))
    assert run.trace is not None
    assert run.counts is not None
    ours = {part.name: connection_counts(part, run.counts) for part in network.weighted_connections}
    with tempfile.TemporaryDirectory() as folder:
        write_task(Path(folder), network, every_step(network, samples), run.trace)
        theirs = _answer(python, "spikingjelly_worker.py", Path(folder))
    return {"name": name, "ours": ours, "theirs": theirs, "equal": ours == theirs}


def connection_counts(part: WeightedConnection, counts: EventCounts) -> dict[str, int]:
    """What the formulas of `spikeport.energy.lemaire` count for a connection."""
    arrived = counts.messages[part.name]
    reached, added = reached_and_added(part, counts)
    return {
        "accumulations": added,
        "addressing, additions": reached,
        "addressing, multiply-accumulates": 2 * arrived if part.spatial else 0,
        "inputs": arrived,
        "weights": reached,
        "potentials read": reached,
        "potentials written": reached,
    }


def counted(network: DeployedNetwork) -> EventCounts:
    """Events of the network on the samples of `benchmarks.neurobench`."""
    counts = run_native(network, given_samples(network, SAMPLES, ACTIVITY)).counts
    assert counts is not None
    return counts


def as_in_qualia(network: DeployedNetwork, counts: EventCounts, method: str) -> float:
    """Addressing as Qualia's code has it, not its documentation."""
    prices = builtin_methods()[method].formula
    assert isinstance(prices, Lemaire)
    found = 0.0
    for part in network.weighted_connections:
        arrived, size = counts.messages[part.name], network.sources[part.source].size
        if part.spatial:
            taps = math.prod(part.weight.shape[2:])
            found += 2 * arrived * (prices.multiply_pj + prices.add_pj)
            found += arrived * taps * prices.add_pj
        else:
            found += arrived / size * len(part.weight) * prices.add_pj
    return found


def _qualia(
    network: DeployedNetwork, counts: EventCounts, method: str, python: Path
) -> dict[str, float]:
    prices = builtin_methods()[method].formula
    assert isinstance(prices, Lemaire)
    task = {
        "bits": int(prices.bits),
        "queue": int(prices.queue_values),
        "steps": network.steps * counts.samples,
        "layers": [_layer(network, part, counts) for part in network.weighted_connections],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.json"
        path.write_text(json.dumps(task), encoding="utf-8")
        found: dict[str, float] = _answer(python, "qualia_worker.py", path)
    return found


def _answer(python: Path, worker: str, task: Path) -> dict[str, Any]:
    done = subprocess.run(
        [python, "-I", Path(__file__).with_name(worker), task],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{worker} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _layer(
    network: DeployedNetwork, part: WeightedConnection, counts: EventCounts
) -> dict[str, Any]:
    """A connection and its target as a layer of Qualia, whose shapes have channels last."""
    source, target = network.sources[part.source], network.by_name[part.target]

    def last(shape: tuple[int, ...]) -> list[int]:
        return [1, *(shape[1:] + shape[:1] if part.spatial else (math.prod(shape),))]

    return {
        "kind": "conv" if part.spatial else "fc",
        "input_shape": last(source.shape),
        "output_shape": last(target.shape),
        "kernel_size": list(part.weight.shape[2:]),
        "strides": list(getattr(part, "stride", ())),
        "weights": part.weight.size,
        "biases": target.size if np.any(target.bias) else 0,
        "leak": leaks(target, network),
        "spikes_in": counts.messages[part.name],
        "spikes_out": counts.spikes[part.target],
    }


if __name__ == "__main__":
    main()
