"""Firing rates of every population over all samples, and spikes of one sample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spikeport.network import DeployedNetwork
from spikeport.report.figures import Raster, steps_text
from spikeport.report.observations import Observations, Recording, evenly_spaced
from spikeport.report.section import Section, Topic, section_of

ROWS = 64
"""Most neurons of a population in a raster."""
STEPS = 2000
"""Most steps in a raster."""
CELLS = 100_000
"""Most neuron-steps in all rasters together; at least one neuron of each population is shown."""


def activity_sections(network: DeployedNetwork, observed: Observations) -> Iterator[Section]:
    """Firing rates, and rasters if a sample was recorded."""
    spiking = [network.by_name[name] for name in network.order if name in observed.spikes]
    if spiking and observed.samples:
        rows = []
        for part in spiking:
            rates = observed.spikes[part.name].ravel() / (observed.samples * network.steps)
            silent = int((rates == 0).sum())
            rows.append(
                {
                    "population": part.name,
                    "neurons": part.size,
                    "spikes per neuron and step": float(rates.mean()),
                    "busiest neuron": float(rates.max()),
                    "never fire": silent,
                    "never fire, %": round(100 * silent / part.size, 1),
                }
            )
        yield section_of(
            "Firing rates",
            rows,
            f"Of the deployed network, over {observed.samples:,} samples of {network.steps} steps. "
            "A rate of 1 is a spike at every step. A neuron that never fires costs space and "
            "carries nothing.",
            topic=Topic.ACTIVITY,
        )
    if observed.recording is not None:
        yield _rasters(network, observed.recording)


def _rasters(network: DeployedNetwork, recording: Recording) -> Section:
    steps = min(network.steps, STEPS)
    rows = max(1, min(ROWS, CELLS // (steps * max(len(network.populations), 1))))
    trace = recording.run.trace
    figures = []
    for part in (network.by_name[name] for name in network.order):
        spikes = trace.spikes[part.name][:steps, 0].reshape(steps, -1) if trace else None
        if spikes is None:
            continue
        chosen = trace.neurons.get(("spikes", part.name)) if trace else None
        flat = np.arange(part.size) if chosen is None else chosen.flat
        some = evenly_spaced(rows, len(flat))
        figures.append(
            Raster(
                title=part.name,
                neurons=tuple(int(flat[k]) for k in some),
                of_neurons=part.size,
                steps=steps,
                of_steps=network.steps,
                spikes=tuple(steps_text(np.flatnonzero(spikes[:, k]).tolist()) for k in some),
            )
        )
    return section_of(
        "Spikes of one sample",
        (),
        f"{describe(recording)} One row per neuron, time to the right; of larger populations, "
        "evenly spaced neurons.",
        topic=Topic.ACTIVITY,
        figures=figures,
    )


def describe(recording: Recording) -> str:
    """Which sample was recorded, and what was predicted."""
    predicted = int(recording.run.predictions[0])
    return (
        f"Test sample {recording.sample} of class {recording.label}, predicted as {predicted}, on "
        f"{recording.run.backend}."
    )
