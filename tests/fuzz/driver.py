"""Hands damaged files to worker processes and judges the results."""

from __future__ import annotations

import json
import math
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HANG_S = 5.0
"""Limit in processor time, so that a busy machine does not look like a hang."""
KILL_S = 60.0
"""Limit in wall-clock time, for a process that neither computes nor ends."""
START_S = 300.0
"""Time for a worker to make and read a valid file of every kind."""
PEAK_BYTES = 2**30
ROOT = Path(__file__).parent.parent.parent


@dataclass
class Summary:
    """Results of all files of a run."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    bytes: int = 0

    @property
    def total(self) -> int:
        return sum(counts.total() for counts in self.outcomes.values())

    def add(self, kind: str, seed: int, found: dict[str, Any]) -> None:
        """Judge one file."""
        if found["outcome"] != "fault" and found["computing"] > HANG_S:
            found |= {"outcome": "fault", "fault": f"took {found['computing']:.1f} s"}
        if found["outcome"] != "fault" and found["bytes"] > PEAK_BYTES:
            found |= {"outcome": "fault", "fault": f"took {found['bytes'] >> 20} MiB"}
        self.outcomes.setdefault(kind, Counter())[found["outcome"]] += 1
        self.seconds = max(self.seconds, found.get("seconds", 0.0))
        self.bytes = max(self.bytes, found.get("bytes", 0))
        if found["outcome"] == "fault":
            self.faults.append(f"{kind}, seed {seed} ({found.get('how')}): {found['fault']}")

    def table(self) -> str:
        """Counts per kind of file."""
        columns = ("refused", "same", "other", "fault")
        rows: list[tuple[str, ...]] = [("kind", *columns)]
        rows += [(k, *(str(c[name]) for name in columns)) for k, c in self.outcomes.items()]
        lines = [f"{row[0]:22}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows]
        end = (
            f"{self.total} files, {len(self.faults)} faults; "
            f"longest {self.seconds:.2f} s, most memory {self.bytes / 2**20:.0f} MiB"
        )
        return "\n".join([*lines, end])


class Worker:
    """A process that reads files until one of them kills it."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        # Into a file: a pipe that is read only at the end blocks the process once it is full.
        self._log = folder / "stderr"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.worker", str(folder)],
                cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self.alive = True
        if found := self._answer(START_S):
            raise RuntimeError(found["fault"])

    def read(self, kind: str, seed: int) -> dict[str, Any]:
        """The result for one file."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"kind": kind, "seed": seed}) + "\n")
        self._process.stdin.flush()
        return self._answer(KILL_S)

    def _answer(self, limit_s: float) -> dict[str, Any]:
        process = self._process
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(limit_s):
                self.close()
                return {"outcome": "fault", "fault": f"did not end within {limit_s} s"}
        if line := process.stdout.readline():
            found: dict[str, Any] = json.loads(line)
            return found
        said = self.close()
        return {
            "outcome": "fault",
            "fault": f"the process ended ({process.returncode}): {said[-2000:]}",
        }

    def close(self) -> str:
        """End the process; return its standard error."""
        if not self.alive:
            return ""
        self.alive = False
        self._process.kill()
        self._process.communicate()
        return self._log.read_text("utf-8", "replace")


@contextmanager
def _workers() -> Iterator[Any]:
    """Yields a function that returns a live worker."""
    with tempfile.TemporaryDirectory(prefix="spikeport-fuzz-") as place:
        current: list[Worker] = []

        def worker() -> Worker:
            if not current or not current[-1].alive:
                folder = Path(place) / str(len(current))
                folder.mkdir()
                current.append(Worker(folder))
            return current[-1]

        try:
            yield worker
        finally:
            for each in current:
                each.close()


def fuzz(tasks: Iterable[tuple[str, int]], seconds: float = math.inf) -> Summary:
    """Damage one file per kind and seed, for at most `seconds`."""
    summary, began = Summary(), time.monotonic()
    with _workers() as worker:
        for kind, seed in tasks:
            if time.monotonic() - began > seconds:
                break
            summary.add(kind, seed, worker().read(kind, seed))
    return summary
