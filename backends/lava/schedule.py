"""Timing on Lava: when each population runs, and what Lava cannot run at all.

Every connection costs Lava one step, or two with a sum-pool, which is a separate process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spikeport.backends import UnsupportedFeature
from spikeport.backends.bounds import sum_bound
from spikeport.backends.depths import depths, unsupported_cycle, waits
from spikeport.backends.limitation import refusal
from spikeport.errors import InputError
from spikeport.network import Coding, Convolution, DeployedNetwork, Input, WeightedConnection

CONNECTIONS = "lava-nc 0.10.0, proc/dense/models.py"
CONV = "lava-nc 0.10.0, proc/conv/models.py"
CONV_FIELD_MAX = 127
"""Lava's Conv stores kernel size, stride, padding, dilation and groups in int8."""
CONV_STOCK_SUM = 2**31
"""Lava's Conv casts its sums from float64 to int32 before wrapping them to 24 bits."""
CONV_EXACT_SUM = 2**53


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
    if message := refusal("backend 'lava'", obstacles(network)):
        raise InputError(message)
    depth, _ = depths(network, cost)
    return Schedule(depth, waits(network, depth, cost))


def obstacles(network: DeployedNetwork) -> list[UnsupportedFeature]:
    """Everything that prevents a network from running on Lava; empty if nothing does."""
    found = [one for part in network.weighted_connections for one in _conv_obstacles(network, part)]
    _, cycles = depths(network, cost)
    return found + [unsupported_cycle(cycle, cost, "Lava", CONNECTIONS) for cycle in cycles]


def cost(part: WeightedConnection) -> int:
    """Number of Lava steps that a connection takes."""
    return 1 if part.pool is None else 2


def is_graded(network: DeployedNetwork, part: WeightedConnection) -> bool:
    """Whether a connection multiplies its weights by integers rather than spikes."""
    source = network.sources[part.source]
    return part.pool is not None or (isinstance(source, Input) and source.coding is Coding.GRADED)


def _conv_obstacles(network: DeployedNetwork, part: WeightedConnection) -> list[UnsupportedFeature]:
    if not isinstance(part, Convolution):
        return []
    found = []
    label = f"connection '{part.name}'"
    fields = {
        "kernel": max(part.weight.shape[2:]),
        "stride": int(np.max(part.stride)),
        "padding": int(np.max(part.padding)),
        "dilation": int(np.max(part.dilation)),
        "groups": part.groups,
    }
    for field, value in fields.items():
        if value > CONV_FIELD_MAX:
            why = f"Lava's Conv allows at most {CONV_FIELD_MAX}"
            found.append(UnsupportedFeature(label, f"{field} {value}", why, CONV, stops=True))
    if (bound := sum_bound(network, part)) >= CONV_EXACT_SUM:
        why = f"Lava's float64 is exact below {CONV_EXACT_SUM}"
        found.append(UnsupportedFeature(label, f"sums of up to {bound}", why, CONV, stops=True))
    return found
