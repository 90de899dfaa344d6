"""The start-up cost of commands whose kernels are already compiled.

`python -m benchmarks.startup [--json FILE] [--against FOLDER]`: wall-clock and processor seconds of
a process, minimum of `--repeats` runs after a first. With a checkout of another version in FOLDER,
the processes of both take turns, and the table shows how many times as long they take there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.children import ROOT
from benchmarks.networks import dense_chain
from benchmarks.table import print_table
from spikeport.network import Coding, Input, save_network
from spikeport.storage import write_text

CLI = "from spikeport.cli import main; main()"
COMMANDS = (
    *("--help", "run --help", "backends", "inspect {0}", "check {0} --target native", "map {0}"),
    *("energy {0} --activity 0.1", "run {0} --data digits", "energy {0} --data digits"),
    "compare {0} --data digits",
)
COLUMNS = ("process", "wall s", "processor s", "wall there", "processor there")

Seconds = tuple[float, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="output file")
    parser.add_argument("--against", type=Path, help="checkout of another version")
    chosen = parser.parse_args(arguments)
    roots = [ROOT, *([chosen.against.resolve()] if chosen.against else [])]
    rows = []
    with tempfile.TemporaryDirectory(prefix="spikeport-benchmark-") as folder:
        network = Path(folder) / "n.spikeport"
        given = Input("input", (1, 8, 8), Coding.GRADED, low=0, high=16, scale=16.0)
        save_network(dense_chain(64, 32, 10, steps=8).replace(inputs=(given,)), network)
        commands = {"import spikeport": ["-c", "import spikeport"]} | {
            f"spikeport {words.format('NETWORK')}": ["-c", CLI, *words.format(network).split()]
            for words in COMMANDS
        }
        for name, words in commands.items():
            here, *there = _measured(roots, words, chosen.repeats)
            rows.append({"process": name, "wall_s": here[0], "processor_s": here[1]})
            for other in there:
                rows[-1] |= {
                    "wall_ratio": other[0] / here[0],
                    "processor_ratio": other[1] / here[1],
                }
    print_table(COLUMNS if chosen.against else COLUMNS[:3], [_cells(row) for row in rows])
    if chosen.json:
        write_text(chosen.json, json.dumps(rows, indent=1) + "\n")
    return 0


def _measured(roots: Sequence[Path], words: Sequence[str], repeats: int) -> list[Seconds]:
    """The fastest process of each checkout; they take turns, so that other load hits all alike."""
    found = [[_seconds(root, words) for root in roots] for _ in range(repeats + 1)][1:]
    return [
        (min(wall for wall, _ in runs), min(spent for _, spent in runs))
        for runs in zip(*found, strict=True)
    ]


def _seconds(root: Path, words: Sequence[str]) -> Seconds:
    """Wall-clock and processor seconds of one process with the code of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(root)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or all sources are compiled every time
    before = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=root,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed with {process.returncode}")
    return time.perf_counter() - before, used.ru_utime + used.ru_stime


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    times = [f"{row[name]:.2f}" for name in ("wall_s", "processor_s")]
    ratios = [f"{row[name]:.1f}x" for name in ("wall_ratio", "processor_ratio") if name in row]
    return (row["process"], *times, *ratios)


if __name__ == "__main__":
    sys.exit(main())
