"""Networks with single constructs that targets support or not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from spikeport.network import (
    BiasInjection,
    Coding,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Reset,
    WeightedConnection,
)


def dense(source: str, target: str, *shape: int, value: int = 2, **more: Any) -> Dense:
    return Dense(source, target, np.full(shape, value, np.int16), **more)


def plain(steps: int = 3, **population: Any) -> DeployedNetwork:
    """One population that every target supports natively, changed by `population`."""
    return DeployedNetwork(
        (Input("x", (5,)),),
        (Population("a", (4,), vth=9, **population),),
        (dense("x", "a", 4, 5),),
        (Readout("a"),),
        steps,
    )


def chain(length: int, **skip: Any) -> DeployedNetwork:
    """Populations in a row, and a connection from the first to the last."""
    names = [f"p{index:03d}" for index in range(length)]
    return DeployedNetwork(
        (Input("x", (1,)),),
        tuple(Population(name, (1,), vth=1) for name in names),
        (
            dense("x", names[0], 1, 1),
            *(dense(a, b, 1, 1) for a, b in pairwise(names)),
            dense(names[0], names[-1], 1, 1, name="skip", **skip),
        ),
        (Readout(names[-1]),),
        2,
    )


def everything() -> DeployedNetwork:
    kernel: list[WeightedConnection] = [
        Conv2d("x", "a", np.full((1, 1, 131, 1), 2, np.int16), exponent=-2, name="wide"),
        dense("a", "a", 20, 20, delay=1, name="loop"),
        dense("a", "b", 3, 20),
        dense("b", "a", 20, 3, delay=1, name="back"),
    ]
    return DeployedNetwork(
        (Input("x", (1, 140, 2), Coding.GRADED, -9, 9), Input("b_in", (3,), Coding.BIAS, -5, 5)),
        (
            Population("a", (1, 10, 2), vth=9, reset=Reset.SUBTRACT, v_init=7),
            Population("b", (3,), vth=9, decay_u=0),
        ),
        (*kernel, BiasInjection("b_in", "b")),
        (Readout("b"),),
        3,
    )
