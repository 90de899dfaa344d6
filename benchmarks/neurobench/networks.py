"""Networks whose counts are compared: one for each case in which definitions might differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import (
    Coding,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Sparse,
    SumPool2d,
)

STEPS, SAMPLES, SEED, ACTIVITY = 12, 5, 23, 0.2
RLEAKY = "rleaky"
"""Name of the recurrent network whose neurons are snnTorch's `RLeaky`."""
GRADED = 7
"""Largest value of a graded input."""


def made_networks() -> dict[str, DeployedNetwork]:
    """Random networks, by name.

    `pool` and `composed` are the same network in two forms, `recurrent` and RLEAKY in two layouts.
    """
    rng = np.random.default_rng(SEED)

    def weights(*shape: int, zeros: float = 0.1) -> NDArray[np.int16]:
        found = 2 * rng.integers(-9, 20, shape) * (rng.random(shape) >= zeros)
        return found.astype(np.int16)

    def hidden(name: str, *shape: int, vth: int, **options: Any) -> Population:
        return Population(name, shape, vth=vth, **options)

    def network(shape: tuple[int, ...], populations: Any, connections: Any) -> DeployedNetwork:
        last = Readout(populations[-1].name)
        return DeployedNetwork((Input("x", shape),), populations, connections, (last,), STEPS)

    a, b = hidden("a", 24, vth=90), hidden("b", 10, vth=70)
    flat = (Dense("x", "a", weights(24, 30)), Dense("a", "b", weights(10, 24)))
    biased = rng.integers(-40, 60, 24).astype(np.int32)
    kernel, last = weights(6, 4, 3, 3), weights(10, 6 * 4 * 4)
    first = (Conv2d("x", "a", weights(4, 2, 3, 3), padding=(1, 1)), hidden("a", 4, 16, 16, vth=60))
    recurrent = network(
        (30,),
        (hidden("a", 24, vth=300), b),
        (*flat, Dense("a", "a", weights(24, 24), delay=1)),
    )
    return {
        "mlp": network(
            (30,),
            (a, hidden("c", 24, vth=60, bias=biased), b),
            (
                flat[0],
                Dense("a", "c", weights(24, 24)),
                Dense("c", "b", weights(10, 24)),
            ),
        ),
        "conv": network(
            (2, 11, 11),
            (
                hidden("a", 4, 6, 6, vth=60),
                hidden("c", 8, 6, 6, vth=60),
                hidden("d", 4, 4, 4, vth=60),
                b,
            ),
            (
                Conv2d("x", "a", weights(4, 2, 3, 3), stride=(2, 2), padding=(1, 1)),
                Conv2d("a", "c", weights(8, 2, 3, 3), padding=(1, 1), groups=2),
                Conv2d("c", "d", weights(4, 8, 2, 2), dilation=(2, 2)),
                Dense("d", "b", weights(10, 64)),
            ),
        ),
        "pool": network(
            (2, 16, 16),
            (first[1], hidden("c", 6, 8, 8, vth=90), b),
            (
                first[0],
                Conv2d("a", "c", kernel, padding=(1, 1), pool=SumPool2d((2, 2), (2, 2))),
                Dense("c", "b", last, pool=SumPool2d((2, 2), (2, 2))),
            ),
        ),
        "composed": network(
            (2, 16, 16),
            (first[1], hidden("c", 6, 8, 8, vth=90), b),
            (
                first[0],
                Conv2d("a", "c", _widened(kernel), stride=(2, 2), padding=(2, 2)),
                Dense("c", "b", _widened(last.reshape(10, 6, 4, 4)).reshape(10, -1)),
            ),
        ),
        "recurrent": recurrent,
        RLEAKY: recurrent,
        "pruned": network(
            (30,),
            (a, b),
            (
                Dense("x", "a", weights(24, 30, zeros=0.8)),
                Sparse.from_matrix("a", "b", weights(10, 24, zeros=0.7)),
            ),
        ),
        "graded": DeployedNetwork(
            (Input("x", (30,), Coding.GRADED, -GRADED, GRADED),),
            (hidden("a", 24, vth=400), b),
            flat,
            (Readout("b"),),
            STEPS,
        ),
        "leaky": network(
            (30,),
            (
                hidden("a", 24, vth=90, decay_u=1024, decay_v=400, refractory=2),
                hidden("b", 10, vth=70, decay_v=900, reset="subtract"),
            ),
            (flat[0], Dense("a", "b", flat[1].weight, delay=2)),
        ),
    }


def given_samples(network: DeployedNetwork, samples: int, activity: float) -> dict[str, Any]:
    """Random values for each input: spikes per step, or graded values for the whole sample."""
    rng = np.random.default_rng(SEED)
    found = {}
    for part in network.inputs:
        lead = (samples,) if part.coding is not Coding.SPIKES else (network.steps, samples)
        shape = (*lead, *part.shape)
        chosen = rng.random(shape) < activity
        low, high = (part.low, part.high) if part.graded else (1, 1)
        found[part.name] = np.where(chosen, rng.integers(low, high, shape, endpoint=True), 0)
    return found


def _widened(weight: NDArray[np.int16]) -> NDArray[np.int16]:
    """A kernel behind a 2x2 sum-pool as one kernel of stride 2: each weight four times."""
    return weight.repeat(2, axis=-2).repeat(2, axis=-1)
