"""The compiled loops: messages into currents, and currents into spikes.

Arrays of messages are (B, steps, N padded to whole masks) bytes, or int32 where graded; of
currents (steps, B of the piece, N_target). All loops go through non-zero messages only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.simulators.native.compiled import kernel, part
from spikeport.simulators.native.events import (
    Rooms,
    list_spikes,
    list_values,
    pool_events,
    rows_of,
)
from spikeport.simulators.native.neurons import neuron_loop
from spikeport.simulators.native.sums import finish, sum_products, sum_rows
from spikeport.simulators.native.wiring import Tables

Int32 = NDArray[np.int32]

BAND = 1024
"""Neurons whose currents are summed and used while they are in the nearest cache."""
_BYTE_MAX = 255


@part
def _hear(
    tables: Tables,
    rooms: Rooms,
    graded: bool,
    unit: int,
    stop: int,
    low: int,
    high: int,
    fresh: bool,
    to: Int32,
) -> None:
    """Currents of columns low..high - 1 of units unit..stop - 1, into or onto `to`.

    A unit is one group of channels at one position.
    """
    total = rooms.total
    place, group = unit // tables.groups, unit % tables.groups
    columns = tables.table.shape[1] if high == tables.width else high
    at = 0
    while unit < stop:
        reached = to[at : at + high - low]
        m = rows_of(tables, rooms, place, group, graded)
        if m == 0:
            if fresh:
                reached[:] = 0
        else:
            if graded:
                sum_products(rooms.rows, rooms.factors, m, tables.table, low, columns, total)
            else:
                sum_rows(rooms.rows, m, tables.table, low, columns, tables.exact_rows, total)
            finish(total, tables.scale, tables.wraps, tables.exponent, fresh, reached)
        at += high - low
        unit += 1
        group += 1
        if group == tables.groups:
            group = 0
            place += 1


def _deliver(graded: bool) -> Callable[..., None]:
    def deliver(
        messages: NDArray[Any],
        first: int,
        first_sample: int,
        tables: Tables,
        rooms: Rooms,
        fresh: bool,
        current: Int32,
    ) -> None:
        """Add the current of one connection to `current`, or set it where `fresh`.

        Reads messages[first_sample + b, first + t] for every t and b of `current`.
        """
        units, width = (tables.start.size - 1) * tables.groups, tables.width
        for t in range(current.shape[0]):
            for b in range(current.shape[1]):
                row, target = messages[first_sample + b, first + t], current[t, b]
                # As an expression both would be compiled, each for the wrong type.
                if graded:
                    n = list_values(row, tables.cell_size, rooms.ids, rooms.first, rooms.values)
                else:
                    n = list_spikes(row, tables.cell_size, rooms.ids, rooms.first)
                if n == 0:
                    if fresh:
                        target[:] = 0
                    continue
                if tables.pool_start.size > 1:
                    pool_events(tables, rooms, graded)
                if width <= BAND:
                    _hear(tables, rooms, graded, 0, units, 0, width, fresh, target)
                    continue
                for unit in range(units):
                    for low in range(0, width, BAND):
                        high = min(low + BAND, width)
                        reached = target[unit * width + low : unit * width + high]
                        _hear(tables, rooms, graded, unit, unit + 1, low, high, fresh, reached)

    return deliver


deliver_spikes = kernel(_deliver(graded=False))
deliver_values = kernel(_deliver(graded=True))


@functools.cache
def advance(kind_u: int, kind_v: int, biased: bool) -> Callable[..., int]:
    """The compiled loop over neurons for two kinds of `Decay`, with or without bias."""

    def run(
        messages: NDArray[np.uint8],
        heard_first: int,
        tables: Tables,
        rooms: Rooms,
        hears: bool,
        earlier: Int32,
        adds: bool,
        bias: Int32,
        u: Int32,
        v: Int32,
        spikes: NDArray[np.uint8],
        steps: int,
        first: int,
        first_sample: int,
        samples: int,
        decay_u: int,
        decay_v: int,
        threshold: int,
        subtract: bool,
    ) -> int:
        """Run `steps` steps of samples first_sample.. of a population.

        What a neuron receives is the current of one connection from spikes, where `hears`, of
        messages[b, heard_first + t], and where `adds` `earlier` (steps or 1, samples, N).
        Changes u and v (B, N) and writes spikes[b, first + t]. `bias` is (steps or 1, B or 1, N)
        and is not looked at unless `biased`. Returns how many neuron-steps found u, v, current or
        bias not zero.
        """
        size = u.shape[1]
        units, width = (tables.start.size - 1) * tables.groups, tables.width
        if not hears:
            units, width = 1, size
        at_once = max(BAND // width, 1)
        touched = 0
        for b in range(samples):
            at = first_sample + b
            for t in range(steps):
                n = np.int64(0)
                if hears:
                    row = messages[at, heard_first + t]
                    n = list_spikes(row, tables.cell_size, rooms.ids, rooms.first)
                    if n > 0 and tables.pool_start.size > 1:
                        pool_events(tables, rooms, False)
                before = earlier[min(t, earlier.shape[0] - 1), min(b, earlier.shape[1] - 1)]
                added = bias[min(t, bias.shape[0] - 1), min(at, bias.shape[1] - 1)]
                fired = spikes[at, first + t]
                for unit in range(0, units, at_once):
                    stop = min(unit + at_once, units)
                    for low in range(0, width, BAND):
                        high = min(low + BAND, width)
                        begin = unit * width + low
                        end = (stop - 1) * width + high
                        now = rooms.received[: end - begin]
                        if adds and n == 0:
                            now = before[begin:end]
                        elif adds:
                            for i in range(now.size):
                                now[i] = before[begin + i]
                        if n > 0:
                            _hear(tables, rooms, False, unit, stop, low, high, not adds, now)
                        elif not adds:
                            now[:] = 0
                        touched += neuron_loop(
                            now,
                            added[begin:end],
                            u[at, begin:end],
                            v[at, begin:end],
                            fired[begin:end],
                            decay_u,
                            decay_v,
                            threshold,
                            subtract,
                            kind_u,
                            kind_v,
                            biased,
                        )
        return touched

    return kernel(run)


@kernel
def tally(
    spikes: NDArray[np.uint8],
    first: int,
    stop: int,
    few: NDArray[np.uint8],
    count: NDArray[np.int64],
) -> None:
    """Add spikes (B, steps, padded N) of steps first..stop - 1 to `count`, (B, N) or (1, N).

    `few` is room for (N,).
    """
    size = few.size
    for b in range(spikes.shape[0]):
        row = count[min(b, count.shape[0] - 1)]
        for begin in range(first, stop, _BYTE_MAX):
            for i in range(size):
                few[i] = 0
            for t in range(begin, min(begin + _BYTE_MAX, stop)):
                heard = spikes[b, t]
                for i in range(size):
                    few[i] += heard[i]
            for i in range(size):
                row[i] += few[i]
