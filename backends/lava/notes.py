"""What a network needs of Lava beyond the processes that lava-nc 0.10.0 has; see docs/lava.md."""

from __future__ import annotations

from spikeport.backends import UnsupportedFeature
from spikeport.backends.depths import depths, waits
from spikeport.backends.lava.connections import lava_kind
from spikeport.backends.lava.schedule import Schedule, cost, obstacles
from spikeport.network import DeployedNetwork, Population, Reset, WeightedConnection

LIF = "lava-nc 0.10.0, proc/lif/models.py"


def lava_unsupported(network: DeployedNetwork) -> tuple[UnsupportedFeature, ...]:
    """All that keeps a network from running on Lava, and each part that needs a process of ours."""
    found = obstacles(network)
    for population in network.populations:
        label = f"population '{population.name}'"
        for needed in own_neurons(network, population):
            found.append(_own(label, needed, "LIFReset", "SampleLIF", LIF))
    depth, _ = depths(network, cost)
    times = Schedule(depth, waits(network, depth, cost))
    for part in network.weighted_connections:
        label = f"connection '{part.name}'"
        kind = lava_kind(part)
        for needed in kind.own(network, part):
            found.append(_own(label, needed, kind.stock, f"Wide{kind.stock}", kind.source))
        wait = times.delay[part.name]
        if wait >= 0 and needs_delay_line(times, part):  # Below 0 it closes a cycle of `obstacles`.
            needed = f"a wait of {wait} steps, cut at each sample's end"
            found.append(_own(label, needed, kind.stock, "DelayLine", kind.source))
    return tuple(found)


def own_neurons(network: DeployedNetwork, population: Population) -> list[str]:
    """What Lava's LIFReset does not have of a population's dynamics; empty if it has all."""
    found = {
        "reset by subtraction": population.reset is Reset.SUBTRACT,
        f"v_init {population.v_init}": population.v_init != 0,
        "a bias per step": bool(network.injections_into(population.name)),
        f"{population.refractory} steps of rest after a spike": population.refractory > 0,
    }
    return [what for what, needed in found.items() if needed]


def needs_delay_line(times: Schedule, part: WeightedConnection) -> bool:
    """Whether messages must wait, or those of a sample's last steps must not reach the next."""
    return times.delay[part.name] > 0 or part.delay > 0


def _own(label: str, needed: str, stock: str, own: str, source: str) -> UnsupportedFeature:
    return UnsupportedFeature(
        label, needed, f"not in Lava's {stock}, runs on Spikeport's {own}", source
    )
