"""Connections of a `DeployedNetwork`, with one module for everything specific to a kind.

`WeightedConnection` is the interface of a kind; `KINDS` lists all kinds that carry weights.
"""

from __future__ import annotations

from collections.abc import Iterable

from spikeport.network.connections.base import WeightedConnection
from spikeport.network.connections.bias import BiasInjection
from spikeport.network.connections.convolution import Conv1d, Conv2d
from spikeport.network.connections.dense import Dense
from spikeport.network.connections.sparse import Sparse

KINDS: tuple[type[WeightedConnection], ...] = (Dense, Conv1d, Conv2d, Sparse)
Connection = WeightedConnection | BiasInjection


def injections_among(connections: Iterable[Connection]) -> tuple[BiasInjection, ...]:
    """Those that write biases, in order."""
    return tuple(part for part in connections if isinstance(part, BiasInjection))


def weighted_among(connections: Iterable[Connection]) -> tuple[WeightedConnection, ...]:
    """Those that carry weights, in order."""
    return tuple(part for part in connections if not isinstance(part, BiasInjection))
