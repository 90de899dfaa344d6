"""Currents of one population, piece by piece so that they stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.simulators.native.kernels import (
    Int32,
    deliver_diagonal,
    deliver_spikes,
    deliver_values,
)
from spikeport.simulators.native.plan import Plan
from spikeport.simulators.native.streams import Stream
from spikeport.simulators.native.wiring import Wiring

PIECE = 1 << 17
"""Currents at once, unless one sample's of one step are more."""
_PRODUCTS_FROM = 0.2
"""Share of non-zero graded messages from which a matrix product beats adding rows."""

Constant = list[tuple[int, Int32]]
"""Delay and current (B, N) of every connection from a static input."""


def piece_size(size: int, steps: int, samples: int) -> tuple[int, int]:
    """Steps and samples of a piece for a population of `size`."""
    steps = max(min(steps, PIECE // size), 1)
    return steps, max(min(samples, PIECE // (size * steps)), 1)


def constant_currents(plan: Plan, heard: Mapping[str, Stream], name: str) -> Constant:
    """What static inputs give a population; each from the step of its delay on."""
    constant = []
    for c in plan.incoming[name]:
        stream = heard[c.source]
        if stream.static:
            samples = stream.messages.shape[1]
            current = np.empty((1, samples, plan.network.by_name[name].size), np.int32)
            _deliver(plan.wirings[c.name], stream, 0, 0, current, fresh=True)
            constant.append((c.delay, current))
    return constant


def summed(
    plan: Plan,
    heard: Mapping[str, Stream],
    constant: Constant,
    name: str,
    steps: range,
    origin: int,
    samples: slice,
    scratch: Int32,
) -> Int32:
    """Summed input of `steps` for some samples: (steps, B', N), or (1, B', N) for every step.

    Args:
        origin: first step of the present block.
    """
    connections = [c for c in plan.incoming[name] if not heard[c.source].static]
    size = plan.network.by_name[name].size
    count = samples.stop - samples.start
    if not connections and len(constant) == 1 and constant[0][0] <= steps.start:
        return constant[0][1][:, samples]
    current = scratch[: len(steps) * count * size].reshape(len(steps), count, size)
    fresh = True
    if constant or not connections:
        fresh = False
        current[:] = 0
    for delay, values in constant:
        current[max(delay - steps.start, 0) :] += values[:, samples]
    for c in connections:
        stream = heard[c.source]
        first = stream.before + steps.start - c.delay - origin
        _deliver(plan.wirings[c.name], stream, first, samples.start, current, fresh=fresh)
        fresh = False
    return current


def _deliver(
    wiring: Wiring, stream: Stream, first: int, first_sample: int, current: Int32, *, fresh: bool
) -> None:
    """Add what messages of steps first.. give, or set it where `fresh`."""
    messages = stream.messages
    if wiring.diagonal:
        deliver_diagonal(
            messages,
            first,
            first_sample,
            wiring.start,
            wiring.cell,
            wiring.base,
            wiring.table,
            wiring.scale,
            wiring.wraps,
            wiring.exponent,
            fresh,
            current,
        )
        return
    if not stream.graded:
        messages = messages.view(np.uint64)
    elif wiring.factors is not None:
        steps, samples, _ = current.shape
        now = messages[first : first + steps, first_sample : first_sample + samples]
        if np.count_nonzero(now) >= _PRODUCTS_FROM * now.size:
            _multiply(now, wiring.factors, wiring, current, fresh=fresh)
            return
    (deliver_values if stream.graded else deliver_spikes)(
        messages,
        first,
        first_sample,
        wiring.pool_start,
        wiring.pool_cell,
        wiring.pool_base,
        wiring.start,
        wiring.cell,
        wiring.base,
        wiring.table,
        wiring.cells,
        wiring.cell_size,
        wiring.groups,
        wiring.exact_rows,
        wiring.scale,
        wiring.wraps,
        wiring.exponent,
        fresh,
        current,
    )


def _multiply(
    messages: NDArray[Any],
    factors: NDArray[np.float32],
    wiring: Wiring,
    current: Int32,
    *,
    fresh: bool,
) -> None:
    """As `_deliver`, as a product in float32 that `wire` has proved exact."""
    total = (messages.astype(np.float32) @ factors).astype(np.int32)
    total <<= np.int32(wiring.scale + max(wiring.exponent, 0))
    total >>= np.int32(max(-wiring.exponent, 0))
    if fresh:
        current[:] = total
    else:
        current += total
