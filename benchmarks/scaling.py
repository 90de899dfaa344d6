"""How native's cost grows with steps, samples, synapses and neurons.

`python -m benchmarks.scaling [--quick] [--threads 2] [--json FILE]`

In each series one size grows and the others are fixed; the cost is linear if the last column,
seconds per synaptic event relative to the first row of the series, does not grow.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibrate import calibrated
from benchmarks.children import ChildError, child, exit_on_terminate, measure
from benchmarks.networks import Sketch, dense_chain, random_spikes
from benchmarks.prepare import facts
from benchmarks.stored import load_facts, store
from benchmarks.table import print_table, si
from spikeport.network import DeployedNetwork
from spikeport.simulators import run_native
from spikeport.storage import write_text

ACTIVITY = 0.1
CAP_S = 1800.0
STORE = ("SERIES", "SIZE", "FOLDER")
COLUMNS = ("series", "size", "neurons", "synapses", "sample-steps", "events", "seconds",
           "ns/event", "against first", "peak memory")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Series:
    """A series of growing size.

    Attributes:
        build: network and samples for a size.
        sizes: with --quick only the first `quick` of them are used.
    """

    build: Callable[[int], tuple[DeployedNetwork, int]]
    sizes: tuple[int, ...]
    quick: int


def feature_maps(side: int, steps: int) -> DeployedNetwork:
    """Two convolutions of 16 and 8 channels on 2 x side x side."""
    sketch = Sketch()
    first = sketch.conv(sketch.input((2, side, side)), "first", 16)
    return sketch.network(sketch.conv(first, "second", 8), steps)


SERIES = {
    "steps": Series(lambda n: (dense_chain(784, 512, 10, steps=n), 16), (10, 100, 1000, 10_000), 3),
    "samples": Series(
        lambda n: (dense_chain(784, 512, 10, steps=20), n), (10, 100, 1000, 10_000), 3
    ),
    "synapses": Series(
        lambda n: (dense_chain(1024, n, 10, steps=20), 16), (512, 2048, 8192, 32_768), 3
    ),
    "neurons": Series(lambda n: (feature_maps(n, steps=160), 1), (26, 66, 128, 209), 3),
}
"""The largest has 24 * 209^2 = 1,048,344 neurons and about 10^9 synaptic events in 160 steps."""


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="without the largest size of each series"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="output file")
    parser.add_argument("--store", nargs=3, metavar=STORE, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.store:
        name, size, folder = chosen.store
        _store(SERIES[name], int(size), Path(folder))
        return 0
    exit_on_terminate()
    rows = []
    for name, series in SERIES.items():
        for size in series.sizes[: series.quick] if chosen.quick else series.sizes:
            rows.append(_row(name, size, chosen.threads, chosen.repeats))
            print(f"{name} {size}: {rows[-1].get('failed', 'done')}", file=sys.stderr)
    print_table(COLUMNS, list(_cells(rows)))
    if chosen.json:
        write_text(chosen.json, json.dumps(rows, indent=1) + "\n")
    return 0


def _row(name: str, size: int, threads: int, repeats: int) -> dict[str, Any]:
    """One size: built in one process and run in another, so that the peak memory is the run's."""
    row: dict[str, Any] = {"series": name, "size": size}
    with tempfile.TemporaryDirectory(prefix="spikeport-benchmark-") as place:
        try:
            what = ["--store", name, str(size), place]
            child(sys.executable, "benchmarks.scaling", what, threads=threads, limit_s=CAP_S)
            facts = load_facts(Path(place))
            variants = [(facts["samples"], "")]
            row |= facts | measure(
                sys.executable, "native", place, variants, repeats, threads, CAP_S
            )
        except ChildError as error:
            row["failed"] = str(error)
    return row


def grown(series: Series, size: int) -> tuple[DeployedNetwork, NDArray[np.uint8]]:
    """The network of a size, calibrated to `ACTIVITY`, and its input."""
    network, samples = series.build(size)
    brief = network.replace(steps=min(network.steps, 20))
    brief = calibrated(brief, random_spikes(brief, 1, ACTIVITY), ACTIVITY)
    network = brief.replace(steps=network.steps)
    return network, random_spikes(network, samples, ACTIVITY)


def _store(series: Series, size: int, folder: Path) -> None:
    network, spikes = grown(series, size)
    counts = run_native(network, spikes).counts
    store(folder, network, spikes, facts(network, counts) if counts else {})


def _cells(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    first: dict[str, float] = {}
    for row in rows:
        if "failed" in row:
            yield [row["series"], str(row["size"]), row["failed"], *[""] * (len(COLUMNS) - 3)]
            continue
        seconds = statistics.median(row["seconds"])
        events = row["sample_steps"] * row["events_per_sample_step"]
        cost = seconds / events
        first.setdefault(row["series"], cost)
        yield [
            row["series"],
            f"{row['size']:,}",
            f"{row['neurons']:,}",
            si(row["products_per_sample_step"]),
            si(row["sample_steps"]),
            si(events),
            f"{seconds:.3g}",
            f"{1e9 * cost:.3g}",
            f"{cost / first[row['series']]:.2f}",
            f"{row['peak_bytes'] / 2**20:.0f} MiB",
        ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
