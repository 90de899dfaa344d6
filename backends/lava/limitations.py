"""Features for which lava-nc 0.10.0 has no process; see docs/lava.md."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from spikeport.backends import Limitation, UnsupportedFeature
from spikeport.backends.arithmetic import arithmetic_limitation
from spikeport.backends.lava.connections import CONV_EXACT_SUM, CONV_FIELD_MAX, KINDS, lava_kind
from spikeport.backends.lava.neurons import MODELS, Beyond, lava_neurons
from spikeport.backends.lava.schedule import (
    MOST_PROCESSES,
    Schedule,
    cost,
    needs_delay_line,
    obstacles,
)
from spikeport.network import DeployedNetwork, WeightedConnection, depths, waits


def _own_neurons(network: DeployedNetwork, *, rounded: bool) -> Iterator[UnsupportedFeature]:
    for population in network.populations:
        if type(population) not in MODELS:  # One of `obstacles`.
            continue
        made = lava_neurons(network, population)
        for needed in made.unsupported:
            if needed.rounded == rounded:
                label = f"population '{population.name}'"
                yield _own(label, needed, made.stock, made.kind, made.source)


def _delay_line(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    depth, _ = depths(network, cost)
    times = Schedule(depth, waits(network, depth, cost))
    for part in _known(network):
        kind, wait = lava_kind(part), times.delay[part.name]
        if wait >= 0 and needs_delay_line(times, part):  # Below 0 it closes a cycle of `obstacles`.
            needed = Beyond("delay", part.delay, 0) if part.delay else Beyond("wait", wait, 0)
            yield _own(f"connection '{part.name}'", needed, kind.stock, "DelayLine", kind.source)


def _wide_conv(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    for part in _known(network):
        kind = lava_kind(part)
        for needed in kind.wide(network, part):
            yield _own(f"connection '{part.name}'", needed, kind.stock, "WideConv", kind.source)


def _known(network: DeployedNetwork) -> Iterator[WeightedConnection]:
    """Connections that Lava has a process for; all others are `obstacles`."""
    return (part for part in network.weighted_connections if type(part) in KINDS)


def _own(label: str, needed: Beyond, stock: str, own: str, source: str) -> UnsupportedFeature:
    return UnsupportedFeature(
        label,
        needed.quantity,
        needed.value,
        needed.limit,
        f"nothing to do: it runs on Spikeport's {own} instead of Lava's {stock}",
        source,
    )


LIMITATIONS = (
    arithmetic_limitation(),
    Limitation(
        "cycles whose delays add up to fewer steps than they take, convolutions with a kernel, "
        f"stride, padding, dilation or groups above {CONV_FIELD_MAX}, convolutions whose sums can "
        f"reach 2^{CONV_EXACT_SUM.bit_length() - 1}, and networks that need more than "
        f"{MOST_PROCESSES} processes; all of these are refused",
        obstacles,
    ),
    Limitation(
        "reset by subtraction, refractory time and a bias per step, which run on Spikeport's "
        "SampleLIF; ATRLIF neurons whose state is zeroed for each sample, which run on Spikeport's "
        "SampleATRLIF",
        partial(_own_neurons, rounded=False),
    ),
    Limitation(
        "v_init other than 0, which runs on Spikeport's SampleLIF or SampleATRLIF",
        partial(_own_neurons, rounded=True),
        rounded=True,
    ),
    Limitation(
        "delays, skip paths of unequal depth, and recurrent connections, whose messages must not "
        "reach the next sample; they run on Spikeport's DelayLine",
        _delay_line,
    ),
    Limitation(
        "convolutions with weight exponents other than 0 or with sums beyond 32 bits, which run on "
        "Spikeport's WideConv",
        _wide_conv,
        rounded=True,
    ),
)
