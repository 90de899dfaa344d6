"""Quantization and deviation error of each layer of a converted network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeport.errors import ConversionError
from spikeport.network import Reset
from spikeport.simulators import NO_NEURONS, ErrorTally, LayerErrors
from spikeport.trainer.conversion.graph import activation_values
from spikeport.trainer.measure.evaluation import samples_at_once
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.trainer.network.graph import walk
from spikeport.trainer.network.passes import apply_stateless
from spikeport.trainer.neurons import LI, LIF, Neurons

SAMPLES = 64
"""Number of samples, the first ones, that errors are measured on by default."""
_BATCH = 16


def error_batches(
    network: SpikingNetwork, x: NDArray[np.float32], steps: int
) -> tuple[Tensor, ...]:
    """The first `SAMPLES` of x (B, *shape) in batches whose spikes of T steps fit in memory."""
    size = min(_BATCH, samples_at_once(network, steps))
    return torch.split(torch.tensor(x[:SAMPLES], dtype=torch.float32), size)


@torch.no_grad()
def conversion_errors(
    network: SpikingNetwork,
    batches: Sequence[Tensor],
    steps: Sequence[int],
    ann: SpikingNetwork | None = None,
) -> tuple[LayerErrors, ...]:
    """The errors of every layer after each number of steps; see `simulators.if_errors`.

    Args:
        network: of integrate-and-fire neurons that subtract, such as that of `convert`; its own T
            is not used.
        batches: samples, (B, *shape) each.
        steps: numbers of steps T.
        ann: the ANN that it was converted from: its activations of the same names are the
            reference of the total error.

    Raises:
        InputError: neurons leak or reset to zero, for which the equations do not hold, or there are
            none; or an activation has another shape than the layer of its name.
    """
    steps = sorted(set(steps))
    tallies = {
        node.name: _tally(node, node.op, steps)
        for node in network.nodes
        if isinstance(node.op, LIF | LI)
    }
    if not tallies:
        raise ConversionError(NO_NEURONS)
    network.eval()
    for x in batches:
        wanted = {} if ann is None else activation_values(ann.eval(), x)
        _add(network, x, steps[-1], tallies, wanted)
    return tuple(each for tally in tallies.values() for each in tally.errors())


def _tally(node: Node, op: LIF | LI, steps: Sequence[int]) -> ErrorTally:
    if isinstance(op, LI):
        raise ConversionError(
            f"layer '{node.name}': is a leaky readout (LI), must be linear: conversion errors are "
            "those of networks whose scores are a mean over time"
        )
    for field, found, needed in (("decay", op.decay, 1.0), ("reset", op.reset, Reset.SUBTRACT)):
        if found != needed:
            raise ConversionError(
                f"layer '{node.name}': {field} is {found}, must be {needed}: conversion errors are "
                "those of integrate-and-fire neurons that subtract"
            )
    return ErrorTally(node.name, steps, op.v_threshold, op.v_init)


def _add(
    network: SpikingNetwork,
    x: Tensor,
    steps: int,
    tallies: dict[str, ErrorTally],
    wanted: dict[str, Tensor],
) -> None:
    def apply(node: Node, value: Tensor) -> Tensor:
        if not isinstance(node.op, LIF):
            return apply_stateless(node, value)
        spikes = Neurons(node.op, steps, record=False).advance(value, steps)
        reference = wanted.get(node.name)
        tallies[node.name].add(
            value.numpy(), spikes.numpy(), None if reference is None else reference.numpy()
        )
        return spikes

    walk(network.nodes, {network.input.name: x[None]}, apply, ())
