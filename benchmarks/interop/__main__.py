"""Networks of other frameworks: their spikes, and ours from the NIR files that they write.

`python -m benchmarks.interop ENVIRONMENTS [--json FILE] [--record FILE]`

ENVIRONMENTS is a folder that `python -m benchmarks.interop.environments` has made. Each framework
runs random networks on random spikes and exports them; each file is read with the framework's
preset and run on the same spikes. The table says how many output values differ, then how many do
under the default rules. `--record` keeps files and spikes for the tests
(`tests/fixtures/interop.zip`). Exits with 1 if a value differs under the preset.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.interop.environments import ENVIRONMENTS, python
from benchmarks.interop.spikes import CHANGED, spikes

STEPS, SAMPLES, INPUTS = 40, 16, 12
RATE = 0.4
SEED = 0
LIMIT_S = 600


def main() -> None:
    """Print one row per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environments", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--record", type=Path)
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for framework in ENVIRONMENTS:
            for row in measure(framework, chosen.environments, Path(folder) / framework):
                rows.append(row)
                print(
                    "{network:28} {spikes:6} spikes, {differing:5} of {compared} differ, "
                    "{by_default:5} under the default rules".format(**row)
                )
        if chosen.record:
            record(Path(folder), chosen.record)
    if chosen.json:
        chosen.json.write_text(json.dumps({"networks": rows}, indent=2), encoding="utf-8")
    sys.exit(any(row["differing"] for row in rows))


def measure(framework: str, environments: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """Run one framework and compare each of its networks."""
    folder.mkdir()
    x = (np.random.default_rng(SEED).random((STEPS, SAMPLES, INPUTS)) < RATE).astype(np.float32)
    np.save(folder / "input.npy", x)
    worker = Path(__file__).with_name("worker.py")
    command: list[str | Path] = [python(environments, framework), "-I", worker, framework, folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise SystemExit(f"{framework}: {done.stderr[-2000:]}")
    for path in sorted(folder.glob("*.nir")):
        name = f"{framework}/{path.stem}"
        theirs = np.load(path.with_suffix(".npy"), allow_pickle=False)
        ours = spikes(path, x, semantics=framework, **CHANGED.get(name, {}))
        yield {
            "network": name,
            "rules": dict(CHANGED.get(name, {})),
            "spikes": int(theirs.sum()),
            "compared": int(theirs.size),
            "differing": int((ours != theirs).sum()),
            "by_default": int((spikes(path, x) != theirs).sum()),
        }


def record(folder: Path, archive: Path) -> None:
    """Store files and spikes, as small and as reproducible as they can be."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for path in sorted(folder.rglob("*.n*")):
            entry = zipfile.ZipInfo(str(path.relative_to(folder)))  # without a date
            out.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    main()
