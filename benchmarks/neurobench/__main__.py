"""Counts of networks by NeuroBench, and by Spikeport from the same weights and spikes.

`python -m benchmarks.neurobench PYTHON [--network FILE [--data FILE]] [--json FILE]`

PYTHON is that of an environment with NeuroBench 2.3.0, which is imported only there:
`python3.11 -m venv ENV && ENV/bin/pip install torch numpy tqdm && ENV/bin/pip install --no-deps
neurobench==2.3.0 snntorch==1.0.0`

Without --network, random networks are compared (`benchmarks/neurobench/networks.py`). With it, one
deployed network on data in a .npy file, integers (T, B, *shape) or (B, *shape), or on random ones.
Populations without leak are simulated by snnTorch's own neurons, whose spikes must be the same; the
spikes and potentials of all others are given. Compared are effective ACs and MACs and dense
operations of each connection, spikes of each population, membrane updates, activation sparsity and
connection sparsity. Exits with 1 if any differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.neurobench.exchange import simulated, write_task
from benchmarks.neurobench.networks import (
    ACTIVITY,
    RLEAKY,
    SAMPLES,
    given_samples,
    made_networks,
)
from benchmarks.neurobench.ours import counted
from spikeport import load_network, run_native
from spikeport.network import DeployedNetwork
from spikeport.runs import check_samples

LIMIT_S = 1800
COMPARED = ("ac", "mac", "dense", "membrane_updates", "activation_sparsity", "connection_sparsity")
OF_CONNECTIONS = ("ac", "mac", "dense")


def main() -> None:
    """Print each network's counts in both; exit with 1 if any differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", type=Path)
    parser.add_argument("--network", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--activity", type=float, default=ACTIVITY)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    networks = (
        {chosen.network.stem: load_network(chosen.network)} if chosen.network else made_networks()
    )
    print(_row("network", *("ACs", "MACs", "dense", "spikes", "membrane", "zeros"), "verdict"))
    rows = []
    for name, network in networks.items():
        data = np.load(chosen.data, allow_pickle=False) if chosen.data else None
        samples = given_samples(network, chosen.samples, chosen.activity) if data is None else data
        rleaky = not chosen.network and name == RLEAKY
        row = compare(name, network, samples, chosen.python, rleaky=rleaky)
        ours = row["ours"]
        print(
            _row(
                name, *(f"{ours[key]:,}" for key in OF_CONNECTIONS),
                f"{sum(one['spikes'] for one in ours['populations'].values()):,}",
                f"{ours['membrane_updates']:,}", f"{ours['connection_sparsity']:.2%}",
                "DIFFERENT" if row["different"] else "equal",
            )
        )  # fmt: skip
        for line in (*row["different"], *row["notes"]):
            print(f"  {line}")
        rows.append(row)
    if chosen.json:
        chosen.json.write_text(json.dumps({"networks": rows}, indent=2), encoding="utf-8")
    sys.exit(any(row["different"] for row in rows))


def compare(
    name: str, network: DeployedNetwork, samples: Any, python: Path, *, rleaky: bool = False
) -> dict[str, Any]:
    """One network in both; `different` names every count that is not the same."""
    given = every_step(network, samples)
    run = run_native(network, samples, record=("spikes", "v"))
    assert run.trace is not None
    with tempfile.TemporaryDirectory() as folder:
        write_task(Path(folder), network, given, run.trace, rleaky=rleaky)
        worker = Path(__file__).with_name("worker.py")
        done = subprocess.run(
            [python, "-I", worker, folder],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"NeuroBench failed: {done.stderr[-2000:]}")
    ours, theirs = (
        counted(network, given, run, rleaky=rleaky),
        json.loads(done.stdout.splitlines()[-1]),
    )
    return {
        "name": name,
        "samples": run.samples,
        "steps": run.steps,
        "ours": ours,
        "theirs": theirs,
        "different": [*differences(ours, theirs)],
        "notes": [*notes(network, ours)],
    }


def every_step(network: DeployedNetwork, samples: Any) -> dict[str, NDArray[Any]]:
    """Values of each input in every step, (T, B, *shape)."""
    checked = check_samples(network.inputs, network.steps, samples)
    shapes = {part.name: part.shape for part in network.inputs}
    return {
        name: np.broadcast_to(values, (network.steps, *values.shape))
        if values.ndim == 1 + len(shapes[name])
        else values
        for name, values in checked.items()
    }


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    """Each count that is not the same in both."""
    for key in COMPARED:
        if ours[key] != theirs[key]:
            yield f"{key}: {ours[key]} here, {theirs[key]} in NeuroBench"
    for kind, keys in (("connections", OF_CONNECTIONS), ("populations", ("spikes",))):
        for name, counts in ours[kind].items():
            for key in keys:
                found = theirs[kind][name][key]
                if counts[key] != found:
                    yield f"{key} of {name}: {counts[key]} here, {found} in NeuroBench"
    for name, number in theirs["spikes_that_differ"].items():
        if number:
            yield f"{number} spikes of {name} differ from those of snnTorch"


def notes(network: DeployedNetwork, ours: dict[str, Any]) -> Iterator[str]:
    """Where the definitions differ for this network, and what was given instead of simulated."""
    given = [part.name for part in network.populations if not simulated(network, part)]
    if given:
        yield f"spikes and potentials given, not simulated: {', '.join(given)}"
    for name, counts in ours["connections"].items():
        found, events = counts["ac"] + counts["mac"], counts["synaptic_events"]
        if found != events:
            why = "RLeaky calls it twice" if found == 2 * events else "sums of its pool, not spikes"
            yield f"{name}: {found:,} ({why}); synaptic events: {events:,}"


def _row(name: str, *cells: str) -> str:
    widths = (9, 9, 11, 7, 9, 8)
    numbers = " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
    return f"{name:10} {numbers} {cells[-1]}"


if __name__ == "__main__":
    main()
