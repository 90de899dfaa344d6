"""Choose thresholds so that every population of a network fires at a given rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from spikeport.network import LOIHI, DeployedNetwork, Population, Readout, require_lif
from spikeport.simulators import run_native

Spikes = NDArray[np.uint8]


def calibrated(network: DeployedNetwork, spikes: Spikes, rate: float) -> DeployedNetwork:
    """`network` with thresholds at which each population fires at about `rate`.

    Populations are handled in order, so that the inputs of each are already calibrated.

    Args:
        spikes: input (T, B, *shape), a few samples.
        rate: spikes per neuron and step.
    """
    done: list[Population] = []
    for name in network.order:
        part = require_lif(network.by_name[name])
        alone = all(c.source != name for c in network.incoming(name))
        rate_of = _from_current if alone else _from_runs
        vth = _least_threshold(rate_of(network, done, part, spikes), rate)
        done.append(dataclasses.replace(part, vth=vth))
    return network.replace(populations=tuple(done))


def _from_current(
    network: DeployedNetwork, done: Iterable[Population], part: Population, spikes: Spikes
) -> Callable[[int], float]:
    """Rate by threshold, from the input of `part`: its v if it has no memory and never fires."""
    probe = dataclasses.replace(part, vth=LOIHI.vth_max, decay_v=LOIHI.decay_unity)
    trace = run_native(_up_to(network, done, probe), spikes, record=("v",), threads=1).trace
    received = trace.v[part.name] >> LOIHI.activation_shift if trace else np.zeros(0)
    keep = np.float32(1 - part.decay_v / LOIHI.decay_unity)

    def rate(vth: int) -> float:
        v = np.zeros(received.shape[1:], np.float32)
        fired = 0
        for current in received:
            v = keep * v + current.astype(np.float32)
            spike = v > vth
            fired += int(spike.sum())
            v[spike] = 0
        return fired / received.size

    return rate


def _from_runs(
    network: DeployedNetwork, done: Iterable[Population], part: Population, spikes: Spikes
) -> Callable[[int], float]:
    """Rate by threshold of a population with feedback to itself: one run for each threshold."""

    def rate(vth: int) -> float:
        tried = _up_to(network, done, dataclasses.replace(part, vth=vth))
        counts = run_native(tried, spikes, threads=1).counts
        return counts.spikes[part.name] / counts.visits[part.name] if counts else 0.0

    return rate


def _up_to(
    network: DeployedNetwork, done: Iterable[Population], part: Population
) -> DeployedNetwork:
    """The network of the calibrated populations and `part`, which is read out."""
    populations = (*done, part)
    chosen = {p.name for p in network.inputs} | {p.name for p in populations}
    connections = tuple(c for c in network.connections if {c.source, c.target} <= chosen)
    return network.replace(
        populations=populations, connections=connections, readouts=(Readout(part.name),)
    )


def _least_threshold(rate_of: Callable[[int], float], rate: float) -> int:
    """The lowest threshold at which the rate does not exceed `rate`."""
    low, high = 0, LOIHI.vth_max
    while low < high:
        middle = (low + high) // 2
        if rate_of(middle) > rate:
            low = middle + 1
        else:
            high = middle
    return low
