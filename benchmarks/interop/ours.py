"""Our networks: our spikes, and those of frameworks that read our NIR files."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.interop import workers
from benchmarks.interop.changes import changed
from benchmarks.interop.environments import ENVIRONMENTS
from benchmarks.interop.exceptions import OURS, found
from benchmarks.interop.frameworks.graphs import DT
from benchmarks.interop.networks import NAMES, Ours, ours
from spikeport import FloatNetwork, Reset, run_float
from spikeport.export.nir import write_nir_file

READERS = tuple(name for name in ENVIRONMENTS if name != "lava-dl")
"""lava-dl has no importer."""
Array = NDArray[Any]
LONGEST = 200


class Given(NamedTuple):
    """A network whose file was written, its output here, and what is said of the file."""

    network: Ours
    output: Array
    told: dict[str, Any]


def made(names: Collection[str] = NAMES) -> list[tuple[Ours, Array]]:
    """Networks, and what their last neurons send."""
    return [(network, output(network.view, network.x)) for network in ours(names)]


def write(
    folder: Path, networks: Sequence[tuple[Ours, Array]], framework: str, plain: bool = True
) -> dict[str, Given]:
    """Write networks for anyone or for this framework: stem of the file, and what it contains."""
    found = {}
    for number, (network, expected) in enumerate(networks):
        place = folder / f"{number:02}{'' if plain else '-for'}.nir"
        told: dict[str, Any] = {}
        options = {"dt": DT, "subtract": False}
        reader = None if plain else framework
        said = write_nir_file(network.written, place, reader=reader, allow_unsupported=True)
        if said is not None:
            findings = [finding for one in said.concerned for finding in one.findings]
            causes = list(dict.fromkeys(finding.cause for finding in findings))
            told = {"file": "for", "word": str(said.word), "causes": causes}
            options = _options(said.load)
        if framework == "nirtorch":  # whose neurons are ours
            options["subtract"] = network.view.semantics.reset is Reset.SUBTRACT
        np.save(place.with_suffix(".in.npy"), network.x)
        place.with_suffix(".json").write_text(json.dumps(options), encoding="utf-8")
        found[place.stem] = Given(network, expected, told)
    return found


def _options(load: str) -> dict[str, Any]:
    """The options in the expression with which a file is to be loaded."""
    step = re.search(r"dt=([-+.\de]+)", load)
    return {"dt": float(step[1]) if step else DT, "subtract": "reset_subtract" in load}


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
        network, expected, told = given[stem]
        row: dict[str, Any] = {"network": network.name, "framework": framework, **told}
        if isinstance(theirs, str):
            yield {**row, "outcome": "refused", "says": theirs[:LONGEST]}
            continue
        theirs = theirs.reshape(*theirs.shape[:2], -1)
        if framework == "nir":
            yield {**row, "outcome": "same", "compared": 0, "differing": 0}  # nothing is run
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
