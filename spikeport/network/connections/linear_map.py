"""A connection as the one linear map of its source that its pool and its weights make together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import NetworkError
from spikeport.network.connections.base import Synapse, WeightedConnection
from spikeport.network.geometry import PerNeuron, Shape


def weighted_shape(connection: WeightedConnection, source: Shape) -> Shape:
    """Shape that the weights are applied to: that of the source, or of its pooled sums."""
    return source if connection.pool is None else connection.pool.output_shape(source)


def check_shapes(connection: WeightedConnection, source: Shape, target: Shape) -> None:
    """Check that the connection maps the shape of its source to that of its target."""
    subject = f"connection '{connection.name}'"
    if connection.pool is not None:
        if len(source) != 3:
            NetworkError.fail(f"{subject}: a sum-pool needs a source (C, H, W), got {source}")
        source = connection.pool.output_shape(source)
        if min(source) < 1:
            NetworkError.fail(f"{subject}: the sum-pool leaves nothing of its source: {source}")
    connection.check_map(source, target)


def fan_out(connection: WeightedConnection, source: Shape) -> tuple[PerNeuron, PerNeuron]:
    """Synapses that a message of each source neuron reaches: (non-zero, stored).

    Both have the shape `source`. A neuron skipped by the pool or the stride reaches none.
    """
    pool = connection.pool
    if pool is None:
        return connection.reached(source)
    nonzero, stored = connection.reached(pool.output_shape(source))
    return pool.before(source, nonzero), pool.before(source, stored)


def afferents(connection: WeightedConnection, source: Shape, target: int) -> Iterator[Synapse]:
    """Every stored synapse onto one target neuron, including zero weights."""
    for position, weight in connection.row(weighted_shape(connection, source), target):
        if connection.pool is None:
            yield position, weight
        else:
            for neuron in connection.pool.window(source, position):
                yield neuron, weight


def dense_form(connection: WeightedConnection, source: Shape) -> NDArray[Any]:
    """Mantissas of a connection as the matrix of a `Dense`, (N_target, N_source)."""
    matrix = connection.matrix(weighted_shape(connection, source))
    return matrix if connection.pool is None else matrix @ connection.pool.matrix(source)


def largest_sum(connection: WeightedConnection, low: int, high: int) -> int:
    """The largest magnitude of a neuron's sum over messages within low..high.

    The sum is taken before wrapping and before the exponent.
    """
    above, below = connection.row_sums()
    ends = abs(above * high + below * low), abs(above * low + below * high)
    area = 1 if connection.pool is None else connection.pool.area
    return area * int(np.maximum(*ends).max())
