"""Spikes of netx files in lava-dl 0.6.0's own `netx.hdf5.Network` on Lava, and in Spikeport.

`python -m benchmarks.netx PYTHON [--oxford FOLDER] [--json FILE]`

PYTHON is that of an environment with lava-dl, made with Python 3.10:
`python3.10 -m venv ENV && ENV/bin/pip install --no-deps -r benchmarks/lava-dl.txt`

Random networks of each kind that netx can run are written by `write_netx`, read by both, and given
the same random input. FOLDER holds lava-dl's oxford network, which is compared on its own input.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeport import read_netx, run_native, write_netx
from spikeport.network import Conv2d, Dense, DeployedNetwork, Input, Population, Readout

STEPS = 30
OXFORD_STEPS = 2000
LIMIT_S = 600
SEED = 3


class Case(NamedTuple):
    """A file, its network here, and the input (T, *shape)."""

    name: str
    path: Path
    network: DeployedNetwork
    given: NDArray[Any]


def main() -> None:
    """Print, for each network, how many output values were compared and how many differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", type=Path)
    parser.add_argument("--oxford", type=Path)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in _cases(Path(folder), chosen.oxford):
            row = compare(case, chosen.python, Path(folder))
            rows.append(row)
            print("{name:12} {spikes:8} spikes {differing:6} of {compared:8} differ".format(**row))
    if chosen.json:
        text = json.dumps({"networks": rows}, indent=2)
        chosen.json.write_text(text, encoding="utf-8")
    sys.exit(any(row["differing"] for row in rows))


def compare(case: Case, python: Path, folder: Path) -> dict[str, Any]:
    """Run a case in both; in netx, layer k (from 1) is k steps late."""
    network, depth = case.network, len(case.network.populations)
    shape = network.inputs[0].shape
    given = np.concatenate([case.given, np.zeros((depth, *shape), case.given.dtype)])
    axes = (*range(len(shape), 0, -1), 0)
    np.save(folder / "input.npy", given.transpose(axes))
    worker = Path(__file__).with_name("netx_worker.py")
    command: list[str | Path] = [
        python,
        "-I",
        worker,
        case.path,
        folder / "input.npy",
        folder / "output.npy",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise SystemExit(f"{case.name}: lava-dl failed: {done.stderr[-2000:]}")
    theirs = np.load(folder / "output.npy", allow_pickle=False)
    theirs = theirs.reshape(-1, theirs.shape[-1]).T
    run = run_native(network, case.given[:, None], record=("spikes",))
    assert run.trace is not None
    ours = run.trace.spikes[network.readouts[0].population].reshape(len(case.given), -1)
    theirs = theirs[depth:]
    return {
        "name": case.name,
        "spikes": int(ours.sum()),
        "compared": int(ours.size),
        "differing": int((theirs != ours).sum()),
    }


def _cases(folder: Path, oxford: Path | None) -> Iterator[Case]:
    rng = np.random.default_rng(SEED)
    for name, network in _networks(rng).items():
        path = folder / f"{name}.net"
        write_netx(network, path)
        read = read_netx(path)
        if read != network:
            raise SystemExit(f"{name}: is not read back as it was written")
        yield Case(name, path, read, rng.integers(0, 2, (STEPS, *read.inputs[0].shape)))
    if oxford is not None:
        network = read_netx(oxford / "network.net", steps=OXFORD_STEPS)
        given = np.zeros((OXFORD_STEPS, *network.inputs[0].shape), int)
        events = np.load(oxford / "input.npy", allow_pickle=False)
        at = np.rint(events[:, 2]).astype(int)
        held = at < OXFORD_STEPS
        given[at[held], events[held, 0].astype(int)] = 1
        yield Case("oxford", oxford / "network.net", network, given)


def _networks(rng: np.random.Generator) -> dict[str, DeployedNetwork]:
    """Dense with bias and delay, recurrent, convolutions, and a grouped strided convolution."""

    def weights(*shape: int) -> NDArray[np.int16]:
        return (2 * rng.integers(-50, 60, shape)).astype(np.int16)

    def population(name: str, shape: tuple[int, ...], vth: int, **given: Any) -> Population:
        bias = rng.integers(-3, 6, shape if len(shape) < 3 else (shape[0], 1, 1))
        biases = np.broadcast_to(bias, shape).astype(np.int32)
        return Population(name, shape, vth, bias=biases, bias_exponent=6, **given)

    def network(shape: tuple[int, ...], populations: Any, connections: Any) -> DeployedNetwork:
        return DeployedNetwork(
            (Input("x", shape),), populations, connections, (Readout("b"),), STEPS
        )

    def hidden(shape: tuple[int, ...]) -> Population:
        return population("a", shape, 60, decay_u=900, decay_v=300)

    out = Population("b", (8,), 50)
    return {
        "delay": network(
            (20,),
            (hidden((16,)), out),
            (Dense("x", "a", weights(16, 20)), Dense("a", "b", weights(8, 16), delay=2)),
        ),
        "recurrent": network(
            (20,),
            (hidden((16,)), out),
            (
                Dense("x", "a", weights(16, 20)),
                Dense("a", "a", weights(16, 16) // 4 * 2, delay=1, name="loop"),
                Dense("a", "b", weights(8, 16)),
            ),
        ),
        "conv": network(
            (2, 7, 6),
            (hidden((4, 5, 3)), population("c", (3, 3, 1), 90), out),
            (
                Conv2d("x", "a", weights(4, 2, 3, 4)),
                Conv2d("a", "c", weights(3, 4, 3, 3)),
                Dense("c", "b", weights(8, 9)),
            ),
        ),
        "strided": network(
            (2, 7, 6),
            (Population("a", (4, 4, 6), 60, 4096, 300), out),
            (
                Conv2d("x", "a", weights(4, 1, 3, 3), stride=(2, 1), padding=(1, 1), groups=2),
                Dense("a", "b", weights(8, 96)),
            ),
        ),
    }


if __name__ == "__main__":
    main()
