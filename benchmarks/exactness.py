"""Check that native equals the scalar specification on the benchmark networks.

`python -m benchmarks.exactness [--networks mlp,neurons] [--neurons 64] [--json FILE]`

Small networks are compared completely, on one sample. On all networks, selected neurons of every
population are recomputed by the specification from the messages that native recorded, on every
sample; and a run without recording, as used for timing, must give the same scores and counts. Exits
with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.networks import CASES
from benchmarks.prepare import prepared
from benchmarks.scaling import ACTIVITY, SERIES, grown
from benchmarks.table import print_table
from spikeport.network import DeployedNetwork
from spikeport.runs import RECORDABLE, Run
from spikeport.simulators import check_neurons, run_native, run_reference, sample_probes
from spikeport.storage import write_text
from spikeport.traces import TraceComparison, compare_runs

ACTIVITIES = (0.02, 0.1, 0.3)
WHOLE = ("mlp", "deep", "recurrent")
COLUMNS = ("network", "input", "samples", "neurons", "neuron-steps", "differing", "seconds")
Array = NDArray[Any]
Spikes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        neurons: number of neurons checked, over all populations.
        neuron_steps: neurons * T * B; u, v and spike were compared in each.
        differing: number of differing values: u, v, spikes, and scores and counts of the plain run.
        first: the first difference, empty if there is none.
    """

    whole: bool
    samples: int
    neurons: int
    neuron_steps: int
    differing: int
    first: str
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print and write; return the exit code."""
    chosen = _parser().parse_args(arguments)
    rows: list[tuple[str, float, Row]] = []
    for name, activity in _wanted(chosen.networks):
        title, network, spikes = _built(name, activity)
        rows.append(
            (title, activity, compare_sampled(network, spikes, chosen.neurons, chosen.threads))
        )
        if name in WHOLE:
            rows.append((title, activity, compare_whole(network, spikes[:, :1])))
        print(f"{title}, input {100 * activity:g} %: done", file=sys.stderr)
    print_table(COLUMNS, [_cells(*row) for row in rows])
    for title, activity, row in rows:
        if row.differing:
            print(f"{title}, input {100 * activity:g} %: {row.first}")
    if chosen.json:
        found = [{"network": n, "activity": a, **dataclasses.asdict(row)} for n, a, row in rows]
        write_text(chosen.json, json.dumps(found, indent=1) + "\n")
    return int(any(row.differing for _, _, row in rows))


def compare_whole(network: DeployedNetwork, spikes: Spikes) -> Row:
    """Compare all results of a run with those of the specification."""
    started = time.perf_counter()
    run = run_native(network, spikes, record=RECORDABLE)
    expected = run_reference(network, spikes, record=RECORDABLE)
    found = compare_runs(run, expected, network.order)
    return _row(found, unequal(run, expected), whole=True, started=started)


def compare_sampled(network: DeployedNetwork, spikes: Spikes, neurons: int, threads: int) -> Row:
    """Compare some neurons of every population with the specification (`check_neurons`)."""
    started = time.perf_counter()
    run = run_native(network, spikes, record=sample_probes(network, neurons), threads=threads)
    plain = run_native(network, spikes, threads=threads)
    found = check_neurons(network, spikes, run)
    return _row(found, unequal(plain, run), whole=False, started=started)


def unequal(a: Run, b: Run) -> int:
    """Number of scores, spike counts and event counts that differ between two runs."""
    pairs = [*_pairs(a.scores, b.scores), *_pairs(a.spike_counts, b.spike_counts)]
    return sum(int(np.count_nonzero(x != y)) for x, y in pairs) + int(a.counts != b.counts)


def _pairs(a: Mapping[str, Array], b: Mapping[str, Array]) -> list[tuple[Array, Array]]:
    return [(a[name], b[name]) for name in sorted(a.keys() | b.keys())]


def _row(found: TraceComparison, others: int, *, whole: bool, started: float) -> Row:
    neuron_steps = sum(total.compared for total in found.totals if total.variable == "u")
    return Row(
        whole=whole,
        samples=found.samples,
        neurons=neuron_steps // (found.samples * found.steps),
        neuron_steps=neuron_steps,
        differing=others + sum(total.differing for total in found.totals),
        first=str(found.first or (f"{others} scores or counts" if others else "")),
        seconds=time.perf_counter() - started,
    )


def _wanted(names: Sequence[str]) -> Iterator[tuple[str, float]]:
    for name in names:
        for activity in ACTIVITIES if name in CASES else (ACTIVITY,):
            yield name, activity


def _built(name: str, activity: float) -> tuple[str, DeployedNetwork, Spikes]:
    if name in CASES:
        return CASES[name].title, *prepared(CASES[name], activity)
    size = SERIES[name].sizes[-1]
    return f"{name} {size:,}", *grown(SERIES[name], size)


def _cells(title: str, activity: float, row: Row) -> list[str]:
    return [
        title,
        f"{100 * activity:g} %",
        f"{row.samples:,}",
        f"{row.neurons:,}{' (all)' if row.whole else ''}",
        f"{row.neuron_steps:,}",
        f"{row.differing:,}",
        f"{row.seconds:.1f}",
    ]


def _parser() -> argparse.ArgumentParser:
    known = (*CASES, *SERIES)

    def names(text: str) -> list[str]:
        wanted = text.split(",")
        if unknown := sorted(set(wanted) - set(known)):
            raise argparse.ArgumentTypeError(
                f"unknown: {', '.join(unknown)}; choose from {', '.join(known)}"
            )
        return wanted

    parser = argparse.ArgumentParser(prog="python -m benchmarks.exactness", description=__doc__)
    parser.add_argument("--networks", type=names, default=list(known))
    parser.add_argument("--neurons", type=int, default=64, help="random neurons per population")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="output file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
