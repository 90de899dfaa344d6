"""What a network needs of Lava beyond the processes that lava-nc 0.10.0 has; see docs/lava.md."""

from __future__ import annotations

from collections.abc import Iterator

from spikeport.backends import Limitation, UnsupportedFeature
from spikeport.backends.depths import depths, waits
from spikeport.backends.lava.connections import CONV_EXACT_SUM, CONV_FIELD_MAX, lava_kind
from spikeport.backends.lava.schedule import Schedule, cost, obstacles
from spikeport.network import DeployedNetwork, Population, Reset, WeightedConnection

LIF = "lava-nc 0.10.0, proc/lif/models.py"


def own_neurons(network: DeployedNetwork, population: Population) -> list[str]:
    """What Lava's LIFReset does not support of a population's dynamics; empty if nothing."""
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


def _sample_lif(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    for population in network.populations:
        for needed in own_neurons(network, population):
            yield _own(f"population '{population.name}'", needed, "LIFReset", "SampleLIF", LIF)


def _delay_line(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    depth, _ = depths(network, cost)
    times = Schedule(depth, waits(network, depth, cost))
    for part in network.weighted_connections:
        kind, wait = lava_kind(part), times.delay[part.name]
        if wait >= 0 and needs_delay_line(times, part):  # Below 0 it closes a cycle of `obstacles`.
            needed = f"a wait of {wait} steps, cut at each sample's end"
            yield _own(f"connection '{part.name}'", needed, kind.stock, "DelayLine", kind.source)


def _wide_conv(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    for part in network.weighted_connections:
        kind = lava_kind(part)
        for needed in kind.wide(network, part):
            yield _own(f"connection '{part.name}'", needed, kind.stock, "WideConv", kind.source)


def _own(label: str, needed: str, stock: str, own: str, source: str) -> UnsupportedFeature:
    return UnsupportedFeature(
        label, needed, f"not in Lava's {stock}, runs on Spikeport's {own}", source
    )


LIMITATIONS = (
    Limitation(
        f"cycles shorter in delay than in steps, kernels beyond {CONV_FIELD_MAX}, "
        f"sums of 2^{CONV_EXACT_SUM.bit_length() - 1}: refused",
        obstacles,
    ),
    Limitation(
        "reset by subtraction, refractory time, v_init, a bias per step: our SampleLIF", _sample_lif
    ),
    Limitation(
        "delays, skip paths of unequal depth, recurrence between samples: our DelayLine",
        _delay_line,
    ),
    Limitation(
        "weight exponents and sums beyond 32 bits of convolutions: our WideConv", _wide_conv
    ),
)
