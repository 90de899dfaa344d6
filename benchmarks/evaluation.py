"""A whole test set at once: a network and data of the size of a published evaluation.

`python -m benchmarks.evaluation [--samples 2264] [--threads 2] [--repeats 3] [--json FILE]`

Shoesmith et al. (arXiv 2503.04341) ran the test set of Spiking Heidelberg Digits, 2,264 samples of
1,000 steps, through a recurrent network 700-256-20 in Lava: 3.160 M synaptic operations a sample,
7,450 s at least. Here weights and spikes are random, at the activity of inputs and of hidden
neurons that gives as many events. The rate of events is compared with that of the benchmark of
simulators at the same activity, 64 samples of 100 steps, measured in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibrate import calibrated
from benchmarks.networks import CASES, random_spikes, recurrent
from benchmarks.simulators import processor
from benchmarks.table import print_table, si
from spikeport.network import Dense, DeployedNetwork
from spikeport.simulators import run_native
from spikeport.storage import write_text

SAMPLES, STEPS = 2264, 1000
EVENTS = 7_154_159_044 / SAMPLES
"""Published synaptic operations a sample."""
LAVA_S = 7450.0
_DISTINCT = 64


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="output file")
    chosen = parser.parse_args(arguments)
    activity, whole, short = networks()
    data = {"whole": _many(whole, chosen.samples, activity)}
    data["short"] = random_spikes(short, CASES["recurrent"].samples, activity)
    rows = []
    for _ in range(chosen.repeats):
        for name, network in (("whole", whole), ("short", short)):
            rows.append(_run(name, network, data[name], chosen.threads))
    ratio = statistics.median(_rates(rows, "whole")) / statistics.median(_rates(rows, "short"))
    titles = ("run", "samples", "steps", "events a sample", "seconds", "events/s")
    print_table(titles, [_cells(row) for row in rows])
    print(f"events/s of the whole against the short run: {ratio:.2f}")
    if chosen.samples == SAMPLES:
        seconds = min(row["seconds"] for row in rows if row["run"] == "whole")
        print(f"Lava, published: {LAVA_S:,.0f} s, {LAVA_S / seconds:,.0f} times as long")
    if chosen.json:
        report = {"processor": processor(), "threads": chosen.threads, "activity": activity}
        report |= {"whole_against_short": ratio, "published_lava_s": LAVA_S, "runs": rows}
        write_text(chosen.json, json.dumps(report, indent=1) + "\n")
    return 0


def networks() -> tuple[float, DeployedNetwork, DeployedNetwork]:
    """The activity, the network, and the same for the shorter run."""
    network = recurrent(700, 256, 20, steps=STEPS)
    most = sum(
        int(np.count_nonzero(c.weight))
        for c in network.weighted_connections
        if isinstance(c, Dense)
    )
    activity = EVENTS / (STEPS * most)
    network = calibrated(network, random_spikes(network, 4, activity), activity)
    return activity, network, network.replace(steps=CASES["recurrent"].build().steps)


def _many(network: DeployedNetwork, samples: int, activity: float) -> NDArray[np.uint8]:
    """Like `random_spikes`, without a number for each value: those for all would take 6 GB."""
    few = random_spikes(network, min(samples, _DISTINCT), activity)
    rng = np.random.default_rng(samples)
    given = np.empty((network.steps, samples, *few.shape[2:]), np.uint8)
    for sample in range(samples):
        given[:, sample] = np.roll(few[:, sample % _DISTINCT], int(rng.integers(len(few))), axis=0)
    return given


def _run(
    name: str, network: DeployedNetwork, spikes: NDArray[np.uint8], threads: int
) -> dict[str, Any]:
    """Run once, or short runs until they take a second, and take their median."""
    run_native(network, spikes[:, :1], threads=1)  # compiled
    taken: list[float] = []
    while sum(taken) < 1:
        run = run_native(network, spikes, threads=threads)
        taken.append(run.wall_s)
    assert run.counts is not None
    events = sum(run.counts.synaptic_events.values())
    seconds = statistics.median(taken)
    return {
        "run": name,
        "samples": run.samples,
        "steps": run.steps,
        "events": events,
        "seconds": seconds,
        "events_per_s": events / seconds,
    }


def _rates(rows: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [row["events_per_s"] for row in rows if row["run"] == name]


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["run"],
        str(row["samples"]),
        str(row["steps"]),
        si(row["events"] / row["samples"]),
        f"{row['seconds']:.3g}",
        si(row["events_per_s"]),
    ]


if __name__ == "__main__":
    sys.exit(main())
