"""Random samples, to quantize a network whose data are not at hand."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import Coding, Input

MOST, LEAST = 64, 8
"""Number of samples, fewer if they are large."""
VALUES = 2**24
RATES = (0.01, 0.3)
"""Spikes per input neuron and step, from the first sample to the last."""


def random_samples(inputs: Sequence[Input], steps: int) -> dict[str, NDArray[Any]]:
    """Samples for each input, in float units and always the same.

    Spiking inputs fire at random, (T, B, *shape), each sample at a rate of its own; graded inputs
    and biases have values from everywhere in their declared range, (B, *shape).
    """
    rng = np.random.default_rng(0)
    size = sum(prod(part.shape) * (steps if _fires(part) else 1) for part in inputs)
    count = min(max(VALUES // size, LEAST), MOST)
    rates = np.geomspace(*RATES, count)
    samples: dict[str, NDArray[Any]] = {}
    for part in inputs:
        if _fires(part):
            chance = rates.reshape(-1, *(1,) * len(part.shape))
            fired = [rng.random((count, *part.shape)) < chance for _ in range(steps)]
            samples[part.name] = np.stack(fired).astype(np.float32)
        else:
            values = rng.integers(part.low, part.high + 1, (count, *part.shape))
            samples[part.name] = values / part.scale
    return samples


def _fires(part: Input) -> bool:
    return part.coding is Coding.SPIKES
