"""What a network needs of Lava beyond the processes that lava-nc 0.10.0 has; see docs/lava.md."""

from __future__ import annotations

from spikeport.backends import UnsupportedFeature
from spikeport.backends.bounds import sum_bound
from spikeport.backends.depths import depths, waits
from spikeport.backends.lava.neurons import lava_neurons
from spikeport.backends.lava.schedule import (
    CONNECTIONS,
    CONV,
    CONV_STOCK_SUM,
    Schedule,
    cost,
    obstacles,
)
from spikeport.network import Convolution, DeployedNetwork, WeightedConnection


def lava_unsupported(network: DeployedNetwork) -> tuple[UnsupportedFeature, ...]:
    """All that keeps a network from running on Lava, and each part that needs a process of ours."""
    found = obstacles(network)
    for population in network.populations:
        label = f"population '{population.name}'"
        made = lava_neurons(network, population)
        for needed in made.unsupported:
            found.append(_own(label, needed, made.stock, made.kind, made.source))
    depth, _ = depths(network, cost)
    times = Schedule(depth, waits(network, depth, cost))
    for part in network.weighted_connections:
        label = f"connection '{part.name}'"
        stock, source = ("Conv", CONV) if isinstance(part, Convolution) else ("Dense", CONNECTIONS)
        if isinstance(part, Convolution):
            for needed in own_convolution(network, part):
                found.append(_own(label, needed, "Conv", "WideConv", CONV))
        wait = times.delay[part.name]
        if wait >= 0 and needs_delay_line(times, part):  # Below 0 it closes a cycle of `obstacles`.
            needed = f"a wait of {wait} steps, cut at each sample's end"
            found.append(_own(label, needed, stock, "DelayLine", source))
    return tuple(found)


def needs_delay_line(times: Schedule, part: WeightedConnection) -> bool:
    """Whether messages must wait, or those of a sample's last steps must not reach the next."""
    return times.delay[part.name] > 0 or part.delay > 0


def own_convolution(network: DeployedNetwork, part: Convolution) -> list[str]:
    """What Lava's Conv does not have of a convolution; empty if it has all."""
    found = {
        f"weight exponent {part.exponent}": part.exponent != 0,
        "sums beyond 32 bits": sum_bound(network, part) >= CONV_STOCK_SUM,
    }
    return [what for what, needed in found.items() if needed]


def _own(label: str, needed: str, stock: str, own: str, source: str) -> UnsupportedFeature:
    return UnsupportedFeature(
        label, needed, f"not in Lava's {stock}, runs on Spikeport's {own}", source
    )
