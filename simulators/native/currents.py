"""Input currents of a population from connections that are not summed in its own loop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from spikeport.network import WeightedConnection
from spikeport.simulators.native.delivery import Bound
from spikeport.simulators.native.frames import Int32
from spikeport.simulators.native.messages import MessageBuffer
from spikeport.simulators.native.plan import Plan

PIECE = 1 << 17
"""Currents at once, unless one sample's of one step are more."""

Constant = list[tuple[int, Int32]]
"""Delay and current (B, N) of every connection from a static input."""


def piece_size(size: int, steps: int, samples: int) -> tuple[int, int]:
    """Steps and samples of a piece for a population of `size`."""
    steps = max(min(steps, PIECE // size), 1)
    return steps, max(min(samples, PIECE // (size * steps)), 1)


def constant_currents(
    plan: Plan,
    bound: Mapping[str, Bound],
    received_from: Mapping[str, MessageBuffer],
    name: str,
) -> Constant:
    """Currents from static inputs into a population, each starting at the step of its delay."""
    constant = []
    for c in plan.incoming[name]:
        stream = received_from[c.source]
        if stream.static:
            current = np.empty((1, len(stream.messages), plan.parts[name].size), np.int32)
            bound[c.name](stream.messages, 0, 0, current, fresh=True)
            constant.append((c.delay, current))
    return constant


def summed(
    bound: Mapping[str, Bound],
    received_from: Mapping[str, MessageBuffer],
    constant: Constant,
    connections: Sequence[WeightedConnection],
    steps: range,
    origin: int,
    samples: slice,
    size: int,
    scratch: Int32,
) -> Int32 | None:
    """Summed input of `steps` for some samples, (steps, B', N).

    None if it is zero, and (1, B', N) if it is the same in every step.

    Args:
        bound: see `state.State`.
        constant: currents from static inputs.
        connections: those from other sources.
        origin: first step of the current block.
        size: N.
        scratch: buffer for the sums.
    """
    if not connections:
        if not constant:
            return None
        if len(constant) == 1 and constant[0][0] <= steps.start:
            return constant[0][1][:, samples]
    shape = (len(steps), samples.stop - samples.start, size)
    current = scratch[: math.prod(shape)].reshape(shape)
    fresh = True
    if constant:
        fresh = False
        current[:] = 0
    for delay, values in constant:
        current[max(delay - steps.start, 0) :] += values[:, samples]
    for c in connections:
        stream = received_from[c.source]
        first = stream.before + steps.start - c.delay - origin
        bound[c.name](stream.messages, first, samples.start, current, fresh=fresh)
        fresh = False
    return current
