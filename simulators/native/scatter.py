"""Delivery along stored synapses: each event adds its source neuron's weights to their targets.

Time and memory grow with the stored synapses and their events, not with the size of the matrix.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import Shape, Sparse
from spikeport.simulators.native.compiled import kernel, part
from spikeport.simulators.native.connection_tables import shifted_bound
from spikeport.simulators.native.layout import channels_last
from spikeport.simulators.native.vectors import MASK, lowest_bit, nonzero_mask

Int32 = NDArray[np.int32]
_ONE = np.uint64(1)


@dataclass(frozen=True, slots=True)
class Scatter:
    """A `Sparse` by source neuron, both ends in the inner order.

    Attributes:
        start: first synapse of each source neuron, and the end of the last one's.
        target, weight: of each synapse.
        targets: number of target neurons.
        bound: magnitude that no current exceeds.
    """

    start: NDArray[np.int64]
    target: Int32
    weight: NDArray[np.int16]
    exponent: int
    targets: int
    bound: int

    @property
    def loop_tables(self) -> None:
        """None: synapses are not stored in rows that vector instructions could add."""
        return None

    def bind(self, graded: bool) -> Callable[..., None]:
        """See `delivery.Delivery`."""
        total = np.empty(self.targets if self.exponent < 0 else 0, np.int32)
        return functools.partial(self._deliver, scatter_values if graded else scatter_spikes, total)

    def _deliver(
        self,
        run: Callable[..., None],
        total: Int32,
        messages: NDArray[Any],
        first: int,
        first_sample: int,
        current: Int32,
        *,
        fresh: bool,
    ) -> None:
        run(
            messages,
            first,
            first_sample,
            self.start,
            self.target,
            self.weight,
            max(self.exponent, 0),
            max(-self.exponent, 0),
            fresh,
            current,
            total,
        )


def scatter(connection: Sparse, source: Shape, target: Shape, most: int) -> Scatter:
    """Prepare a `Sparse` whose sums do not exceed `most`."""
    sources, targets = _inner(source)[connection.indices], _inner(target)[connection.rows]
    order = np.lexsort((targets, sources))
    return Scatter(
        start=np.searchsorted(sources[order], np.arange(connection.columns + 1)),
        target=targets[order],
        weight=connection.weight[order],
        exponent=connection.exponent,
        targets=math.prod(target),
        bound=shifted_bound(most, connection.exponent),
    )


def _inner(shape: Shape) -> Int32:
    """Index of each neuron in the inner order."""
    size = int(np.prod(shape))
    place = np.empty(size, np.int32)
    place[channels_last(np.arange(size).reshape(shape), shape)] = np.arange(size, dtype=np.int32)
    return place


@part
def _add(
    start: NDArray[np.int64], target: Int32, weight: NDArray[np.int16], neuron: Any, value: Any,
    left: int, to: Int32,
) -> None:  # fmt: skip
    """Add the currents of one neuron's message, in wrapping int32."""
    for k in range(start[neuron], start[neuron + 1]):
        given = np.int32(np.int32(np.int32(weight[k]) * value) << np.int32(left))
        to[target[k]] = np.int32(to[target[k]] + given)


def _scatter(graded: bool) -> Callable[..., None]:
    def scatter_messages(
        messages: NDArray[Any],
        first: int,
        first_sample: int,
        start: NDArray[np.int64],
        target: Int32,
        weight: NDArray[np.int16],
        left: int,
        right: int,
        fresh: bool,
        current: Int32,
        total: Int32,
    ) -> None:
        """Add currents to `current` (steps, B, N), or assign them if `fresh`.

        `total` is a buffer for the sums of one step, used if they are shifted to the right.
        """
        for t in range(current.shape[0]):
            for b in range(current.shape[1]):
                row, into = messages[first_sample + b, first + t], current[t, b]
                to = into if right == 0 else total
                if fresh or right > 0:
                    to[:] = 0
                if graded:
                    for neuron in range(row.size):
                        if row[neuron] != 0:
                            _add(start, target, weight, neuron, np.int32(row[neuron]), left, to)
                else:
                    for at in range(0, row.size, MASK):
                        mask = nonzero_mask(row, at)
                        while mask != 0:
                            spiking = at + np.int64(lowest_bit(mask))
                            _add(start, target, weight, spiking, np.int32(1), left, to)
                            mask &= mask - _ONE
                if right > 0:
                    for i in range(into.size):
                        x = np.int32(total[i] >> np.int32(right))
                        into[i] = x if fresh else np.int32(into[i] + x)

    return kernel(scatter_messages)


scatter_spikes, scatter_values = _scatter(graded=False), _scatter(graded=True)
