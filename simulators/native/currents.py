"""Input currents of a population from connections that are not summed in its own loop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import DeployedNetwork, WeightedConnection
from spikeport.simulators.native.connection_tables import LaidOut
from spikeport.simulators.native.events import buffers_for
from spikeport.simulators.native.kernels import RECEIVED, Int32, deliver_spikes, deliver_values
from spikeport.simulators.native.messages import MessageBuffer
from spikeport.simulators.native.plan import Plan

PIECE = 1 << 17
"""Currents at once, unless one sample's of one step are more."""
_PRODUCTS_FROM = 0.5
"""Share of non-zero integers from which a matrix product beats adding rows times integers.

Measured by `benchmarks/products.py`. Rows of spikes need no multiplication: adding all of them is
faster than the product, so there is no such share for spikes.
"""

Constant = list[tuple[int, Int32]]
"""Delay and current (B, N) of every connection from a static input."""


def piece_size(size: int, steps: int, samples: int) -> tuple[int, int]:
    """Steps and samples of a piece for a population of `size`."""
    steps = max(min(steps, PIECE // size), 1)
    return steps, max(min(samples, PIECE // (size * steps)), 1)


def constant_currents(
    network: DeployedNetwork, plan: Plan, received_from: Mapping[str, MessageBuffer], name: str
) -> Constant:
    """Currents from static inputs into a population, each starting at the step of its delay."""
    constant = []
    for c in plan.incoming[name]:
        stream = received_from[c.source]
        if stream.static:
            samples = len(stream.messages)
            current = np.empty((1, samples, network.by_name[name].size), np.int32)
            _deliver(plan.laid_out[c.name], stream, 0, 0, current, fresh=True)
            constant.append((c.delay, current))
    return constant


def summed(
    plan: Plan,
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
        _deliver(plan.laid_out[c.name], stream, first, samples.start, current, fresh=fresh)
        fresh = False
    return current


def _deliver(
    laid_out: LaidOut,
    stream: MessageBuffer,
    first: int,
    first_sample: int,
    current: Int32,
    *,
    fresh: bool,
) -> None:
    """Add the currents of messages from step `first` on, or assign them if `fresh`."""
    steps, count, _ = current.shape
    if stream.graded and laid_out.exact_products:
        now = stream.messages[first_sample : first_sample + count, first : first + steps]
        if np.count_nonzero(now) >= _PRODUCTS_FROM * now.size:
            multiply(now.swapaxes(0, 1), laid_out, current, fresh=fresh)
            return
    deliver = deliver_values if stream.graded else deliver_spikes
    deliver(
        stream.messages,
        first,
        first_sample,
        laid_out.tables,
        buffers_for(laid_out.tables),
        fresh,
        current,
        np.empty(RECEIVED, np.int32),
    )


def multiply(messages: NDArray[Any], laid_out: LaidOut, current: Int32, *, fresh: bool) -> None:
    """Like `_deliver`, by a float32 product that `lay_out` has found to be exact."""
    tables = laid_out.tables
    total = (messages.astype(np.float32) @ laid_out.factors).astype(np.int32)
    total <<= np.int32(tables.scale + max(tables.exponent, 0))
    total >>= np.int32(max(-tables.exponent, 0))
    if fresh:
        current[:] = total
    else:
        current += total
