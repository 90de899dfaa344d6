"""Accuracy and estimated energy of a network in training."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray

from spikeport.energy import EnergyReport, HardwareProfile, estimate_energy
from spikeport.errors import InputError
from spikeport.runs import EventCounts, check_float_samples, check_labels, encode_samples
from spikeport.simulators import run_native
from spikeport.trainer.chip import AnyNetwork, QATNetwork
from spikeport.trainer.data import Augment
from spikeport.trainer.data.batches import default_workers, slices
from spikeport.trainer.data.dataset import Indices, SampleArray
from spikeport.trainer.measure.evaluation import evaluate, samples_at_once
from spikeport.trainer.measure.topology import float_topology
from spikeport.trainer.network import SpikingNetwork, deployable
from spikeport.trainer.ranks import share, sum_over_ranks

BATCH = 256
PROBE = 32
"""Number of training samples used to estimate the energy of an epoch."""
SPREAD = 1024
"""Maximum number of test samples used to count the events of a trained network."""


def measure_accuracy(
    network: AnyNetwork, x: SampleArray, y: NDArray[np.int64], chosen: Indices | None = None
) -> float:
    """Share of the samples (or of those `chosen`) that inference classifies correctly.

    Memory does not grow with their number. Processes share the work.

    Raises:
        InputError: there is a label without an output.
    """
    chosen = np.arange(len(x)) if chosen is None else chosen
    check_labels("accuracy", int(y[chosen].max()), network.classes)
    device = next(network.parameters()).device
    rank, ranks = share()
    was_training = network.training
    network.eval()
    hits = torch.zeros((), dtype=torch.int64, device=device)
    workers = default_workers(x, Augment(), torch.get_num_threads())
    batch = samples_at_once(network) if isinstance(network, SpikingNetwork) else BATCH
    for samples, labels in slices(x, y, chosen[rank::ranks], batch, workers):
        scores = network(samples.to(device))
        hits += (scores.argmax(1) == labels.to(device)).sum()
    network.train(was_training)
    return int(sum_over_ranks(hits)) / len(chosen)


def energy_uj(
    network: AnyNetwork, samples: NDArray[np.float32], profile: HardwareProfile
) -> float | None:
    """Dynamic energy per sample at nominal prices, µJ; None if it cannot be counted."""
    try:
        _, report = count_and_price(network, samples, profile)
    except InputError:  # no chip can run this network
        return None
    return report.dynamic.nominal / report.samples / 1e6


def count_and_price(
    network: AnyNetwork, samples: NDArray[np.float32], profile: HardwareProfile
) -> tuple[EventCounts, EnergyReport]:
    """Events of inference, including those of a linear readout's neurons, and their energy.

    Args:
        samples: (B, *shape) or (T, B, *shape); a few dozen give two digits.

    Raises:
        InputError: no chip can run the network.
    """
    network = copy.deepcopy(network).cpu() if _on_accelerator(network) else network
    if isinstance(network, QATNetwork):
        deployed = network.deployed()
        counts = run_native(
            deployed, encode_samples(deployed.inputs, deployed.steps, samples, static=True)
        ).counts
        assert counts is not None  # native always counts
        return counts, estimate_energy(deployed, counts, profile)
    network = deployable(network)
    known = check_float_samples((network.input,), network.steps, samples, static=True)
    counts = evaluate(network, known).counts
    assert counts is not None  # evaluate always counts
    counts = _with_readout(network, counts)
    return counts, estimate_energy(float_topology(network), counts, profile)


def spread(x: SampleArray, count: int) -> NDArray[np.float32]:
    """At most `count` samples, evenly spaced from first to last; (B, *shape) or (T, B, *shape)."""
    chosen = np.linspace(0, len(x) - 1, min(count, len(x))).round().astype(np.int64)
    return x[chosen]


def _on_accelerator(network: AnyNetwork) -> bool:
    return next(network.parameters()).device.type != "cpu"


def _with_readout(network: SpikingNetwork, counts: EventCounts) -> EventCounts:
    """Add the neurons that a linear readout becomes on the chip, which are always updated."""
    if network.output in counts.visits:
        return counts
    size = counts.samples * counts.steps * math.prod(network.shapes[network.output])
    return dataclasses.replace(
        counts,
        spikes={**counts.spikes, network.output: 0},
        visits={**counts.visits, network.output: size},
        updates={**counts.updates, network.output: size},
    )
