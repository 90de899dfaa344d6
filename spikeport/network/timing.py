"""Timing of populations if every connection costs steps, as on Lava and on the chip.

A population of depth k takes logical step t at chip step k + t. A connection of logical delay d
must delay its messages by depth(target) + d - depth(source) - cost >= 0 steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from spikeport.network.connections.base import WeightedConnection
from spikeport.network.network import DeployedNetwork

Cost = Callable[[WeightedConnection], int]
"""Number of chip steps that a connection takes."""
Cycle = Sequence[WeightedConnection]


def depths(network: DeployedNetwork, cost: Cost) -> tuple[dict[str, int], list[Cycle]]:
    """Longest paths from the inputs, and the cycles that make them infinite.

    If there are such cycles, depths are those of a network in which their delays were sufficient.
    """
    slack: Counter[str] = Counter()
    cycles: list[Cycle] = []
    while True:
        depth, cycle = _longest(network, lambda part: cost(part) - part.delay - slack[part.name])
        if not cycle:
            return depth, cycles
        cycles.append(cycle)
        slack[cycle[-1].name] += sum(cost(c) - c.delay - slack[c.name] for c in cycle)


def waits(network: DeployedNetwork, depth: Mapping[str, int], cost: Cost) -> dict[str, int]:
    """Chip steps by which each connection must delay its messages, by its name."""
    return {
        part.name: depth[part.target] + part.delay - depth[part.source] - cost(part)
        for part in network.weighted_connections
    }


def _longest(
    network: DeployedNetwork, length: Callable[[WeightedConnection], int]
) -> tuple[dict[str, int], Cycle]:
    """Longest paths, or a cycle of positive length that makes them infinite."""
    depth = dict.fromkeys(network.sources, 0)
    reached_by: dict[str, WeightedConnection] = {}
    for _ in range(len(network.populations) + 1):
        rising = None
        for part in network.weighted_connections:
            needed = depth[part.source] + length(part)
            if needed > depth[part.target]:
                depth[part.target], reached_by[part.target], rising = needed, part, part
        if rising is None:
            return depth, ()
    name = rising.target if rising else ""
    for _ in network.populations:
        name = reached_by[name].source
    cycle = [reached_by[name]]
    while cycle[-1].source != name:
        cycle.append(reached_by[cycle[-1].source])
    return depth, cycle[::-1]
