"""What tinychip does not support, based on the limits in `target.toml`; the chip is fictional."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from spikeport.backends import Limitation, UnsupportedFeature
from spikeport.hardware import ChipLimits, Limit
from spikeport.network import Coding, DeployedNetwork, Population, Reset, weighted_shape


def limitations(limits: ChipLimits) -> list[Limitation]:
    """Everything that the chip does not support natively."""
    neurons, fan_in, bits, delay = (
        limits[name] for name in ("neurons", "fan_in", "weight_bits", "delay_max")
    )
    return [
        Limitation("graded spikes", partial(_graded, limit=limits["graded_payloads"])),
        Limitation(f"more than {neurons.value} neurons", partial(_neurons, limit=neurons)),
        Limitation("neurons other than LIF", partial(_other_neurons, limit=neurons)),
        Limitation(
            "reset to zero: with a different neuron program",
            partial(_reset, limit=limits["reset_to_zero"]),
        ),
        Limitation(
            f"more than {fan_in.value} synapses of a connection per neuron",
            partial(_fan_in, limit=fan_in),
        ),
        Limitation(f"weights of more than {bits.value} bits", partial(_weight_bits, limit=bits)),
        Limitation(f"delays beyond {delay.value} steps", partial(_delays, limit=delay)),
    ]


def _graded(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    for part in network.inputs:
        if part.coding is Coding.GRADED:
            yield UnsupportedFeature(
                f"input '{part.name}'",
                "graded values",
                f"{part.low}..{part.high}",
                "0..1",
                "use an input of 0/1 spikes",
                limit.citation,
                stops=True,
            )


def _neurons(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    count = sum(part.size for part in network.populations)
    if count > limit.value:
        remedy = "make its populations smaller"
        yield UnsupportedFeature(
            "the network", "neurons", count, limit.value, remedy, limit.citation, stops=True
        )


def _other_neurons(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    for part in network.populations:
        if not isinstance(part, Population):
            label, has = f"population '{part.name}'", Population.MODEL
            yield UnsupportedFeature(
                label, "neurons", part.MODEL, has, f"use {has}", limit.citation, stops=True
            )


def _reset(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    """A feature that can be run with a workaround, so `stops` is False."""
    for part in network.populations:
        if isinstance(part, Population) and part.reset is Reset.ZERO:
            label, remedy = f"population '{part.name}'", "load the other neuron program"
            yield UnsupportedFeature(label, "reset", "zero", "subtract", remedy, limit.citation)


def _fan_in(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    for part in network.weighted_connections:
        shape = weighted_shape(part, network.sources[part.source].shape)
        targets = range(network.by_name[part.target].size)
        synapses = max(sum(1 for _ in part.row(shape, target)) for target in targets)
        if synapses > limit.value:
            yield _too_many(
                part.name, "synapses per neuron", synapses, limit, "put a layer between"
            )


def _weight_bits(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    for part in network.weighted_connections:
        if part.weight_bits > limit.value:
            remedy = f"quantize with --bits {limit.value}"
            yield _too_many(part.name, "bits per weight", part.weight_bits, limit, remedy)


def _delays(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    for part in network.weighted_connections:
        if part.delay > limit.value:
            yield _too_many(part.name, "delay", part.delay, limit, "shorten it")


def _too_many(
    connection: str, quantity: str, value: int, limit: Limit, remedy: str
) -> UnsupportedFeature:
    label = f"connection '{connection}'"
    return UnsupportedFeature(
        label, quantity, value, limit.value, remedy, limit.citation, stops=True
    )
