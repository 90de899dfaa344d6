"""The start-up cost of a process whose kernels are already compiled.

`python -m benchmarks.startup`: wall-clock and processor seconds, minimum of five runs after a
first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.networks import dense_chain
from benchmarks.table import print_table
from spikeport.network import save_network

CLI = "from spikeport.cli import main; main()"
REPEATS = 5


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="spikeport-benchmark-") as folder:
        network, images = Path(folder) / "n.spikeport", Path(folder) / "images.npz"
        pixels, labels = np.zeros((4, 8, 8), np.uint8), np.arange(4)
        np.savez(images, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
        made = dense_chain(64, 32, 10, steps=8)
        image = made.inputs[0].__class__("input", (1, 8, 8))
        save_network(made.replace(inputs=(image,)), network)
        commands = {
            "import spikeport": ["-c", "import spikeport"],
            "spikeport backends": ["-c", CLI, "backends"],
            "spikeport run": ["-c", CLI, "run", str(network), "--data", str(images)],
        }
        rows = [(name, *_seconds([sys.executable, *rest])) for name, rest in commands.items()]
    print_table(("second process", "wall s", "processor s"), rows)
    return 0


def _seconds(command: Sequence[str]) -> tuple[str, str]:
    found = []
    for _ in range(REPEATS + 1):
        before = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
        found.append((time.perf_counter() - before, used.ru_utime + used.ru_stime))
    wall, spent = min(found[1:])
    return f"{wall:.2f}", f"{spent:.2f}"


if __name__ == "__main__":
    sys.exit(main())
