"""Small deployed networks."""

from __future__ import annotations

import dataclasses
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
    ReadoutKind,
    Reset,
    Shape,
    SumPool2d,
    Synapse,
    WeightedConnection,
)
from spikeport.simulators.reference import synapses

ALL = ("spikes", "u", "v")


def digits_like() -> tuple[DeployedNetwork, NDArray[np.int64]]:
    """A convolutional network with a pool, recurrence and both resets, and 40 samples."""
    rng = np.random.default_rng(5)

    def even(*shape: int) -> NDArray[np.int16]:
        return rng.integers(-30, 30, shape, np.int16) * np.int16(2)

    network = DeployedNetwork(
        inputs=(Input("image", (1, 8, 8), Coding.GRADED, 0, 16),),
        populations=(
            Population("conv", (8, 8, 8), vth=500),
            Population("hidden", (20,), vth=200, decay_u=1024, decay_v=100, reset=Reset.SUBTRACT),
            Population("out", (10,), vth=100, reset=Reset.SUBTRACT),
        ),
        connections=(
            Conv2d("image", "conv", even(8, 1, 3, 3), padding=(1, 1)),
            Dense("conv", "hidden", even(20, 128), pool=SumPool2d((2, 2), (2, 2))),
            Dense("hidden", "hidden", even(20, 20), delay=1, exponent=-1, name="loop"),
            Dense("hidden", "out", even(10, 20)),
        ),
        readouts=(Readout("out"),),
        steps=12,
    )
    return network, rng.integers(0, 17, (40, 1, 8, 8))


def small(**changes: Any) -> DeployedNetwork:
    fields: dict[str, Any] = {
        "inputs": (Input("pixels", (1, 6, 6), Coding.GRADED, 0, 16),),
        "populations": (Population("hidden", (2, 6, 6), vth=9), Population("out", (3,), vth=5)),
        "connections": (
            Conv2d("pixels", "hidden", np.full((2, 1, 3, 3), 7), padding=(1, 1)),
            Dense("hidden", "out", np.full((3, 18), -2), pool=SumPool2d((2, 2), (2, 2))),
        ),
        "readouts": (Readout("out"),),
        "steps": 4,
    }
    return DeployedNetwork(**{**fields, **changes})


def small_network(seed: int = 0, steps: int = 4) -> DeployedNetwork:
    rng = np.random.default_rng(seed)
    layers = (("hidden", 24, "pixels", 64), ("output", 10, "hidden", 24))
    return DeployedNetwork(
        inputs=(Input("pixels", (1, 8, 8), Coding.GRADED, 0, 255),),
        populations=tuple(
            Population(
                name, (size,), vth=300, decay_u=4096, decay_v=128, bias=np.zeros(size, np.int32)
            )
            for name, size, _, _ in layers
        ),
        connections=tuple(
            Dense(source, name, (rng.integers(-60, 64, (size, width)) * 2).astype(np.int16))
            for name, size, source, width in layers
        ),
        readouts=(Readout("output", ReadoutKind.SPIKES),),
        steps=steps,
    )


def listed_synapses(connection: WeightedConnection, source: Shape) -> list[list[Synapse]]:
    """The target neuron and the weight of each stored synapse of each source neuron."""
    return [list(zip(*reached, strict=True)) for reached in synapses(connection, source)]


def with_turned_weights(network: DeployedNetwork, name: str) -> DeployedNetwork:
    """One connection's weights each moved on by one place; all stay on the grid."""
    turned = {
        c.name: dataclasses.replace(c, weight=np.roll(c.weight.ravel(), 1).reshape(c.weight.shape))
        for c in network.weighted_connections
        if c.name == name
    }
    return network.replace(connections=tuple(turned.get(c.name, c) for c in network.connections))
