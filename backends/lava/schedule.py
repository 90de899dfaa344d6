"""Timing on Lava: when each population runs, and what Lava cannot run at all.

Every connection costs Lava one step, or two with a sum-pool, which is a separate process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from spikeport.backends import UnsupportedFeature
from spikeport.backends.cycles import unsupported_cycle
from spikeport.backends.lava.connections import CONNECTIONS, KINDS, lava_kind
from spikeport.backends.lava.neurons import LIF, MODELS
from spikeport.errors import UnsupportedError
from spikeport.network import Coding, DeployedNetwork, Input, WeightedConnection, depths, waits


@dataclass(frozen=True, slots=True)
class Schedule:
    """Lava depth of every input and population, and delay-line steps of every connection."""

    depth: Mapping[str, int]
    delay: Mapping[str, int]

    @property
    def last(self) -> int:
        """Number of steps by which the deepest population lags."""
        return max(self.depth.values())


def schedule(network: DeployedNetwork) -> Schedule:
    """Depths and delay lines of a network.

    Raises:
        InputError: Lava cannot run it; the message lists every construct that prevents it.
    """
    if found := obstacles(network):
        raise UnsupportedError(
            f"backend 'lava': cannot run this network, {len(found)} limit(s) exceeded:",
            *(f"- {one}" for one in found),
        )
    depth, _ = depths(network, cost)
    return Schedule(depth, waits(network, depth, cost))


def obstacles(network: DeployedNetwork) -> list[UnsupportedFeature]:
    """Everything that prevents a network from running on Lava; empty if nothing does."""
    found = list(_without_process(network))
    for part in network.weighted_connections:
        if type(part) in KINDS:
            found += lava_kind(part).obstacles(network, part)
    _, cycles = depths(network, cost)
    return found + [unsupported_cycle(cycle, cost, "Lava", CONNECTIONS) for cycle in cycles]


def _without_process(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    has, kinds = (_listed(table) for table in (MODELS, KINDS))
    for population in network.populations:
        if type(population) not in MODELS:
            yield UnsupportedFeature(
                f"population '{population.name}'",
                "neurons",
                population.MODEL,
                has,
                f"use {has}: Lava has no process for others",
                LIF,
                stops=True,
            )
    for part in network.weighted_connections:
        if (kind := type(part)) not in KINDS:
            yield UnsupportedFeature(
                f"connection '{part.name}'",
                "kind",
                kind.__name__,
                kinds,
                f"use {kinds}: Lava has no process for others",
                CONNECTIONS,
                stops=True,
            )


def _listed(table: Iterable[type[Any]]) -> str:
    """The neuron models or kinds of connections of a table, by name."""
    return " or ".join(getattr(one, "MODEL", one.__name__) for one in table)


def cost(part: WeightedConnection) -> int:
    """Number of Lava steps that a connection takes."""
    return 1 if part.pool is None else 2


def is_graded(network: DeployedNetwork, part: WeightedConnection) -> bool:
    """Whether a connection multiplies its weights by integers rather than spikes."""
    source = network.sources[part.source]
    valued = isinstance(source, Input) and source.coding in (Coding.GRADED, Coding.BINARY)
    return part.pool is not None or valued
