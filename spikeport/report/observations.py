"""What a ladder keeps of the runs of its deployed network, for a report: bounded in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spikeport.network import AnyPopulation, DeployedNetwork
from spikeport.runs import RECORDABLE, Probe, Run

RECORDED = 1 << 22
"""Most neuron-steps of the recorded sample; of a larger network, evenly spaced neurons."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Spikes, u and v of one sample.

    Attributes:
        sample: index among the test samples.
        run: with a trace as chosen by `recording_probes`.
    """

    sample: int
    label: int
    run: Run


@dataclass(slots=True)
class Observations:
    """Results of the deployed network over all samples.

    Attributes:
        confusion: number of samples by (class, prediction).
        spikes: per population, spikes of each neuron.
    """

    samples: int = 0
    confusion: Counter[tuple[int, int]] = field(default_factory=Counter)
    spikes: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    recording: Recording | None = None

    def add(self, run: Run, labels: Sequence[int] | NDArray[np.int64]) -> None:
        """Add a run on further samples with these classes."""
        self.samples += run.samples
        pairs = zip(map(int, labels), map(int, run.predictions), strict=True)
        self.confusion.update(pairs)
        for name, counts in run.spike_counts.items():
            self.spikes[name] = self.spikes.get(name, 0) + counts


def recording_probes(network: DeployedNetwork) -> tuple[Probe, ...]:
    """What to record of one sample for a report: spikes, u and v of all neurons, or of some."""
    total = sum(part.size for part in network.populations) * network.steps
    return tuple(Probe(part.name, RECORDABLE, _some(part, total)) for part in network.populations)


def evenly_spaced(count: int, of: int) -> tuple[int, ...]:
    """`count` indices below `of`, evenly spaced; all if there are no more."""
    some = min(count, of)
    return tuple(k * of // some for k in range(some))


def _some(part: AnyPopulation, total: int) -> tuple[int, ...] | None:
    """The population's share of RECORDED, at least one neuron; None for all."""
    if total <= RECORDED:
        return None
    return evenly_spaced(max(1, part.size * RECORDED // total), part.size)
