"""What an ANN computes and costs, beside the spiking network that it is converted to."""

from __future__ import annotations

import math
import time

import torch

from spikeport.runs import Run, Samples, check_float_samples, sample_count, select
from spikeport.trainer.measure.evaluation import samples_at_once
from spikeport.trainer.network import SpikingNetwork
from spikeport.trainer.network.layers import Map
from spikeport.version import __version__


@torch.no_grad()
def evaluate_ann(network: SpikingNetwork, samples: Samples) -> Run:
    """Run inference of an ANN: its scores (B, N) after one step, without spikes and events.

    Args:
        samples: float units, (B, *shape).

    Raises:
        InputError: samples do not fit the declared input of the network.
    """
    inputs = (network.input,)
    arrays = check_float_samples(inputs, network.steps, samples, static=True)
    count = sample_count(inputs, arrays)
    like, was_training = next(network.parameters()), network.training
    network.eval()
    started = time.perf_counter()
    scores, batch = [], samples_at_once(network)
    for first in range(0, count, batch):
        chosen = select(inputs, arrays, slice(first, first + batch))[network.input.name]
        scores.append(network.inference(torch.tensor(chosen).to(like)).cpu())
    network.train(was_training)
    return Run(
        backend="trainer",
        version=f"{__version__} (torch {torch.__version__})",
        network_hash="",
        samples=count,
        steps=network.steps,
        scores={network.output: torch.cat(scores).numpy()},
        spike_counts={},
        counts=None,
        trace=None,
        wall_s=time.perf_counter() - started,
    )


def macs_of(network: SpikingNetwork) -> int:
    """Multiply-accumulates (MACs) of a sample in an ANN, in its convolutions and linear layers.

    Each output reads all weights of its kernel or row, also at borders, as is counted for the
    deployed network (`Topology.macs`). Pools, sums and batch norms, which are folded, add none.
    """
    return sum(
        math.prod(network.shapes[node.name]) * math.prod(node.op.weight.shape[1:])
        for node in network.nodes
        if isinstance(node.op, Map)
    )
