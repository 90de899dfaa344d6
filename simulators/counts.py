"""Exact event counts from the number of messages that each source neuron delivered.

A message is one non-zero value (a spike or a graded payload) of one source neuron in one step, or
each spike of a value that is sent as binary digits. It
reaches the same synapses every time, so synaptic events are

    sum over source neurons of (messages delivered) * (synapses reached)

in int64. Source of the definitions: `spikeport.runs.run.EventCounts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import DeployedNetwork, Input, PerNeuron
from spikeport.runs import EventScope


def counted_parts(network: DeployedNetwork) -> Mapping[EventScope, list[str]]:
    """Names of the parts that events are counted for; bias injections send no messages."""
    return {
        EventScope.INPUT: [part.name for part in network.inputs],
        EventScope.POPULATION: [part.name for part in network.populations],
        EventScope.CONNECTION: [part.name for part in network.weighted_connections],
    }


def input_messages(part: Input, values: NDArray[Any], steps: int, delay: int = 0) -> PerNeuron:
    """Messages per neuron, over all samples, that arrive within T after `delay` steps.

    Args:
        values: checked samples, (B, *shape) presented at every step or (T, B, *shape).
    """
    arriving = max(steps - delay, 0)
    if values.ndim == 1 + len(part.shape):
        presented: PerNeuron = part.message_counts(values).sum(axis=0, dtype=np.int64)
        return presented * arriving
    sent = part.message_counts(values[:arriving])
    arrived: PerNeuron = sent.sum(axis=(0, 1), dtype=np.int64)
    return arrived
