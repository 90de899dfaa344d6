"""Lava's time: when each population runs, and what Lava cannot run at all.

Every connection costs Lava one step (two with a sum-pool, which is a process of its own). A
population of depth k therefore takes logical step t of the samples at Lava step k + t, and an edge
of logical delay d needs a delay line of depth(target) + d - depth(source) - cost >= 0 steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spikeport.errors import InputError
from spikeport.network import Coding, Convolution, DeployedNetwork, Input, Synapses

CONV_FIELD_MAX = 127
"""Lava's Conv keeps kernel size, stride, padding, dilation and groups in int8."""
CONV_STOCK_SUM = 2**31
"""Lava's Conv casts its sums from float64 to int32 before it wraps them to 24 bits."""
CONV_EXACT_SUM = 2**53
POOL_SUM = 2**31
"""No pooled sum is beyond this: they are int32."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Lava depth of every input and population, and delay-line steps of every connection."""

    depth: Mapping[str, int]
    delay: Mapping[str, int]

    @property
    def last(self) -> int:
        """Steps by which the deepest population lags."""
        return max(self.depth.values())


def schedule(network: DeployedNetwork) -> Schedule:
    """Depths and delay lines of a network.

    Raises:
        InputError: Lava cannot run it; the message lists every construct that is in the way.
    """
    depth, cycle = _depths(network)
    problems = [problem for part in network.synapses for problem in _conv_problems(network, part)]
    if cycle:
        problems.append(_cycle_problem(cycle))
    if problems:
        raise InputError("backend 'lava' cannot run this network: " + "; ".join(problems))
    delay = {
        part.name: depth[part.target] + part.delay - depth[part.source] - cost(part)
        for part in network.synapses
    }
    return Schedule(depth, delay)


def cost(part: Synapses) -> int:
    """Lava steps that a connection takes."""
    return 1 if part.pool is None else 2


def is_graded(network: DeployedNetwork, part: Synapses) -> bool:
    """Whether a connection's weights meet integers rather than spikes."""
    source = network.sources[part.source]
    return part.pool is not None or (isinstance(source, Input) and source.coding is Coding.GRADED)


def conv_sum_bound(network: DeployedNetwork, part: Convolution) -> int:
    """Upper bound of the magnitude of a convolution's sums before they wrap."""
    source = network.sources[part.source]
    message = max(-source.low, source.high) if isinstance(source, Input) else 1
    if part.pool is not None:
        message *= int(np.prod(part.pool.kernel_size))
    weights = np.abs(part.weight.astype(np.int64)).reshape(len(part.weight), -1).sum(axis=1)
    return min(message, POOL_SUM) * int(weights.max())


def _depths(network: DeployedNetwork) -> tuple[dict[str, int], list[Synapses]]:
    """Longest paths from the inputs, and a cycle that makes them endless (or nothing)."""
    depth = dict.fromkeys(network.sources, 0)
    reached_by: dict[str, Synapses] = {}
    for _ in range(len(network.populations) + 1):
        rising = None
        for part in network.synapses:
            needed = depth[part.source] + cost(part) - part.delay
            if needed > depth[part.target]:
                depth[part.target], reached_by[part.target], rising = needed, part, part
        if rising is None:
            return depth, []
    name = rising.target if rising else ""
    for _ in network.populations:
        name = reached_by[name].source
    cycle = [reached_by[name]]
    while cycle[-1].source != name:
        cycle.append(reached_by[cycle[-1].source])
    return depth, cycle[::-1]


def _cycle_problem(cycle: list[Synapses]) -> str:
    names = " -> ".join(f"'{part.source}'" for part in [*cycle, cycle[0]])
    delay, steps = sum(part.delay for part in cycle), sum(cost(part) for part in cycle)
    return f"cycle {names} has a delay of {delay}, but takes Lava {steps} steps (delay it as much)"


def _conv_problems(network: DeployedNetwork, part: Synapses) -> list[str]:
    if not isinstance(part, Convolution):
        return []
    problems = []
    fields = {
        "kernel": max(part.weight.shape[2:]),
        "stride": int(np.max(part.stride)),
        "padding": int(np.max(part.padding)),
        "dilation": int(np.max(part.dilation)),
        "groups": part.groups,
    }
    for field, value in fields.items():
        if value > CONV_FIELD_MAX:
            problems.append(
                f"convolution '{part.name}' has {field} {value}, Lava's Conv holds "
                f"at most {CONV_FIELD_MAX}"
            )
    if (bound := conv_sum_bound(network, part)) >= CONV_EXACT_SUM:
        problems.append(
            f"convolution '{part.name}' can sum to {bound}, Lava's float64 is exact "
            f"below {CONV_EXACT_SUM}"
        )
    return problems
