"""What a network in training reaches and spends: accuracy, and an estimate of its energy."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikeport.energy import estimate_energy
from spikeport.errors import InputError
from spikeport.network import Coding
from spikeport.profile import load_profile
from spikeport.runs import EventCounts
from spikeport.trainer.augment import Augment
from spikeport.trainer.batches import default_workers, slices
from spikeport.trainer.data import Indices, SampleArray
from spikeport.trainer.deployment import deployable
from spikeport.trainer.evaluation import evaluate, routes
from spikeport.trainer.layers import Map
from spikeport.trainer.lif import LIF
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.ranks import share, sum_over_ranks
from spikeport.wiring import Link, SynapseKind, Wiring

BATCH = 256
PROBE = 32
"""Samples that the energy estimate is made from."""
PROFILE = "loihi1"


def measure_accuracy(
    network: SpikingNetwork, x: SampleArray, y: NDArray[np.int64], chosen: Indices | None = None
) -> float:
    """Share of the samples (of those `chosen`) that inference classifies correctly.

    Memory does not grow with their number. Processes share the work.
    """
    chosen = np.arange(len(x)) if chosen is None else chosen
    device = next(network.parameters()).device
    rank, ranks = share()
    was_training = network.training
    network.eval()
    hits = torch.zeros((), dtype=torch.int64, device=device)
    workers = default_workers(x, Augment(), torch.get_num_threads())
    for samples, labels in slices(x, y, chosen[rank::ranks], BATCH, workers):
        scores = network(samples.to(device))
        hits += (scores.argmax(1) == labels.to(device)).sum()
    network.train(was_training)
    return int(sum_over_ranks(hits)) / len(chosen)


def energy_uj(network: SpikingNetwork, samples: NDArray[np.float32]) -> float | None:
    """Dynamic energy per sample on Loihi 1, nominal prices, µJ; None where it cannot be counted.

    Args:
        samples: (B, *shape) or (T, B, *shape); some dozens give two digits.
    """
    network = copy.deepcopy(network).cpu() if _on_accelerator(network) else network
    try:
        network = deployable(network)
        counts = evaluate(network, samples).counts
        assert counts is not None  # evaluate always counts
        wired = _wiring(network)
    except InputError:  # no chip can run it
        return None
    report = estimate_energy(wired, _with_readout(network, counts), load_profile(PROFILE))
    return report.dynamic.nominal / counts.samples / 1e6


def _on_accelerator(network: SpikingNetwork) -> bool:
    return next(network.parameters()).device.type != "cpu"


def _wiring(network: SpikingNetwork) -> Wiring:
    """Connections between neurons under the names that `evaluate` counts by."""
    sources = {
        route.connection.name: source
        for source, found in routes(network).items()
        for route in found
    }
    targets: dict[str, str] = {}
    for node in reversed(network.nodes):
        ends = node.name if isinstance(node.op, LIF) else targets.get(node.name, network.output)
        targets |= dict.fromkeys(node.inputs, ends)
    links = {
        node.name: Link(
            SynapseKind.DENSE if isinstance(node.op, nn.Linear) else SynapseKind.CONV,
            sources[node.name],
            targets.get(node.name, network.output),
        )
        for node in network.nodes
        if isinstance(node.op, Map)
    }
    graded = (network.input.name,) if network.input.coding is Coding.GRADED else ()
    return Wiring(links, graded_inputs=graded)


def _with_readout(network: SpikingNetwork, counts: EventCounts) -> EventCounts:
    """Counts with the neurons that a linear readout becomes on the chip: they never rest."""
    if network.output in counts.visits:
        return counts
    size = counts.samples * counts.steps * math.prod(network.shapes[network.output])
    return dataclasses.replace(
        counts,
        spikes={**counts.spikes, network.output: 0},
        visits={**counts.visits, network.output: size},
        updates={**counts.updates, network.output: size},
    )
