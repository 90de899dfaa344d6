"""Runs made of chosen spikes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeport.runs import EventCounts, Run, Trace

SHAPES: dict[str, tuple[int, ...]] = {"conv": (2, 3, 3), "out": (4,)}

STEPS = 6


def make_run(seed: int = 0, samples: int = 8, backend: str = "native") -> Run:
    rng = np.random.default_rng(seed)
    spikes = {
        name: (rng.random((STEPS, 8, *shape)) < 0.3).astype(np.uint8)[:, :samples]
        for name, shape in SHAPES.items()
    }
    return from_spikes(spikes, backend=backend)


def from_spikes(spikes: dict[str, NDArray[np.uint8]], backend: str = "native") -> Run:
    samples = spikes["out"].shape[1]
    totals = {name: int(s.sum()) for name, s in spikes.items()}
    counts = EventCounts(
        samples=samples, steps=STEPS, spikes=totals, visits={"conv": 1}, updates={"conv": 1},
        input_events={}, messages={"conv_to_out": totals["conv"]},
        synaptic_events={"conv_to_out": 4 * totals["conv"]},
        synaptic_events_all={"conv_to_out": 4 * totals["conv"]},
    )  # fmt: skip
    return Run(
        backend=backend, version="1", network_hash="ab" * 32, samples=samples, steps=STEPS,
        scores={"out": spikes["out"].sum(axis=0, dtype=np.int32)},
        spike_counts={n: s.sum(axis=(0, 1), dtype=np.int64) for n, s in spikes.items()},
        counts=counts, trace=Trace(spikes=spikes), wall_s=0.5,
    )  # fmt: skip
