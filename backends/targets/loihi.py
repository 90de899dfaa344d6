"""Limitations common to Loihi 1 and Loihi 2.

They were not tested on a Loihi board: every rule names the published source that it is based on.
"""

from __future__ import annotations

from collections.abc import Iterator

from spikeport.backends import Limitation, UnsupportedFeature
from spikeport.backends.cycles import unsupported_cycle
from spikeport.hardware import ChipLimits
from spikeport.network import (
    DeployedNetwork,
    Population,
    Reset,
    WeightedConnection,
    depths,
    waits,
)

DAVIES = "M. Davies et al., IEEE Micro 38(1), 2018"
LIF = "lava-nc 0.10.0, proc/lif/models.py"
STEPS = "lava-nc 0.10.0, proc/dense/process.py"
HOST = "a host, or a program on the chip's processors, must write it"


def lif_parts(network: DeployedNetwork) -> tuple[Population, ...]:
    """Populations of LIF neurons."""
    return tuple(part for part in network.populations if isinstance(part, Population))


def other_neurons(
    network: DeployedNetwork, why: str, *, stops: bool
) -> Iterator[UnsupportedFeature]:
    """Populations of other neuron models."""
    for part in network.populations:
        if not isinstance(part, Population):
            yield UnsupportedFeature(
                f"population '{part.name}'", f"{part.MODEL} neurons", why, DAVIES, stops=stops
            )


def reset_by_subtraction(
    network: DeployedNetwork, why: str, *, stops: bool
) -> Iterator[UnsupportedFeature]:
    """Populations whose reset is not that of the stock neuron."""
    for part in lif_parts(network):
        if part.reset is Reset.SUBTRACT:
            label = f"population '{part.name}'"
            yield UnsupportedFeature(label, "reset by subtraction", why, LIF, stops=stops)


def extreme_decays(
    network: DeployedNetwork, decay_u: str, decay_v: str
) -> Iterator[UnsupportedFeature]:
    """Populations with decays beyond the 12 bits of the stock neuron, and how to set each."""
    for part in lif_parts(network):
        for name, value, unreachable, takes in (
            ("decay_u", part.decay_u, 0, decay_u),
            ("decay_v", part.decay_v, network.arithmetic.decay_unity, decay_v),
        ):
            if value == unreachable:
                why = f"the 12 bits of the stock neuron cannot hold it; {takes}"
                yield UnsupportedFeature(f"population '{part.name}'", f"{name} {value}", why, LIF)


def shared(limits: ChipLimits) -> tuple[Limitation, ...]:
    """What both chips do not support: delays, cycles, size, and what a host must do."""
    delay_max, neurons = limits["delay_max"], limits["neurons"]

    def waiting(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
        depth, _ = depths(network, _one)
        for name, wait in waits(network, depth, _one).items():
            if wait > delay_max.value:
                yield UnsupportedFeature(
                    f"connection '{name}'",
                    f"a wait of {wait} steps",
                    f"a synapse can delay a spike by at most {delay_max.value} steps",
                    delay_max.citation,
                    stops=True,
                )

    def size(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
        number = sum(part.size for part in network.populations)
        if number > neurons.value:
            why = f"one chip has {neurons.value}, so it needs several chips"
            yield UnsupportedFeature("the network", f"{number} neurons", why, neurons.citation)

    return (
        Limitation(
            f"delays beyond {delay_max.value} steps, including those that balance paths of unequal "
            "depth",
            waiting,
        ),
        Limitation("cycles whose delays add up to fewer steps than they take", _short_cycles),
        Limitation(f"more than {neurons.value:,} neurons, which need several chips", size),
        Limitation(
            "v_init other than 0, a bias per step, and state zeroed for each sample, which a host "
            "must write",
            _host,
        ),
    )


def _one(_: WeightedConnection) -> int:
    """Chip steps of a connection; a sum-pool is merged into its weights."""
    return 1


def _short_cycles(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    _, cycles = depths(network, _one)
    return (unsupported_cycle(cycle, _one, "the chip", STEPS) for cycle in cycles)


def _host(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    for part in network.populations:
        if part.v_init:
            label = f"population '{part.name}'"
            yield UnsupportedFeature(
                label, f"v_init {part.v_init}", f"{HOST} before each sample", LIF
            )
    for injection in network.injections:
        label = f"population '{injection.target}'"
        yield UnsupportedFeature(label, "a bias per step", f"{HOST} in each step", LIF)
