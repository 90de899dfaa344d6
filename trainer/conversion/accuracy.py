"""Accuracy of a spiking network after several numbers of steps, from one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeport.runs import check_labels
from spikeport.trainer.measure.evaluation import samples_at_once
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.network.graph import walk
from spikeport.trainer.network.passes import apply_stateless
from spikeport.trainer.neurons import LIF, Neurons


@torch.no_grad()
def accuracy_by_steps(
    network: SpikingNetwork,
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    steps: Sequence[int],
    batch: int | None = None,
) -> Mapping[int, float]:
    """Share of samples that are classified correctly after each number of steps.

    The scores after T steps are the mean over these of a linear readout; the network is run once,
    for the largest number.

    Args:
        network: of LIF neurons and a linear readout; its own T is not used.
        x, y: samples (B, *shape) and their labels.
        batch: samples at once; by default, so that a layer's values stay in cache.

    Raises:
        InputError: there is a label without an output.
    """
    check_labels("accuracy", int(y.max()), network.classes)
    wanted = sorted(set(steps))
    hits = dict.fromkeys(wanted, 0)
    size = batch or samples_at_once(network, wanted[-1])
    network.eval()
    for first in range(0, len(x), size):
        samples = torch.tensor(x[first : first + size])
        labels = torch.tensor(y[first : first + size])
        out = _readout(network, samples, wanted[-1])
        sums = out.expand(wanted[-1], *out.shape[1:]).cumsum(0)
        for count in wanted:
            hits[count] += int((sums[count - 1].flatten(1).argmax(1) == labels).sum())
    return {count: hits[count] / len(x) for count in wanted}


def _readout(network: SpikingNetwork, x: Tensor, steps: int) -> Tensor:
    """Output of the last layer, (T, B, ...)."""

    def apply(node: Node, value: Tensor) -> Tensor:
        if isinstance(node.op, LIF):
            return Neurons(node.op, steps, record=False).advance(value, steps)
        return apply_stateless(node, value)

    return walk(network.nodes, {network.input.name: x[None]}, apply, {network.output})[
        network.output
    ]
