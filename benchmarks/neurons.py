"""Child process: neuron steps per second of each compiled kind, with the state in L1.

What differs is what the step has to compute: whether u has a memory, whether v keeps a multiple of
1/256, whether neurons are refractory, ATRLIF.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import LOIHI, AnyPopulation, ATRLIFPopulation, Population
from spikeport.simulators.native import neurons
from spikeport.simulators.native.compiled import part

SIZE, STEPS = 1024, 500
TURNS = 40
"""Of a fraction of a millisecond each, so that the best is hardly interrupted."""
KINDS: dict[str, AnyPopulation] = {
    "neurons: no memory of u, v keeps k/256": Population("p", (SIZE,), vth=100, decay_v=1024),
    "neurons: no memory of u": Population("p", (SIZE,), vth=100, decay_v=1001),
    "neurons: v keeps k/256": Population("p", (SIZE,), vth=100, decay_u=999, decay_v=1024),
    "neurons: any decays": Population("p", (SIZE,), vth=100, decay_u=999, decay_v=1001),
    "neurons: refractory": Population("p", (SIZE,), vth=100, decay_u=999, refractory=2),
    "neurons: ATRLIF": ATRLIFPopulation(
        "p", (SIZE,), 100, 10, decay_u=999, decay_theta=99, decay_r=98
    ),
}


def advance(variant: tuple[bool, ...]) -> Callable[..., int]:
    """The loop over all neurons, some steps."""

    def run(
        state: Any, dynamics: Any, received: NDArray[np.int32], fired: NDArray[np.uint8], steps: int
    ) -> int:
        touched = 0
        for _ in range(steps):
            touched += neurons.neuron_loop(
                *(state, dynamics, variant, False), *(0, 0, SIZE), received, received, fired
            )
        return touched

    return part(run)


def rates(repeats: int) -> dict[str, float]:
    """Steps per second of processor time by kind, the best of the repeats."""
    received = np.random.default_rng(0).integers(-100, 120, SIZE).astype(np.int32)
    fired = np.empty(SIZE, np.uint8)
    found = {}
    for name, neuron in KINDS.items():
        model, registers = neurons.compiled_model(neuron), neuron.registers(LOIHI)
        state = model.state(
            *(np.full((1, SIZE if r.kept else 0), r.initial, r.variable.dtype) for r in registers)
        )
        run = partial(advance(model.variant(neuron, True)), state, model.dynamics(neuron))
        found[name] = (
            SIZE * STEPS / best_seconds(partial(run, received, fired, STEPS), TURNS * repeats)
        )
    return found


def best_seconds(run: Callable[[], object], repeats: int) -> float:
    """The least processor time of the repeats, after an untimed first call; for one thread."""
    run()
    found = []
    for _ in range(repeats):
        before = time.process_time()
        run()
        found.append(time.process_time() - before)
    return min(found)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(rates(int(sys.argv[2]))) + "\n")
