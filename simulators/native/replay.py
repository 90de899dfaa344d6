"""Check that spikes recorded by another simulator equal those computed from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import CheckFailedError, InputError
from spikeport.network import DeployedNetwork

Spikes = Mapping[str, NDArray[np.uint8]]
"""Per population (T, B, *shape), 0 or 1."""


def check_recorded(network: DeployedNetwork, samples: int, recorded: Spikes) -> Spikes:
    """Check recorded spikes and return them as uint8, one array per population.

    Raises:
        InputError: a population is missing or unknown, an array has a wrong shape or other values.
    """
    for name in recorded:
        if name not in network.by_name:
            raise InputError(f"recorded spikes: '{name}' is not a population of the network")
    for part in network.populations:
        if part.name not in recorded:
            raise InputError(f"recorded spikes: population '{part.name}' is missing")
        array, shape = recorded[part.name], (network.steps, samples, *part.shape)
        if array.shape != shape:
            raise InputError(
                f"recorded spikes: '{part.name}' has shape {array.shape}, must be {shape}"
            )
        if not np.isin(array, (0, 1)).all():
            raise InputError(f"recorded spikes: '{part.name}' has values other than 0 and 1")
    return {name: array.astype(np.uint8, copy=False) for name, array in recorded.items()}


def check_replayed(network: DeployedNetwork, computed: Spikes, recorded: Spikes) -> None:
    """Check that every population computed exactly the spikes that were recorded for it.

    Since connections carried the recorded spikes, a population that differs is itself wrong.

    Raises:
        CheckFailedError: names the first population in evaluation order that differs.
    """
    for name in network.order:
        differs = computed[name] != recorded[name]
        if differs.any():
            step, sample, *neuron = (int(i) for i in np.argwhere(differs)[0])
            at = (step, sample, *neuron)
            raise CheckFailedError(
                f"population '{name}': recorded spikes differ from computed ones in "
                f"{int(differs.sum())} of {differs.size} places, first at logical step {step} "
                f"(from 0) of sample {sample}, neuron {tuple(neuron)}: "
                f"recorded {int(recorded[name][at])}, computed {int(computed[name][at])}"
            )
