"""The compiled loops: from messages to currents, and from currents to spikes.

Arrays of messages are (B, steps, N padded to whole masks) bytes, or int32 if graded; arrays of
currents are (steps, samples, N_target). All loops process non-zero messages only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.simulators.native.bound import Frame
from spikeport.simulators.native.compiled import kernel, part
from spikeport.simulators.native.connection_tables import Tables
from spikeport.simulators.native.events import (
    BAND,
    Buffers,
    list_spikes,
    list_values,
    pool_events,
    rows_of,
)
from spikeport.simulators.native.frames import kept_loop, kept_rows
from spikeport.simulators.native.neurons import neuron_loop
from spikeport.simulators.native.sums import add_products, add_rows

Int32 = NDArray[np.int32]


@part
def _list(messages: NDArray[Any], sample: int, step: int, tables: Tables, buffers: Buffers) -> Any:
    """List and pool the spikes of one step of one sample; return their number."""
    n = list_spikes(messages[sample, step], tables.cell_size, buffers.ids, buffers.first)
    if n > 0 and tables.pool_start.size > 1:
        pool_events(tables, buffers, False)
    return n


def _receive(graded: bool) -> Callable[..., None]:
    def receive(
        tables: Tables,
        buffers: Buffers,
        unit: int,
        stop: int,
        low: int,
        high: int,
        fresh: bool,
        to: Int32,
    ) -> None:
        """Write or add the currents of columns low..high - 1 of units unit..stop - 1 to `to`.

        A unit is one group of channels at one position.
        """
        place, group = unit // tables.groups, unit % tables.groups
        at = 0
        while unit < stop:
            m = rows_of(tables, buffers, place, group, graded)
            if m > 0 or fresh:
                if graded:
                    add_products(
                        tables,
                        buffers.rows,
                        buffers.factors,
                        m,
                        low,
                        high,
                        fresh,
                        buffers.total,
                        to,
                        at,
                    )
                else:
                    add_rows(tables, buffers.rows, m, low, high, fresh, buffers.total, to, at)
            at += high - low
            unit += 1
            group += 1
            if group == tables.groups:
                group = 0
                place += 1

    return part(receive)


receive_spikes, receive_values = _receive(graded=False), _receive(graded=True)


@functools.cache
def deliver(kind: str, graded: bool) -> Callable[..., None]:
    """The compiled delivery of messages, by the type of the weights."""

    def run(
        frame: Frame,
        messages: NDArray[Any],
        first: int,
        first_sample: int,
        fresh: bool,
        current: Int32,
    ) -> None:
        """Add the current of the connection kept in `frame`, or overwrite `current` if `fresh`.

        Reads messages[first_sample + b, first + t] for every t and b of `current`.
        """
        tables, buffers, received = kept_rows(frame, kind)
        units, width = (tables.start.size - 1) * tables.groups, tables.width
        at_once = max(BAND // width, 1)
        for t in range(current.shape[0]):
            for b in range(current.shape[1]):
                target = current[t, b]
                # As one expression, both would be compiled, each for the wrong type.
                if graded:
                    row = messages[first_sample + b, first + t]
                    n = list_values(
                        row, tables.cell_size, buffers.ids, buffers.first, buffers.values
                    )
                    if n > 0 and tables.pool_start.size > 1:
                        pool_events(tables, buffers, True)
                else:
                    n = _list(messages, first_sample + b, first + t, tables, buffers)
                if n == 0:
                    if fresh:
                        target[:] = 0
                    continue
                for unit in range(0, units, at_once):
                    stop = min(unit + at_once, units)
                    for low in range(0, width, BAND):
                        high = min(low + BAND, width)
                        begin, end = unit * width + low, (stop - 1) * width + high
                        if graded:
                            receive_values(tables, buffers, unit, stop, low, high, True, received)
                        else:
                            receive_spikes(tables, buffers, unit, stop, low, high, True, received)
                        for i in range(end - begin):
                            if fresh:
                                target[begin + i] = received[i]
                            else:
                                target[begin + i] += received[i]

    return kernel(run)


@functools.cache
def advance(kind: str, variant: tuple[bool, ...], biased: bool) -> Callable[..., int]:
    """The compiled loop over neurons of a kind; see `neurons.neuron_loop`."""

    def run(
        frame: Frame,
        passed: int,
        steps: int,
        first_sample: int,
        samples: int,
        adds: bool,
        earlier: Int32,
        bias: Int32,
        after: tuple[Int32, ...],
    ) -> int:
        """Run steps passed..passed + steps - 1 of the block, of samples first_sample...

        The input of a neuron is the sum of the currents of the `Loop` kept in `frame` and of
        `earlier` (steps or 1, samples, N) if `adds`. Updates the state and writes
        spikes[b, before + passed + t]. `bias` is (steps or 1, B or 1, N) and only used if `biased`.
        Each array of `after` (steps, samples, N) receives the corresponding `recorded` state
        variable after each step, unless it has no steps. Returns the number of neuron-steps in
        which the state could change.
        """
        one, other, received, state, dynamics, spikes, first, recorded = kept_loop(frame, kind)
        size = recorded[0].shape[1]
        tables, also_tables = one.tables, other.tables
        units, width = (tables.start.size - 1) * tables.groups, tables.width
        if not one.present:
            units, width = 1, size
        at_once = max(BAND // width, 1)
        touched = 0
        for b in range(samples):
            at = first_sample + b
            for t in range(steps):
                n, also = np.int64(0), np.int64(0)
                if one.present:
                    n = _list(one.messages, at, one.first + passed + t, tables, one.buffers)
                if other.present:
                    also = _list(
                        other.messages, at, other.first + passed + t, also_tables, other.buffers
                    )
                before = earlier[min(t, earlier.shape[0] - 1), min(b, earlier.shape[1] - 1)]
                added = bias[min(t, bias.shape[0] - 1), min(at, bias.shape[1] - 1)]
                fired = spikes[at, first + passed + t]
                for unit in range(0, units, at_once):
                    stop = min(unit + at_once, units)
                    for low in range(0, width, BAND):
                        high = min(low + BAND, width)
                        begin, end = unit * width + low, (stop - 1) * width + high
                        if adds:
                            for i in range(end - begin):
                                received[i] = before[begin + i]
                        elif n == 0:
                            for i in range(end - begin):
                                received[i] = 0
                        if n > 0:
                            receive_spikes(
                                tables, one.buffers, unit, stop, low, high, not adds, received
                            )
                        if also > 0:
                            narrow, only = also_tables.width, (unit, stop, low, high)
                            if narrow < width:
                                only = (begin // narrow, end // narrow, 0, narrow)
                            receive_spikes(also_tables, other.buffers, *only, False, received)
                        touched += neuron_loop(
                            state,
                            dynamics,
                            variant,
                            biased,
                            at,
                            begin,
                            end,
                            received[: end - begin],
                            added[begin:end],
                            fired[begin:end],
                        )
                for k in range(len(after)):
                    kept, values = after[k], recorded[k]
                    if kept.shape[0] > 0:
                        for i in range(size):
                            kept[t, b, i] = values[at, i]
        return touched

    return kernel(run)
