"""The time a user waits for a single sample: one step of a stream, a short run, a long chunk.

`python -m benchmarks.latency [--before FOLDER] [--peers snntorch,norse] [--json FILE]`

Networks of 64-64-10 and 784-512-10 neurons with an input of 10 % spikes, one thread. FOLDER is a
checkout of an earlier version, measured in turn with this one. Times are the least of the repeats:
other work on the machine only adds to them; medians are in the JSON. The frameworks step in Python
too: a step of theirs is a run of LONG steps, all layers in each, divided by LONG.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

SIZES = ((64, 64, 10), (784, 512, 10))
ACTIVITY = 0.1
SHORT, LONG = 20, 10_000
STEPS = 5
"""Steps of a stream in one timing."""
PEERS = ("snntorch", "norse", "spikingjelly")
COLUMNS = ("network", "simulator", "step of a stream", f"T = {SHORT}", f"step of {LONG:,} at once")
TURNS = 3
"""Processes of each version, in turn."""

Times = dict[str, list[float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--before", type=Path, help="checkout of an earlier version")
    parser.add_argument("--peers", default=",".join(PEERS), help="frameworks; '' for none")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--json", type=Path, help="output file")
    chosen = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="spikeport-latency-") as place:
        for sizes in SIZES:
            name, folder = "-".join(map(str, sizes)), Path(place, "-".join(map(str, sizes)))
            _prepare(sizes, folder)
            measured = _measured(folder, chosen.before, chosen.peers, chosen.repeats)
            for simulator, found in measured:
                print(f"{name} {simulator}: {', '.join(_cells(found))}", file=sys.stderr)
                rows.append({"network": name, "simulator": simulator, "seconds": found})
    from benchmarks.table import print_table

    print_table(COLUMNS, [[r["network"], r["simulator"], *_cells(r["seconds"])] for r in rows])
    if chosen.json:
        from spikeport.storage import write_text

        for row in rows:
            row["seconds"] = {
                case: {"least": min(found), "median": median(found)}
                for case, found in row["seconds"].items()
            }
        write_text(chosen.json, json.dumps(rows, indent=1) + "\n")
    return 0


def _cells(seconds: Times) -> list[str]:
    return [f"{1e6 * min(found):.3g} us" for found in seconds.values()]


def _prepare(sizes: Sequence[int], folder: Path) -> None:
    """Store a network that fires at the rate of its input, and a long input."""
    from benchmarks.calibrate import calibrated
    from benchmarks.networks import dense_chain, random_spikes
    from benchmarks.stored import store

    sketch = dense_chain(*sizes, steps=SHORT)
    network = calibrated(sketch, random_spikes(sketch, 16, ACTIVITY), ACTIVITY)
    folder.mkdir()
    store(folder, network, random_spikes(network.replace(steps=LONG), 1, ACTIVITY), {})


def _measured(
    folder: Path, before: Path | None, peers: str, repeats: int
) -> Iterator[tuple[str, Times]]:
    from benchmarks.children import ROOT, has_module, peers_python

    versions = {"native": ROOT} | ({} if before is None else {"native before": before})
    found: dict[str, Times] = {name: {} for name in versions}
    for _ in range(TURNS):
        for name, root in versions.items():
            for case, seconds in _child(Path(sys.executable), root, "", folder, repeats).items():
                found[name].setdefault(case, []).extend(seconds)
    yield from found.items()
    for name in peers.split(",") if peers else ():
        if has_module(peers_python(), name):
            yield name, _child(peers_python(), ROOT, name, folder, repeats)


def _child(python: Path, root: Path, peer: str, folder: Path, repeats: int) -> Times:
    """Run this file by its path, with the packages of another folder."""
    command = [str(python), "-P", __file__, "--measure", peer, str(folder), str(repeats)]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, cwd=root, check=True, stdout=subprocess.PIPE, text=True
    )
    times: Times = json.loads(done.stdout.strip().rpartition("\n")[2])
    return times


def _measure(peer: str, folder: Path, repeats: int) -> Times:
    from benchmarks.stored import load

    network, spikes = load(folder)
    return (_peer if peer else _native)(network, spikes, repeats, *([peer] if peer else []))


def _native(network: Any, spikes: Any, repeats: int) -> Times:
    from spikeport.simulators import Stream, run_native

    stream, whole = Stream(network, threads=1), Stream(network, threads=1)
    output, at = network.readouts[0].population, 0
    sums: Any = 0

    def steps() -> None:
        nonlocal at, sums
        for _ in range(STEPS):
            sums = sums + stream.push(spikes[at : at + 1]).scores[output]
            at += 1

    first = _seconds(steps, min(repeats, LONG // STEPS - 1), STEPS)
    if (whole.push(spikes[:at]).scores[output] != sums).any():
        raise SystemExit("the steps of a stream are not one long run")
    return {
        "step": first,
        "short": _seconds(lambda: run_native(network, spikes[:SHORT], threads=1), repeats, 1),
        "long": _seconds(lambda: whole.push(spikes), max(repeats // 10, 1), LONG),
    }


def _peer(network: Any, spikes: Any, repeats: int, name: str) -> Times:
    from benchmarks.engines import Variant, engine

    def run(steps: int) -> Callable[[], object]:
        simulate = engine(name)(network, spikes[:steps], 1)
        return lambda: simulate(Variant(1, "steps"), False)

    long = _seconds(run(LONG), 1, LONG)
    return {"step": long, "short": _seconds(run(SHORT), repeats, 1), "long": long}


def _seconds(run: Callable[[], object], repeats: int, parts: int) -> list[float]:
    """Seconds of a part of each repeat, after a first run."""
    run()
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        found.append((time.perf_counter() - started) / parts)
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(_measure(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        sys.exit(main())
