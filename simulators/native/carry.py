"""State carried from one chunk of steps to the next, in the internal order of neurons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import AnyPopulation, DeployedNetwork, Input
from spikeport.runs import StreamState
from spikeport.runs.stream_state import OWN
from spikeport.simulators.native.layout import channels_first, channels_last
from spikeport.simulators.native.messages import MessageBuffer

Neurons = Mapping[str, Any]
"""Per population, a NamedTuple of its state variables, (B, N)."""


def restore_state(
    state: StreamState,
    network: DeployedNetwork,
    neurons: Neurons,
    received_from: Mapping[str, MessageBuffer],
) -> None:
    """Initialise the state of neurons, and the messages before the first block of each buffer."""
    for variable in OWN:
        for name, values in state[variable].items():
            getattr(neurons[name], variable)[:] = channels_last(values, network.by_name[name].shape)
    for name, sent in state.sent.items():
        rows = channels_last(sent, received_from[name].shape)
        received_from[name].messages[:, : len(rows), : rows.shape[2]] = rows.swapaxes(0, 1)


def state_after(
    state: StreamState,
    network: DeployedNetwork,
    neurons: Neurons,
    received_from: Mapping[str, MessageBuffer],
    last: int,
) -> StreamState:
    """The state after a chunk that started with `state` and whose last block had `last` steps."""
    tables = {
        variable: {
            name: channels_first(getattr(neurons[name], variable), network.by_name[name].shape)
            for name in state[variable]
        }
        for variable in OWN
    }
    sent = {}
    for name, before in state.sent.items():
        part = network.sources[name]
        rows = received_from[name].messages[:, last : last + len(before), : part.size]
        sent[name] = channels_first(rows.swapaxes(0, 1).copy(), part.shape)
    return state.with_tables({**tables, "sent": sent}, step=state.step + network.steps)


def still_arriving(
    state: StreamState, source: Input | AnyPopulation, steps: int, delay: int
) -> NDArray[np.int64]:
    """Messages per neuron sent before a chunk of `steps` arriving in it after `delay` > 0."""
    sent = state.sent[source.name]
    waiting = sent[len(sent) - delay :][:steps]
    messages = source.message_counts(waiting) if isinstance(source, Input) else waiting != 0
    counted: NDArray[np.int64] = messages.sum(axis=(0, 1), dtype=np.int64)
    return counted
