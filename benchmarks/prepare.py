"""Child process: create a network and its input once, for every simulator to read.

`python -m benchmarks.prepare CASE ACTIVITY full|quick FOLDER`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibrate import calibrated
from benchmarks.networks import CASES, Case, random_spikes
from benchmarks.stored import store
from spikeport.backends.lava.schedule import schedule
from spikeport.network import DeployedNetwork, WeightedConnection, weighted_shape
from spikeport.runs import EventCounts
from spikeport.simulators import run_native

CALIBRATION_SAMPLES = 4


def prepare(name: str, activity: float, quick: bool, folder: Path) -> None:
    """Write the network of a case, calibrated to `activity`, and its input."""
    network, spikes = prepared(CASES[name], activity, quick=quick)
    counts = run_native(network, spikes).counts
    known = facts(network, counts) if counts else {}
    store(folder, network, spikes, {"title": CASES[name].title, **known})


def prepared(
    case: Case, activity: float, *, quick: bool = False
) -> tuple[DeployedNetwork, NDArray[np.uint8]]:
    """The network of a case, calibrated to `activity`, and its input."""
    network = case.build()
    few = random_spikes(network, CALIBRATION_SAMPLES, activity)
    network = calibrated(network, few, activity)
    return network, random_spikes(network, case.quick if quick else case.samples, activity)


def facts(network: DeployedNetwork, counts: EventCounts) -> dict[str, Any]:
    """The facts needed for the table; events and products are per sample and step."""
    sample_steps = counts.samples * counts.steps
    products = {c.name: _products(network, c) for c in network.weighted_connections}
    return {
        "steps": network.steps,
        "samples": counts.samples,
        "neurons": sum(p.size for p in network.populations),
        "spikes": dict(counts.spikes),
        "rate": {n: counts.spikes[n] / counts.visits[n] for n in counts.spikes},
        "events_per_sample_step": counts.total("synaptic_events") / sample_steps,
        "products_per_sample_step": sum(products.values()),
        "connections": {
            name: {"events": counts.synaptic_events[name] / sample_steps, "products": product}
            for name, product in products.items()
        },
        "lava_depth": schedule(network).last,
    }


def _products(network: DeployedNetwork, part: WeightedConnection) -> int:
    """Multiplications of a connection in one step if every (pooled) source were multiplied."""
    shape = weighted_shape(part, network.sources[part.source].shape)
    return int(part.reached(shape)[1].sum())


if __name__ == "__main__":
    prepare(sys.argv[1], float(sys.argv[2]), sys.argv[3] == "quick", Path(sys.argv[4]))
