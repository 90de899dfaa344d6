"""Where native spends its time on the benchmark networks, on one thread.

`python -m benchmarks.profile [--networks mlp,deep] [--activity 2,10]`

Columns are percent of a run: the loops over events and neurons, of which `neurons` is the time that
the neurons alone would take at the machine's peak rate; counting spikes; copying input; allocating
arrays; checking input; and Python in between.
"""

from __future__ import annotations

import argparse
import cProfile
import sys
import time
from collections.abc import Sequence
from pstats import Stats

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import neuron_steps
from benchmarks.networks import CASES
from benchmarks.prepare import prepared
from benchmarks.table import print_table
from spikeport.network import DeployedNetwork
from spikeport.simulators import run_native

REPEATS = 5
COLUMNS = ("network", "input", "us per sample-step", "loops", "neurons", "counts", "copies",
           "arrays", "checks", "python")  # fmt: skip
CALLERS = {"loops": ("run_steps", "_run_pieces", "__call__", "_deliver"), "counts": ("_count",)}
"""Kernels, by the functions that call them."""
OWN = {"copies": "enter", "arrays": "borrow", "checks": "check_samples"}


def main(arguments: Sequence[str]) -> int:
    """Profile and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--networks", default=",".join(CASES))
    parser.add_argument("--activity", default="2,10", help="percent")
    chosen = parser.parse_args(arguments)
    rate = neuron_steps(threads=1, repeats=REPEATS)
    rows = [
        _row(name, float(percent), rate)
        for name in chosen.networks.split(",")
        for percent in chosen.activity.split(",")
    ]
    print_table(COLUMNS, rows)
    return 0


def _row(name: str, percent: float, rate: float) -> list[str]:
    network, spikes = prepared(CASES[name], percent / 100)
    run_native(network, spikes, threads=1)
    seconds, stats = min((_profiled(network, spikes) for _ in range(REPEATS)), key=lambda x: x[0])
    sample_steps = network.steps * spikes.shape[1]
    found = {
        "neurons": sum(p.size for p in network.populations) * sample_steps / rate,
        **{part: sum(_called(stats, caller) for caller in by) for part, by in CALLERS.items()},
        **{part: _spent(stats, function) for part, function in OWN.items()},
    }
    found["python"] = seconds - sum(found.values()) + found["neurons"]
    shares = [f"{100 * found[part] / seconds:.0f} %" for part in COLUMNS[3:]]
    return [name, f"{percent:g} %", f"{1e6 * seconds / sample_steps:.3g}", *shares]


def _profiled(network: DeployedNetwork, spikes: NDArray[np.uint8]) -> tuple[float, Stats]:
    profile = cProfile.Profile()
    before = time.perf_counter()
    profile.runcall(run_native, network, spikes, threads=1)
    seconds = time.perf_counter() - before
    return seconds, Stats(profile)


def _called(stats: Stats, caller: str) -> float:
    """Seconds spent in compiled kernels called by `caller`."""
    found = 0.0
    for (file, _, name), (_, _, _, _, callers) in stats.stats.items():  # type: ignore[attr-defined]
        if name == "call" and file.endswith("compiled.py"):
            found += sum(x[3] for (_, _, who), x in callers.items() if who == caller)
    return found


def _spent(stats: Stats, function: str) -> float:
    """Seconds spent in a function, including the functions it calls."""
    known = stats.stats  # type: ignore[attr-defined]
    return float(sum(x[3] for (_, _, name), x in known.items() if name == function))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
