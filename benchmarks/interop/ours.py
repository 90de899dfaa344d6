"""Our networks: our spikes, and those of frameworks that read our NIR files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.interop import workers
from benchmarks.interop.changes import changed
from benchmarks.interop.environments import ENVIRONMENTS
from benchmarks.interop.exceptions import OURS, found
from benchmarks.interop.networks import NAMES, Ours, ours
from spikeport import FloatNetwork, run_float
from spikeport.export.nir import write_nir_file

READERS = tuple(name for name in ENVIRONMENTS if name != "lava-dl")
"""lava-dl has no importer."""
Array = NDArray[Any]
LONGEST = 200


class Given(NamedTuple):
    """A network whose file was written, and its output here."""

    network: Ours
    output: Array


def write(folder: Path, names: Collection[str] = NAMES) -> dict[str, Given]:
    """Write and run networks: stem of the file, and what it contains."""
    found = {}
    for number, network in enumerate(ours(names)):
        stem = f"{number:02}"
        write_nir_file(network.written, folder / f"{stem}.nir")
        np.save(folder / f"{stem}.in.npy", network.x)
        found[stem] = Given(network, output(network.view, network.x))
    return found


def output(network: FloatNetwork, x: Array) -> Array:
    """What the last neurons send, (T, B, N): spikes, or the membrane of a readout."""
    run = run_float(network, x.astype(np.float64), record=("spikes", "v"))
    ((last,),) = (network.checked.sources[name] for name in network.graph.outputs)
    assert run.trace is not None
    traced = run.trace.spikes if last in run.trace.spikes else run.trace.v
    return np.asarray(traced[last].reshape(*x.shape[:2], -1))


def measure(
    framework: str,
    interpreter: Path,
    folder: Path,
    given: Mapping[str, Given],
) -> Iterator[dict[str, Any]]:
    """Let one framework run all files of the folder."""
    for stem, theirs in workers.read(framework, interpreter, folder).items():
        network, expected = given[stem]
        row: dict[str, Any] = {"network": network.name, "framework": framework}
        if isinstance(theirs, str):
            yield {**row, "outcome": "refused", "says": theirs[:LONGEST]}
            continue
        theirs = theirs.reshape(*theirs.shape[:2], -1)
        if framework == "nir":
            yield {**row, "outcome": "same", "compared": 0, "differing": 0}
            continue
        if theirs.shape != expected.shape:
            shape = "x".join(str(n) for n in theirs.shape)
            yield {**row, "outcome": "refused", "says": f"returns {shape} values"}
            continue
        row |= {
            "spikes": int(expected.sum()),
            "compared": int(expected.size),
            "differing": differing(theirs, expected),
        }
        row["outcome"] = "differs" if row["differing"] else "same"
        known = found(row, OURS)
        if known is not None and known.under:
            row["under"] = list(known.under)
            there = output(changed(network.view, known.under), network.x)
            row["by_changes"] = differing(theirs, there)
        yield row


def differing(theirs: Array, here: Array) -> int:
    """Number of values that differ; membranes are floats, and differ by rounding."""
    return int((~np.isclose(theirs, here, rtol=1e-4, atol=1e-5)).sum())
