"""Spikes of netx files in lava-dl 0.6.0's own `netx.hdf5.Network` on Lava, and in Spikeport.

`python -m benchmarks.netx PYTHON [--oxford FOLDER] [--json FILE]`

PYTHON is that of an environment with lava-dl, made with Python 3.10:
`python3.10 -m venv ENV && ENV/bin/pip install --no-deps -r benchmarks/lava-dl.txt`

Random networks of each kind that netx can run are written by `write_netx`, read by both, and given
the same random input, with and without resets in the run. Those with biases are reset at the first
step: without that, netx adds biases in steps in which no input has arrived yet. One is quantized
from floats with `QuantizeConfig(target="netx")`. FOLDER holds lava-dl's oxford network, which is
compared on its own input, also with SLAYER, lava-dl's training framework.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport import QuantizeConfig, ResetSchedule, quantize, read_netx, run_native, write_netx
from spikeport.export import FloatNetwork
from spikeport.network import (
    Coding,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
)

STEPS = 30
ALIGNED, APART = ResetSchedule(10), ResetSchedule(7, 3)
OXFORD_STEPS = 2000
LIMIT_S = 600
SEED = 3
MESSAGE_BITS = 8
"""Of graded inputs, whose values are 0..255."""


class Case(NamedTuple):
    """A file, its network here, the input (T, *shape), and how it runs in lava-dl."""

    name: str
    path: Path
    network: DeployedNetwork
    given: NDArray[Any]
    resets: ResetSchedule | None = None
    slayer: bool = False


def main() -> None:
    """Print, for each network, how many output values were compared and how many differ.

    Exits with 1 if a value differs, or if a network is silent.
    """
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
            print("{name:26} {spikes:6} spikes {differing:6} of {compared:8} differ".format(**row))
    if chosen.json:
        text = json.dumps({"networks": rows}, indent=2)
        chosen.json.write_text(text, encoding="utf-8")
    sys.exit(any(row["differing"] or not row["spikes"] for row in rows))  # silence proves nothing


def compare(case: Case, python: Path, folder: Path) -> dict[str, Any]:
    """Run a case in both; in lava-dl, layer k (from 1) is k steps late."""
    theirs = _slayer(case, python, folder) if case.slayer else _netx(case, python, folder)
    theirs = theirs[len(case.network.populations) :]
    run = run_native(case.network, case.given[:, None], record=("spikes",), resets=case.resets)
    assert run.trace is not None
    ours = run.trace.spikes[case.network.readouts[0].population].reshape(len(case.given), -1)
    ours = ours[: len(theirs)]
    return {
        "name": case.name,
        "spikes": int(ours.sum()),
        "compared": int(ours.size),
        "differing": int((theirs != ours).sum()),
    }


def _netx(case: Case, python: Path, folder: Path) -> NDArray[Any]:
    """Output spikes (steps, neurons), with as many steps after the input as there are layers."""
    (part,) = case.network.inputs
    late = np.zeros((len(case.network.populations), *part.shape), case.given.dtype)
    axes = (*range(len(part.shape), 0, -1), 0)
    options: dict[str, int] = {}
    if case.resets is not None:  # Its step 1 resets the first layer one step before its input.
        options["reset_interval"] = case.resets.interval
        options["reset_offset"] = (case.resets.offset + 1) % case.resets.interval
    if part.coding is Coding.GRADED:
        options["input_message_bits"] = MESSAGE_BITS
    given = np.concatenate([case.given, late]).transpose(axes)
    spikes = _outcome("netx", case, given, python, folder, json.dumps(options))
    return spikes.reshape(-1, spikes.shape[-1]).T


def _slayer(case: Case, python: Path, folder: Path) -> NDArray[Any]:
    """Output spikes (T, neurons); those of the last steps are not there, as layers are late."""
    flat = case.given.reshape(len(case.given), -1)
    return _outcome("slayer", case, flat.T, python, folder).T


def _outcome(
    what: str, case: Case, given: NDArray[Any], python: Path, folder: Path, *options: str
) -> NDArray[Any]:
    """What the worker of this name computes."""
    np.save(folder / "input.npy", given)
    worker = Path(__file__).with_name(f"{what}_worker.py")
    files = folder / "input.npy", folder / "output.npy"
    command: list[str | Path] = [python, "-I", worker, case.path, *files, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise SystemExit(f"{case.name}: lava-dl failed: {done.stderr[-2000:]}")
    return np.asarray(np.load(folder / "output.npy", allow_pickle=False))


def _cases(folder: Path, oxford: Path | None) -> Iterator[Case]:
    rng = np.random.default_rng(SEED)
    plain = _networks(rng, biased=False)
    biased = {f"{name}, biases": one for name, one in _networks(rng, biased=True).items()}
    made = {"quantized": _quantized(rng), "quantized, pools": _quantized(rng, pools=True)}
    for name, network in {**plain, **biased, **made}.items():
        path = folder / f"{name}.net"
        write_netx(network, path)
        read = read_netx(path)
        if read != network:
            raise SystemExit(f"{name}: is not read back as it was written")
        (part,) = read.inputs
        given = rng.integers(part.low, part.high + 1, (STEPS, *part.shape))
        if name in plain:
            yield Case(name, path, read, given)
            yield Case(f"{name}, resets", path, read, given, APART)
        else:
            yield Case(f"{name}, resets", path, read, given, ALIGNED)
    if oxford is not None:
        path = oxford / "network.net"
        network = read_netx(path, steps=OXFORD_STEPS)
        given = np.zeros((OXFORD_STEPS, *network.inputs[0].shape), int)
        events = np.load(oxford / "input.npy", allow_pickle=False)
        at = np.rint(events[:, 2]).astype(int)
        held = at < OXFORD_STEPS
        given[at[held], events[held, 0].astype(int)] = 1
        yield Case("oxford", path, network, given)
        yield Case("oxford, SLAYER", path, network, given, slayer=True)


def _networks(rng: np.random.Generator, *, biased: bool) -> dict[str, DeployedNetwork]:
    """Dense with delay, recurrent, convolutions, and a grouped strided convolution."""

    def weights(*shape: int) -> NDArray[np.int16]:
        return (2 * rng.integers(-50, 60, shape)).astype(np.int16)

    def population(name: str, shape: tuple[int, ...], vth: int, **given: Any) -> Population:
        bias = rng.integers(-3, 6, shape if len(shape) < 3 else (shape[0], 1, 1))
        biases = np.broadcast_to(bias * biased, shape).astype(np.int32)
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
            (hidden((4, 4, 6)), out),
            (
                Conv2d("x", "a", weights(4, 1, 3, 3), stride=(2, 1), padding=(1, 1), groups=2),
                Dense("a", "b", weights(8, 96)),
            ),
        ),
    }


def _quantized(rng: np.random.Generator, *, pools: bool = False) -> DeployedNetwork:
    """Graded values into a convolution and two dense layers with biases, from floats.

    Args:
        pools: whether pools stand in front of the convolution and of the first dense layer.
    """
    dt, shapes = 1e-3, {"a": (4, 4, 4), "b": (12,), "c": (8,)}
    side, inner = (12, 2) if pools else (6, 4)
    half = np.array([2, 2]), np.array([2, 2]), np.array([0, 0])

    def lif(shape: tuple[int, ...]) -> Any:
        one = np.ones(shape)
        return nir.LIF(tau=4 * dt * one, r=4 * one, v_leak=0 * one, v_threshold=one)

    def bias(size: int) -> Any:
        return rng.normal(0, 0.1, size)

    nodes = {
        "input": nir.Input({"input": np.array((1, side, side))}),
        **({"mean": nir.AvgPool2d(*half)} if pools else {}),
        "conv": nir.Conv2d((6, 6), rng.normal(0, 0.4, (4, 1, 3, 3)), 1, 0, 1, 1, bias(4)),
        "a": lif(shapes["a"]),
        **({"sum": nir.SumPool2d(*half)} if pools else {}),
        "flat": nir.Flatten({"input": np.array((4, inner, inner))}, 0, -1),
        "first": nir.Affine(rng.normal(0, 0.3, (12, 4 * inner**2)), bias(12)),
        "b": lif(shapes["b"]),
        "second": nir.Affine(-np.abs(rng.normal(0, 0.1, (8, 12))), 0.5 + pools + bias(8)),
        "c": lif(shapes["c"]),
        "output": nir.Output({"output": np.array(shapes["c"])}),
    }
    names = list(nodes)
    graph = nir.NIRGraph(nodes, list(itertools.pairwise(names)), type_check=False)
    source = Input("input", (1, side, side), Coding.GRADED, 0, 255, 255.0)
    network = FloatNetwork(graph, dt, STEPS, (source,))
    samples = rng.random((64, 1, side, side))
    return quantize(network, samples, QuantizeConfig(target="netx"), static=True).network


if __name__ == "__main__":
    main()
