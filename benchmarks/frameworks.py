"""Spikes of other frameworks' modules, and of the float networks that `from_...` reads from them.

`python -m benchmarks.frameworks [--frameworks norse,snntorch] [--seeds N] [--json FILE]`

`make` installs the frameworks in their tested versions (`benchmarks/frameworks.txt`), without
their dependencies, of which one would replace nir by an older version.

Random networks of each kind get random input. Every output value of every step is compared: spikes
exactly, the membranes of readouts to 1e-5 of their range.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import spikeport
from benchmarks.foreign import norse, sinabs, snntorch, spikingjelly
from spikeport.network import Input

STEPS = 24
BATCH = 5
LINE = "{framework:20} {network:38} {spikes:6} spikes {differing:5} of {compared:6} differ"


class Case(NamedTuple):
    """A network: its module, the shape of a sample, and how the framework runs it."""

    name: str
    module: nn.Module
    shape: tuple[int, ...]
    run: Callable[[nn.Module, Tensor], Tensor]
    """(module, x (T, B, *shape)) -> the output of every step, (T, B, N)."""


CASES: Mapping[str, Callable[[], Iterable[tuple[Any, ...]]]] = {
    "norse": norse.networks,
    "snntorch": snntorch.networks,
    "spikingjelly": spikingjelly.networks,
    "sinabs": sinabs.networks,
}
"""By package."""


def main() -> None:
    """Print how many output values of each network were compared, and how many differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frameworks", default=",".join(CASES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for package in chosen.frameworks.split(","):
        for seed in range(chosen.seeds):
            for case in cases(package, seed):
                found = compare(package, case)
                name = f"{package} {version(package)}"
                row = rows.setdefault((name, case.name), {"framework": name, **found})
                if seed:
                    row |= {n: row[n] + found[n] for n in ("spikes", "compared", "differing")}
    for row in rows.values():
        print(LINE.format(**row))
    if chosen.json:
        chosen.json.write_text(
            json.dumps({"networks": list(rows.values())}, indent=2), encoding="utf-8"
        )
    sys.exit(any(row["differing"] for row in rows.values()))


def cases(package: str, seed: int) -> Iterator[Case]:
    """The networks of a framework, with weights drawn from `seed`."""
    torch.manual_seed(seed)
    for given in CASES[package]():
        yield Case(*given)


def compare(package: str, case: Case, steps: int = STEPS) -> dict[str, Any]:
    """Run a network in its framework and as a float network."""
    x = (torch.rand(steps, BATCH, *case.shape) < 0.4).float()
    network = getattr(spikeport, f"from_{package}")(case.module, Input("x", case.shape), steps)
    with torch.no_grad():
        theirs = case.run(case.module.eval(), x).numpy().reshape(steps, BATCH, -1)
    ours = outputs(network, x.numpy())
    spiking = ours.dtype.kind in "iu"
    differing = ours != theirs if spiking else np.abs(ours - theirs) > 1e-5 * np.ptp(theirs)
    assert ours.shape == theirs.shape, case.name
    return {
        "network": case.name,
        "spikes": int(theirs.sum()) if spiking else 0,
        "compared": int(ours.size),
        "differing": int(differing.sum()),
    }


def outputs(network: Any, x: NDArray[Any]) -> NDArray[Any]:
    """What the layer before the output emits at every step, (T, B, N)."""
    run = spikeport.run_float(network, x, record=("spikes", "v"), dtype=np.float64)
    assert run.trace is not None
    (last,) = network.checked.sources["output"]
    found = run.trace.spikes.get(last, run.trace.v.get(last))
    return np.asarray(found).reshape(len(x), x.shape[1], -1)


if __name__ == "__main__":
    main()
