"""What a chunk of steps takes over from the one before it and hands on, in the inner order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikeport.network import DeployedNetwork
from spikeport.simulators.native.layout import channels_first, channels_last
from spikeport.simulators.native.streams import Stream
from spikeport.stream_state import StreamState

Int32 = NDArray[np.int32]


def take_over(
    state: StreamState,
    network: DeployedNetwork,
    u: Mapping[str, Int32],
    v: Mapping[str, Int32],
    heard: Mapping[str, Stream],
) -> None:
    """Fill u and v (B, N) and the rows before the first block of each stream."""
    for part in network.populations:
        u[part.name][:] = channels_last(state.u[part.name], part.shape)
        v[part.name][:] = channels_last(state.v[part.name], part.shape)
    for name, sent in state.sent.items():
        rows = channels_last(sent, heard[name].shape)
        heard[name].messages[: len(rows), :, : rows.shape[2]] = rows


def hand_on(
    state: StreamState,
    network: DeployedNetwork,
    u: Mapping[str, Int32],
    v: Mapping[str, Int32],
    heard: Mapping[str, Stream],
    last: int,
) -> StreamState:
    """The state after a chunk that began with `state`; its last block had `last` steps."""
    sent = {}
    for name, before in state.sent.items():
        part = network.sources[name]
        rows = heard[name].messages[last : last + len(before), :, : part.size]
        sent[name] = channels_first(rows, part.shape)
    return replace(
        state,
        step=state.step + network.steps,
        u={part.name: channels_first(u[part.name], part.shape) for part in network.populations},
        v={part.name: channels_first(v[part.name], part.shape) for part in network.populations},
        sent=sent,
    )


def still_arriving(
    state: StreamState | None, source: str, steps: int, delay: int
) -> NDArray[np.int64] | int:
    """Messages per neuron of before a chunk of `steps` that arrive within it after `delay`."""
    if state is None or delay == 0:
        return 0
    sent = state.sent[source]
    waiting = sent[len(sent) - delay :][:steps]
    counted: NDArray[np.int64] = np.count_nonzero(waiting, axis=(0, 1)).astype(np.int64)
    return counted
