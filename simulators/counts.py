"""Exact event counts from the number of messages that each source neuron delivered.

A message is one non-zero value (a spike or a graded payload) of one source neuron in one step. It
reaches the same synapses every time, so synaptic events are

    sum over source neurons of (messages delivered) * (synapses reached)

in int64. Source of the definitions: `spikeport.runs.run.EventCounts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import (
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Shape,
    SumPool2d,
    WeightedConnection,
)
from spikeport.network.geometry import pooled_index, taps_per_position
from spikeport.runs import Counts, EventCounts

PerNeuron = NDArray[np.int64]
_BYTE_MAX = 255


def fan_out(connection: WeightedConnection, source_shape: Shape) -> tuple[PerNeuron, PerNeuron]:
    """Synapses that a message of each source neuron reaches: (non-zero, stored).

    Both have `source_shape`. A neuron skipped by the pool or the stride reaches none.
    """
    pool = connection.pool
    shape = source_shape if pool is None else pool.output_shape(source_shape)
    nonzero = _reached(connection, shape, present=connection.weight != 0)
    stored = _reached(connection, shape, present=None)
    if pool is None:
        return nonzero, stored
    return (
        _in_front_of_pool(pool, source_shape, nonzero),
        _in_front_of_pool(pool, source_shape, stored),
    )


def _reached(
    connection: WeightedConnection, shape: Shape, present: NDArray[np.bool_] | None
) -> PerNeuron:
    """Synapses reached by each neuron of `shape`: those of `present` (like the weight), or all."""
    weight = connection.weight
    match connection:
        case Dense():
            if present is None:
                return np.full(shape, len(weight), np.int64)
            return _marked(present).reshape(shape)
        case Conv1d():
            row = (shape[0], 1, shape[1])
            flat = None if present is None else present[:, :, None]
            return _reached(connection.as_conv2d(), row, flat).reshape(shape)
        case Conv2d():
            per_group = len(weight) // connection.groups
            size = (shape[0], *weight.shape[2:])
            per_tap = np.full(size, per_group, np.int64)
            if present is not None:
                grouped = present.reshape(connection.groups, per_group, -1)
                per_tap = np.stack([_marked(group) for group in grouped]).reshape(size)
            rows, columns = (
                taps_per_position(*axis).astype(np.int64)
                for axis in zip(
                    shape[1:],
                    weight.shape[2:],
                    connection.stride,
                    connection.padding,
                    connection.dilation,
                    strict=True,
                )
            )
            met: PerNeuron = rows @ per_tap @ columns.T
            return met


def _marked(present: NDArray[np.bool_]) -> PerNeuron:
    """Number of marks per column, summed in bytes while these suffice."""
    total = np.zeros(present.shape[1], np.int64)
    for row in range(0, len(present), _BYTE_MAX):
        total += present[row : row + _BYTE_MAX].sum(axis=0, dtype=np.uint8)
    return total


def _in_front_of_pool(pool: SumPool2d, source_shape: Shape, reached: PerNeuron) -> PerNeuron:
    """Synapses reached by each source neuron, given those of each pooled sum."""
    rows, columns = (
        pooled_index(*axis)
        for axis in zip(source_shape[1:], pool.kernel_size, pool.stride, pool.padding, strict=True)
    )
    inside = (rows >= 0)[:, None] & (columns >= 0)
    return np.where(inside, reached[:, rows[:, None], columns], 0)


def input_messages(part: Input, values: NDArray[Any], steps: int, delay: int = 0) -> PerNeuron:
    """Non-zero values per neuron, over all samples, that arrive within T after `delay` steps.

    Args:
        values: checked samples, (B, *shape) presented at every step or (T, B, *shape).
    """
    arriving = max(steps - delay, 0)
    if values.ndim == 1 + len(part.shape):
        presented: PerNeuron = (values != 0).sum(axis=0, dtype=np.int64)
        return presented * arriving
    arrived: PerNeuron = (values[:arriving] != 0).sum(axis=(0, 1), dtype=np.int64)
    return arrived


def event_counts(
    network: DeployedNetwork,
    *,
    samples: int,
    spikes: Counts,
    updates: Counts,
    input_events: Counts,
    delivered: Mapping[str, PerNeuron],
    reached: Mapping[str, tuple[PerNeuron, PerNeuron]],
) -> EventCounts:
    """Complete the counts of a run.

    Args:
        reached: per connection that carries weights, its `fan_out`.
        delivered: per connection that carries weights, messages of each source neuron that
            arrived within the sample, summed over samples; shape of the source, or flat.
    """
    nonzero, stored = {}, {}
    for connection in network.weighted_connections:
        messages = delivered[connection.name].ravel()
        nonzero[connection.name], stored[connection.name] = (
            int(messages @ per_message.ravel()) for per_message in reached[connection.name]
        )
    return EventCounts(
        samples=samples,
        steps=network.steps,
        spikes=spikes,
        visits={part.name: part.size * network.steps * samples for part in network.populations},
        updates=updates,
        input_events=input_events,
        messages={c.name: int(delivered[c.name].sum()) for c in network.weighted_connections},
        synaptic_events=nonzero,
        synaptic_events_all=stored,
    )
