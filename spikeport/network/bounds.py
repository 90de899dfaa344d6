"""Upper bounds of the sums that arrive at a neuron in a step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network.arithmetic import Arithmetic
from spikeport.network.connections.base import WeightedConnection
from spikeport.network.network import DeployedNetwork

POOL_SUM = 2**31
"""Limit of pooled sums, which are int32."""
_INT64_SUM = 2**40
"""Sums of connections below it, shifted and added up, fit in int64."""
Bounded = tuple[WeightedConnection, int, int]
"""A connection, and the lowest and highest message of its source."""
Ends = tuple[NDArray[Any], NDArray[Any]]
"""Highest and lowest sum over a connection, of each target neuron or each target channel."""


def sum_bound(network: DeployedNetwork, part: WeightedConnection) -> int:
    """The largest magnitude of a neuron's sum over a connection, before the exponent."""
    return int(largest_total([_ends(part, *network.message_range(part.source))]))


def step_bound(parts: Iterable[Bounded]) -> int:
    """The largest magnitude of what a neuron receives in a step, in weight units.

    It is also that of every partial sum, in any order, because a message may be absent: each lies
    between the sum of all negative products and that of all positive ones, over all connections.

    Args:
        parts: all connections into a population.
    """
    ends = [(_ends(*one), one[0].exponent) for one in parts]
    return int(largest_total([(_shifted(up, e), _shifted(down, e)) for (up, down), e in ends]))


def population_bound(network: DeployedNetwork, population: str) -> int:
    """`step_bound` of a population of a network."""
    return step_bound(
        (part, *network.message_range(part.source)) for part in network.weighted_into(population)
    )


def accumulator_max(bits: int, arithmetic: Arithmetic) -> int:
    """Largest sum, in weight units, in an accumulator of `bits` and sign in units of u."""
    return (1 << (bits - arithmetic.activation_shift)) - 1


def products(above: NDArray[Any], below: NDArray[Any], low: float, high: float) -> Ends:
    """Highest and lowest sum of weights times messages within low..high, or absent.

    Args:
        above, below: sums of the positive and of the negative weights.
    """
    low, high = min(low, 0), max(high, 0)
    return above * high + below * low, above * low + below * high


def largest_total(ends: Sequence[Ends]) -> Any:
    """The largest magnitude of what any neuron receives over all connections at once."""
    if not ends:
        return 0
    neurons = max(len(up) for up, _ in ends)

    def total(side: Iterable[NDArray[Any]]) -> NDArray[Any]:
        return np.asarray(np.sum([np.repeat(e, neurons // len(e)) for e in side], axis=0))

    up, down = total(up for up, _ in ends), total(down for _, down in ends)
    return max(up.max(), -down.min())


def _ends(part: WeightedConnection, low: int, high: int) -> Ends:
    area = 1 if part.pool is None else part.pool.area
    low, high = area * min(low, 0), area * max(high, 0)
    if max(-low, high) > POOL_SUM:
        low, high = -POOL_SUM, POOL_SUM
    above, below = part.row_sums()
    if max(int(above.max()), -int(below.min())) * max(-low, high) >= _INT64_SUM:
        above, below = above.astype(object), below.astype(object)
    return products(above, below, low, high)


def _shifted(sums: NDArray[Any], exponent: int) -> NDArray[Any]:
    return sums << exponent if exponent >= 0 else sums >> -exponent
