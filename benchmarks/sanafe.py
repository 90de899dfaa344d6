"""Events and energy of networks in SANA-FE, and in Spikeport with the same constants.

`python -m benchmarks.sanafe PYTHON [--json FILE]`

PYTHON is that of an environment with SANA-FE, which is GPL and runs in its own process only:
`python3.11 -m venv ENV && ENV/bin/pip install sanafe==2.2.9`

Five random networks are simulated on SANA-FE's own description of Loihi. Its neurons integrate
without leak and have no synaptic current here (decay_u 4096, decay_v 0), and every connection has a
delay of one step, because SANA-FE hands a message over in the step after the spike. Compared are
spikes, packets, synaptic events and updates, exactly, and the energy, which `estimate_energy`
computes from Spikeport's counts with the nominal prices of `loihi1`, SANA-FE's.

Definitions differ in two points, which are allowed for here: SANA-FE processes a message in the
step in which it is sent, so that Spikeport runs one step longer for messages and their events; and
its update does not count a neuron that is idle but for the synaptic current of the step before.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport import estimate_energy, load_profile, run_native
from spikeport.energy import Hops, Placement
from spikeport.network import (
    AnyPopulation,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Sparse,
    afferents,
)
from spikeport.runs import EventCounts, Trace

STEPS, SEED, LIMIT_S = 40, 11, 600
MESH_ROWS = 4
"""SANA-FE counts tiles along columns of so many."""
COMPARED = ("spikes", "packets", "synaptic events", "updates")
TOLERANCE = 1e-9


def main() -> None:
    """Print each network's counts and energy in both; exit with 1 if any differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", type=Path)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    rows = [compare(name, one, chosen.python) for name, one in made_networks().items()]
    for row in rows:
        counts = ", ".join(f"{key} {row['ours'][key]:,}" for key in COMPARED)
        verdict = "equal" if row["equal"] else f"DIFFERENT: {row['theirs']}"
        print(f"{row['name']:10} {counts}: {verdict}; energy off by {row['energy_error']:.1e}")
    if chosen.json:
        chosen.json.write_text(json.dumps({"networks": rows}, indent=2), encoding="utf-8")
    sys.exit(any(not row["equal"] or row["energy_error"] > TOLERANCE for row in rows))


def made_networks() -> dict[str, DeployedNetwork]:
    """Dense in a row, wide, recurrent, sparse and convolutional."""
    rng = np.random.default_rng(SEED)

    def weights(*shape: int) -> NDArray[np.int16]:
        found = 2 * rng.integers(-9, 20, shape)
        return np.where(found == 0, 2, found).astype(np.int16)

    def hidden(name: str, shape: tuple[int, ...], vth: int) -> Population:
        return Population(name, shape, vth=vth, decay_u=4096, decay_v=0)

    def network(shape: tuple[int, ...], populations: Any, connections: Any) -> DeployedNetwork:
        last = Readout(populations[-1].name)
        return DeployedNetwork((Input("x", shape),), populations, connections, (last,), STEPS)

    def dense(source: str, target: str, *shape: int) -> Dense:
        return Dense(source, target, weights(*shape), delay=1)

    a, b = hidden("a", (24,), 90), hidden("b", (10,), 70)
    return {
        "dense": network((30,), (a, b), (dense("x", "a", 24, 30), dense("a", "b", 10, 24))),
        "deep": network(
            (12,),
            tuple(hidden(name, (16,), 60) for name in "abcd"),
            (dense("x", "a", 16, 12), *(dense(*pair, 16, 16) for pair in ("ab", "bc", "cd"))),
        ),
        "recurrent": network(
            (30,), (a, b),
            (dense("x", "a", 24, 30), dense("a", "a", 24, 24), dense("a", "b", 10, 24)),
        ),
        "sparse": network(
            (30,), (a, b),
            (
                Sparse.from_matrix("x", "a", weights(24, 30) * _some(rng, 24, 30), delay=1),
                Sparse.from_matrix("a", "b", weights(10, 24) * _some(rng, 10, 24), delay=1),
            ),
        ),
        "conv": network(
            (2, 8, 8), (hidden("a", (4, 8, 8), 60), b),
            (
                Conv2d("x", "a", weights(4, 2, 3, 3), padding=(1, 1), delay=1),
                dense("a", "b", 10, 256),
            ),
        ),
    }  # fmt: skip


def compare(name: str, network: DeployedNetwork, python: Path) -> dict[str, Any]:
    """Counts and energy of one network in both."""
    ours, theirs = estimated(network), _sanafe(network, python)
    return {
        "name": name,
        "ours": ours,
        "theirs": theirs,
        "equal": all(ours[key] == theirs[key] for key in COMPARED),
        "energy_error": abs(ours["energy_pj"] / theirs["energy_pj"] - 1),
    }


def estimated(network: DeployedNetwork) -> dict[str, Any]:
    """Counts by SANA-FE's definitions, inputs included, and energy at its prices."""
    counts = _counts(network, _given(network))
    report = estimate_energy(
        network, counts, load_profile("loihi1"), placement=_placement(network, _tiles(network))
    )
    return {
        "spikes": counts.total("spikes") + counts.total("input_events"),
        "packets": counts.total("messages"),
        "synaptic events": counts.total("synaptic_events_all"),
        "updates": counts.total("updates") + counts.total("input_events"),
        "energy_pj": report.dynamic.nominal,
    }


def _given(network: DeployedNetwork) -> NDArray[Any]:
    drawn = np.random.default_rng(SEED).random((STEPS, *network.inputs[0].shape))
    return (drawn < 0.2).astype(int)


def _tiles(network: DeployedNetwork) -> dict[str, int]:
    """A tile for each input and population."""
    names = [part.name for part in network.inputs] + [part.name for part in network.populations]
    return {name: tile for tile, name in enumerate(names)}


def _counts(network: DeployedNetwork, given: NDArray[Any]) -> EventCounts:
    """Counts by SANA-FE's definitions."""
    run = run_native(network, given[:, None], record=("spikes", "u", "v"))
    late = np.concatenate([given, np.zeros_like(given[:1])])
    longer = run_native(network.replace(steps=STEPS + 1), late[:, None]).counts
    assert run.counts is not None
    assert run.trace is not None
    assert longer is not None
    return dataclasses.replace(
        run.counts,
        updates=_updates(network, given, run.trace),
        messages=longer.messages,
        synaptic_events=longer.synaptic_events,
        synaptic_events_all=longer.synaptic_events_all,
    )


def _updates(network: DeployedNetwork, given: NDArray[Any], trace: Trace) -> dict[str, int]:
    """Neurons and steps with a potential before it, or with an event in it."""
    sent = {name: spikes.reshape(STEPS, -1) for name, spikes in trace.spikes.items()}
    sent[network.inputs[0].name] = given.reshape(STEPS, -1)
    found = {}
    for part in network.populations:
        busy = np.zeros((STEPS, part.size), bool)
        busy[1:] |= trace.v[part.name].reshape(STEPS, -1)[:-1] != 0
        for connection in network.weighted_connections:
            if connection.target == part.name:
                reached = np.zeros((sent[connection.source].shape[1], part.size), int)
                for target, source, _ in _synapses(network, connection):
                    reached[source, target] = 1
                busy[1:] |= (sent[connection.source][:-1] @ reached) > 0
        found[part.name] = int(busy.sum())
    return found


def _synapses(network: DeployedNetwork, connection: Any) -> list[tuple[int, int, int]]:
    """(target, source, weight) of each stored synapse."""
    shape = network.sources[connection.source].shape
    size = network.by_name[connection.target].size
    return [(t, s, int(w)) for t in range(size) for s, w in afferents(connection, shape, t)]


def _placement(network: DeployedNetwork, places: dict[str, int]) -> Placement:
    def hops(source: str, target: str) -> Hops:
        (x, y), (to_x, to_y) = (divmod(places[name], MESH_ROWS) for name in (source, target))
        return Hops(east_west=abs(x - to_x), north_south=abs(y - to_y))

    return Placement(
        cores=[{part.name: 1.0} for part in network.populations],
        packets={part.name: 1.0 for part in network.weighted_connections},
        hops={part.name: hops(part.source, part.target) for part in network.weighted_connections},
    )


def _sanafe(network: DeployedNetwork, python: Path) -> dict[str, Any]:
    (part,) = network.inputs
    task = {
        "steps": STEPS,
        "input": {"name": part.name, "spikes": _given(network).reshape(STEPS, -1).T.tolist()},
        "populations": [
            {"name": one.name, "size": one.size, "threshold": _threshold(one)}
            for one in network.populations
        ],
        "tiles": _tiles(network),
        "connections": [
            {
                "source": one.source, "target": one.target, "storage": str(one.storage),
                "synapses": _synapses(network, one),
            }
            for one in network.weighted_connections
        ],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.json"
        path.write_text(json.dumps(task), encoding="utf-8")
        worker = Path(__file__).with_name("sanafe_worker.py")
        done = subprocess.run(
            [python, "-I", worker, path],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"SANA-FE failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _threshold(part: AnyPopulation) -> int:
    assert isinstance(part, Population)  # `made_networks` has no others
    return int(part.vth)


def _some(rng: np.random.Generator, *shape: int) -> NDArray[np.int16]:
    """Ones at a third of all places, and at least one for each neuron of the source."""
    chosen = rng.random(shape) < 0.3
    chosen[0] = True
    return chosen.astype(np.int16)


if __name__ == "__main__":
    main()
