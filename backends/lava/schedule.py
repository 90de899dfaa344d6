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

COMPILER = "lava-nc 0.10.0, magma/compiler/compiler_graphs.py"
MOST_PROCESSES = 900
"""Lava's compiler calls itself once for each process, and Python allows 1,000 such calls. As many
processes also take more than 10 GB."""


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
            f"backend 'lava': cannot run this network, {len(found)} "
            f"limit{'s' * (len(found) > 1)} exceeded:",
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
    depth, cycles = depths(network, cost)
    if cycles:
        return found + [unsupported_cycle(cycle, cost, "Lava", CONNECTIONS) for cycle in cycles]
    number = _processes(network, Schedule(depth, waits(network, depth, cost)))
    if number > MOST_PROCESSES:
        fix = "run it on native, which has no such limit"
        found.append(
            UnsupportedFeature(
                "network", "Lava processes", number, MOST_PROCESSES, fix, COMPILER, stops=True
            )
        )
    return found


def needs_delay_line(times: Schedule, part: WeightedConnection) -> bool:
    """Whether messages must be delayed, or those of a sample's last steps kept from the next."""
    return times.delay[part.name] > 0 or part.delay > 0


def _processes(network: DeployedNetwork, times: Schedule) -> int:
    """Number of Lava processes: of inputs, populations, connections, delay lines and pools."""
    connections = network.weighted_connections
    return (
        len({part.source for part in connections} - network.by_name.keys())
        + len(network.populations)
        + len(network.connections)
        + sum(needs_delay_line(times, part) + (part.pool is not None) for part in connections)
    )


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
