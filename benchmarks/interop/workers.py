"""Start `worker.py` with a framework's interpreter, until every network has an outcome."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMIT_S = 1800
Outcome = NDArray[Any] | str
"""Spikes, or the error."""


def write(framework: str, interpreter: Path, folder: Path) -> dict[str, Outcome]:
    """Let a framework write its networks: the spikes or the error of each."""
    _start("write", framework, interpreter, folder)
    found = {path.stem: outcome(path.with_suffix("")) for path in folder.glob("*.nir")}
    return found | {path.stem: outcome(path.with_suffix("")) for path in folder.glob("*.error")}


def read(framework: str, interpreter: Path, folder: Path) -> dict[str, Outcome]:
    """Let a framework run all files of a folder; a process that ends early is started again."""
    places = [path.with_suffix(f".{framework}") for path in sorted(folder.glob("*.nir"))]
    while missing := [place for place in places if outcome(place) is None]:
        done = _start("read", framework, interpreter, folder)
        if outcome(missing[0]) is None:
            text = f"the process ended with {done.returncode}"
            missing[0].with_name(f"{missing[0].name}.error").write_text(text, encoding="utf-8")
    return {place.stem: outcome(place) for place in places}


def outcome(place: Path) -> Any:
    """What a worker left at this place: spikes, an error, or None."""
    spikes = place.with_name(f"{place.name}.npy")
    error = place.with_name(f"{place.name}.error")
    if error.exists():
        return " ".join(error.read_text(encoding="utf-8").split())
    return np.load(spikes, allow_pickle=False) if spikes.exists() else None


def _start(
    verb: str, framework: str, interpreter: Path, folder: Path
) -> subprocess.CompletedProcess[str]:
    """One process, in which the order of sets is always the same; if it fails, this one ends."""
    worker = Path(__file__).with_name("worker.py")
    command: list[str | Path] = [interpreter, "-s", worker, verb, framework, folder]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        command,
        env=kept | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode == 1:  # an exception that is of no single network
        raise SystemExit(f"{framework}: {done.stderr[-2000:]}")
    return done
