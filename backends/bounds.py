"""Upper bounds of the sums of a connection."""

from __future__ import annotations

from spikeport.network import DeployedNetwork, WeightedConnection, largest_sum

POOL_SUM = 2**31
"""Limit of pooled sums, which are int32."""


def sum_bound(network: DeployedNetwork, part: WeightedConnection) -> int:
    """The largest magnitude of a neuron's sum over a connection, before the exponent.

    The sum over the neuron's weights of |w|, times the largest message.
    """
    low, high = network.message_range(part.source)
    message = max(-low, high)
    bound = largest_sum(part, -message, message)
    pooled = message if part.pool is None else message * part.pool.area
    return bound if pooled <= POOL_SUM else bound // pooled * POOL_SUM
