"""Networks of frameworks: their spikes, and ours from the NIR files that they write."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.interop import workers
from benchmarks.interop.exceptions import THEIRS, found
from benchmarks.interop.frameworks.graphs import SHAPES, STEPS
from benchmarks.interop.spikes import CHANGED, spikes
from spikeport.errors import SpikeportError

RATES = {"flat": 0.4, "map": 0.3, "image": 0.2}
SAMPLES = {"flat": 16, "map": 4, "image": 2}
SEED = 0
LONGEST = 200
"""Of a message in the results."""


def measure(framework: str, interpreter: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """Run one framework and compare each of its networks."""
    place = folder / framework
    place.mkdir()
    for name, shape in SHAPES.items():
        rng = np.random.default_rng(SEED)
        x = rng.random((STEPS, SAMPLES[name], *shape)) < RATES[name]
        np.save(place / f"{name}.in.npy", x.astype(np.uint8))
    for stem, theirs in sorted(workers.write(framework, interpreter, place).items()):
        row = {"network": f"{framework}/{stem}"}
        if isinstance(theirs, str):
            yield {**row, "outcome": "not written", "says": theirs[:LONGEST]}
        else:
            yield {**row, **_compared(row["network"], folder, theirs)}


def _compared(name: str, folder: Path, theirs: np.ndarray[Any, Any]) -> dict[str, Any]:
    theirs = theirs.reshape(*theirs.shape[:2], -1)
    rules = CHANGED.get(name, {})
    try:
        ours = spikes(name, folder, semantics=name.partition("/")[0], **rules)
    except SpikeportError as error:
        return {"outcome": "refused", "says": str(error).rpartition(".nir: ")[2][:LONGEST]}
    differing = int((ours != theirs).sum())
    known = found({"network": name}, THEIRS)
    proved: dict[str, Any] = {}
    if known is not None and known.under:
        under = spikes(name, folder, known.under, semantics=name.partition("/")[0], **rules)
        proved = {"under": list(known.under), "by_changes": int((under != theirs).sum())}
    return {
        "outcome": "differs" if differing else "same",
        "rules": {rule: str(value).lower() for rule, value in rules.items()},
        "spikes": int(theirs.sum()),
        "compared": int(theirs.size),
        "differing": differing,
        "by_default": int((spikes(name, folder) != theirs).sum()),
        **proved,
    }


def record(folder: Path, archive: Path, rows: list[dict[str, Any]]) -> None:
    """Store inputs, files and spikes, without the large images, as small as they can be."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for row in sorted(rows, key=lambda row: str(row["network"])):
            name = row["network"]
            if row["outcome"] == "same" and "28x28" not in name:
                place = folder / name
                _store(out, f"{name}.nir", place.with_suffix(".nir").read_bytes())
                np.save(place.with_suffix(".u1.npy"), np.load(f"{place}.npy").astype(np.uint8))
                _store(out, f"{name}.npy", place.with_suffix(".u1.npy").read_bytes())
        for framework in sorted({row["network"].partition("/")[0] for row in rows}):
            for kind in ("flat", "map"):
                name = f"{framework}/{kind}.in.npy"
                _store(out, name, (folder / name).read_bytes())


def _store(out: zipfile.ZipFile, name: str, content: bytes) -> None:
    out.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)  # without a date
