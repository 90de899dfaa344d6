"""Networks with long delays and the chunks of a stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import (
    BiasInjection,
    Coding,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    ReadoutKind,
    Reset,
)
from spikeport.runs import RECORDABLE, EventCounts, Run

Arrays = Mapping[str, NDArray[Any]]


def chunk_of(network: DeployedNetwork, samples: Arrays, steps: range) -> dict[str, Any]:
    """The values of `steps`: (B, *shape) where they are static."""
    return {
        part.name: samples[part.name]
        if samples[part.name].ndim == 1 + len(part.shape)
        else samples[part.name][steps.start : steps.stop]
        for part in network.inputs
    }


def assert_one_long_run(
    runs: list[Run], whole: Run, network: DeployedNetwork, *, traced: bool = True
) -> None:
    assert [run.network_hash for run in runs] == [network.content_hash] * len(runs)
    assert sum(run.steps for run in runs) == whole.steps
    for readout in network.readouts:
        scores = [run.scores[readout.population] for run in runs]
        got = sum(scores) if readout.kind is ReadoutKind.SPIKES else scores[-1]
        np.testing.assert_array_equal(got, whole.scores[readout.population])
    for name, fired in whole.spike_counts.items():
        np.testing.assert_array_equal(sum(run.spike_counts[name] for run in runs), fired)
    assert whole.counts is not None
    for field in dataclasses.fields(EventCounts):
        expected = getattr(whole.counts, field.name)
        parts = [getattr(run.counts, field.name) for run in runs]
        if field.name == "samples":
            assert set(parts) == {expected}
        elif field.name == "steps":
            assert sum(parts) == expected
        else:
            assert {n: sum(part[n] for part in parts) for n in expected} == expected, field.name
    if not traced:
        return
    assert whole.trace is not None
    for variable in RECORDABLE:
        for name, values in getattr(whole.trace, variable).items():
            parts = [getattr(run.trace, variable)[name] for run in runs]
            np.testing.assert_array_equal(np.concatenate(parts), values)


def far_delays() -> tuple[DeployedNetwork, dict[str, NDArray[Any]]]:
    """Delays up to 62 from spikes, graded values and a population to itself and others."""
    rng = np.random.default_rng(8)

    def even(*shape: int) -> NDArray[np.int16]:
        return rng.integers(-60, 60, shape, np.int16) * np.int16(2)

    network = DeployedNetwork(
        inputs=(
            Input("events", (2, 3, 3)),
            Input("sound", (6,), Coding.GRADED, -100, 100),
            Input("drive", (12,), Coding.BIAS, -200, 200),
        ),
        populations=(
            Population("early", (12,), vth=300, decay_u=2048, decay_v=300, v_init=-500),
            Population("late", (2, 2, 2), vth=200, decay_v=100, reset=Reset.SUBTRACT),
        ),
        connections=(
            Dense("events", "early", even(12, 18), delay=62, name="after_62"),
            Dense("events", "early", even(12, 18), delay=3, name="after_3"),
            Dense("sound", "early", even(12, 6), delay=61, exponent=-5, name="after_61"),
            Dense("sound", "late", even(8, 6), exponent=-4, name="at_once"),
            Dense("early", "early", even(12, 12), delay=62, name="loop"),
            Dense("early", "late", even(8, 12), delay=40, name="forward"),
            Dense("late", "early", even(12, 8), delay=1, name="back"),
            BiasInjection("drive", "early"),
        ),
        readouts=(Readout("late"), Readout("early", ReadoutKind.MEMBRANE)),
        steps=4,
    )
    total, count = 150, 3
    events = rng.random((total, count, 2, 3, 3)) < 0.1
    samples: dict[str, NDArray[Any]] = {
        "events": events.astype(np.uint8),
        "sound": rng.integers(-100, 101, (total, count, 6)),
        "drive": rng.integers(-200, 201, (total, count, 12)),
    }
    return network, samples
