"""Cycles that are too short for a target on which every connection costs steps."""

from __future__ import annotations

from spikeport.backends.limitation import UnsupportedFeature
from spikeport.network import Cost, Cycle


def unsupported_cycle(cycle: Cycle, cost: Cost, target: str, source: str) -> UnsupportedFeature:
    """A cycle whose delay is shorter than the number of steps it takes."""
    names = " -> ".join(f"'{part.source}'" for part in [*cycle, cycle[0]])
    over = ", ".join(f"'{part.name}'" for part in cycle)
    delay, steps = sum(part.delay for part in cycle), sum(cost(part) for part in cycle)
    return UnsupportedFeature(
        f"cycle {names} over {over}",
        "delay",
        delay,
        f"{steps} or more, the steps that it takes {target}",
        f"add {steps - delay} to the delay of '{cycle[-1].name}'",
        source,
        stops=True,
    )
