"""A chain of populations, its inputs and probes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from spikeport.network import Dense, DeployedNetwork, Input, Population, Readout
from spikeport.runs import RECORDABLE, Probe


@st.composite
def probes_for(draw: st.DrawFn, network: DeployedNetwork) -> list[str | Probe]:
    record: list[str | Probe] = []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()) and draw(st.booleans()):
            record.append(draw(st.sampled_from(RECORDABLE)))
            continue
        part = draw(st.sampled_from(network.populations))
        variables = tuple(draw(st.lists(st.sampled_from(RECORDABLE), min_size=1, max_size=3)))
        index = st.integers(0, part.size - 1)
        neurons = draw(st.none() | st.lists(index, min_size=1, max_size=5).map(tuple))
        record.append(Probe(part.name, variables, neurons))
    return record


def chain() -> DeployedNetwork:
    """in (2, 3, 3) -> a (40,) -> b (2, 2, 2)."""
    rng = np.random.default_rng(1)

    def dense(source: str, target: str, shape: tuple[int, int]) -> Dense:
        return Dense(source, target, (2 * rng.integers(-60, 100, shape)).astype(np.int16))

    return DeployedNetwork(
        inputs=(Input("x", (2, 3, 3)),),
        populations=(Population("a", (40,), vth=90), Population("b", (2, 2, 2), vth=200)),
        connections=(dense("x", "a", (40, 18)), dense("a", "b", (8, 40))),
        readouts=(Readout("b"),),
        steps=6,
    )


def inputs(samples: int = 3) -> Any:
    return (np.random.default_rng(2).random((samples, 2, 3, 3)) < 0.5).astype(np.int32)
