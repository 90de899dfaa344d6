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
HOST = "let a host, or a program on the chip's processors, write it"

RELAY = "put a population that repeats its spikes in the middle of it"


def lif_parts(network: DeployedNetwork) -> tuple[Population, ...]:
    """Populations of LIF neurons."""
    return tuple(part for part in network.populations if isinstance(part, Population))


def other_neurons(
    network: DeployedNetwork, remedy: str, *, stops: bool
) -> Iterator[UnsupportedFeature]:
    """Populations of other neuron models."""
    for part in network.populations:
        if not isinstance(part, Population):
            yield UnsupportedFeature(
                f"population '{part.name}'",
                "neurons",
                part.MODEL,
                Population.MODEL,
                remedy,
                DAVIES,
                stops=stops,
            )


def reset_by_subtraction(
    network: DeployedNetwork, remedy: str, *, stops: bool
) -> Iterator[UnsupportedFeature]:
    """Populations whose reset is not that of the stock neuron."""
    for part in lif_parts(network):
        if part.reset is Reset.SUBTRACT:
            yield UnsupportedFeature(
                f"population '{part.name}'",
                "reset",
                str(Reset.SUBTRACT),
                str(Reset.ZERO),
                remedy,
                LIF,
                stops=stops,
            )


def extreme_decays(
    network: DeployedNetwork, decay_u: str, decay_v: str
) -> Iterator[UnsupportedFeature]:
    """Populations with decays beyond the 12 bits of the stock neuron, and how to set each."""
    unity = network.arithmetic.decay_unity
    for part in lif_parts(network):
        label = f"population '{part.name}'"
        if part.decay_u == 0:
            yield UnsupportedFeature(label, "decay_u", 0, "1 or more", decay_u, LIF)
        if part.decay_v == unity:
            yield UnsupportedFeature(label, "decay_v", unity, unity - 1, decay_v, LIF)


def shared(limits: ChipLimits) -> tuple[Limitation, ...]:
    """What both chips do not support: delays, cycles, size, and what a host must do."""
    delay_max, neurons = limits["delay_max"], limits["neurons"]

    def waiting(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
        depth, _ = depths(network, _one)
        delays = {part.name: part.delay for part in network.weighted_connections}
        for name, wait in waits(network, depth, _one).items():
            if wait > delay_max.value:
                over = wait - delay_max.value
                shorter = f"lower its delay by {over}" if delays[name] >= over else RELAY
                yield UnsupportedFeature(
                    f"connection '{name}'",
                    "steps that its messages wait",
                    wait,
                    delay_max.value,
                    shorter,
                    delay_max.citation,
                    stops=True,
                    verified=delay_max.verified,
                )

    def size(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
        number = sum(part.size for part in network.populations)
        if number > neurons.value:
            yield UnsupportedFeature(
                "the network",
                "neurons",
                number,
                neurons.value,
                f"use {-(-number // neurons.value)} chips",
                neurons.citation,
                verified=neurons.verified,
            )

    return (
        Limitation(
            f"delays beyond {delay_max.value} steps, including those that balance paths of unequal "
            "depth",
            waiting,
        ),
        Limitation("cycles whose delays add up to fewer steps than they take", _short_cycles),
        Limitation(f"more than {neurons.value:,} neurons, which need several chips", size),
        Limitation(
            "v_init other than 0, which a host must write",
            _initial,
            rounded=True,
        ),
        Limitation(
            "a bias per step, and state zeroed for each sample, which a host must write", _injected
        ),
    )


def _one(_: WeightedConnection) -> int:
    """Chip steps of a connection; a sum-pool is merged into its weights."""
    return 1


def _short_cycles(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    _, cycles = depths(network, _one)
    return (unsupported_cycle(cycle, _one, "the chip", STEPS) for cycle in cycles)


def _initial(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    for part in network.populations:
        if part.v_init:
            label, remedy = f"population '{part.name}'", f"{HOST} before each sample"
            yield UnsupportedFeature(label, "v_init", part.v_init, 0, remedy, LIF)


def _injected(network: DeployedNetwork) -> Iterator[UnsupportedFeature]:
    for injection in network.injections:
        label, remedy = f"population '{injection.target}'", f"{HOST} in each step"
        yield UnsupportedFeature(label, "bias", "per step", "constant", remedy, LIF)
