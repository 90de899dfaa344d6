"""Upper bounds of the sums of a connection."""

from __future__ import annotations

import numpy as np

from spikeport.network import DeployedNetwork, Input, WeightedConnection

POOL_SUM = 2**31
"""Limit of pooled sums, which are int32."""


def sum_bound(network: DeployedNetwork, part: WeightedConnection) -> int:
    """The largest magnitude of a neuron's sum over a connection, before the exponent.

    The sum over the neuron's weights of |w|, times the largest message.
    """
    source = network.sources[part.source]
    message = max(-source.low, source.high) if isinstance(source, Input) else 1
    if part.pool is not None:
        message *= int(np.prod(part.pool.kernel_size))
    weights = np.abs(part.weight.astype(np.int64)).reshape(len(part.weight), -1).sum(axis=1)
    return min(message, POOL_SUM) * int(weights.max())
