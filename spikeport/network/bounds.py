"""Upper bounds of the sums that arrive at a neuron in a step."""

from __future__ import annotations

from collections.abc import Iterable

from spikeport.network.arithmetic import Arithmetic
from spikeport.network.connections.base import WeightedConnection
from spikeport.network.connections.linear_map import largest_sum
from spikeport.network.network import DeployedNetwork

POOL_SUM = 2**31
"""Limit of pooled sums, which are int32."""
Bounded = tuple[WeightedConnection, int, int]
"""A connection, and the lowest and highest message of its source."""


def sum_bound(network: DeployedNetwork, part: WeightedConnection) -> int:
    """The largest magnitude of a neuron's sum over a connection, before the exponent."""
    return _bound(part, *network.message_range(part.source))


def step_bound(parts: Iterable[Bounded]) -> int:
    """The largest magnitude of what a neuron receives in a step, in weight units.

    It is also that of every partial sum, in any order, because a message may be absent: each lies
    between the sum of all negative products and that of all positive ones.

    Args:
        parts: all connections into a population.
    """
    return sum(_shifted(_bound(*one), one[0].exponent) for one in parts)


def population_bound(network: DeployedNetwork, population: str) -> int:
    """`step_bound` of a population of a network."""
    return step_bound(
        (part, *network.message_range(part.source)) for part in network.weighted_into(population)
    )


def accumulator_max(bits: int, arithmetic: Arithmetic) -> int:
    """Largest sum, in weight units, in an accumulator of `bits` and sign in units of u."""
    return (1 << (bits - arithmetic.activation_shift)) - 1


def _bound(part: WeightedConnection, low: int, high: int) -> int:
    low, high = min(low, 0), max(high, 0)
    bound = largest_sum(part, low, high)
    pooled = max(-low, high) * (1 if part.pool is None else part.pool.area)
    return bound if pooled <= POOL_SUM else bound // pooled * POOL_SUM


def _shifted(value: int, exponent: int) -> int:
    return value << exponent if exponent >= 0 else value >> -exponent
