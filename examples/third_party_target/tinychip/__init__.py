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
                f"graded spikes of {part.low}..{part.high}",
                "a spike is one bit",
                limit.citation,
                stops=True,
            )


def _neurons(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    count = sum(part.size for part in network.populations)
    if count > limit.value:
        why = f"the chip has {limit.value}"
        yield UnsupportedFeature("the network", f"{count} neurons", why, limit.citation, stops=True)


def _other_neurons(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    for part in network.populations:
        if not isinstance(part, Population):
            label, why = f"population '{part.name}'", "the chip has LIF neurons only"
            yield UnsupportedFeature(
                label, f"{part.MODEL} neurons", why, limit.citation, stops=True
            )


def _reset(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    """A feature that can be run with a workaround, so `stops` is False."""
    for part in network.populations:
        if isinstance(part, Population) and part.reset is Reset.ZERO:
            label, why = f"population '{part.name}'", "needs a different neuron program"
            yield UnsupportedFeature(label, "reset to zero", why, limit.citation)


def _fan_in(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    for part in network.weighted_connections:
        shape = weighted_shape(part, network.sources[part.source].shape)
        targets = range(network.by_name[part.target].size)
        synapses = max(sum(1 for _ in part.row(shape, target)) for target in targets)
        if synapses > limit.value:
            label, why = f"connection '{part.name}'", f"a neuron takes at most {limit.value}"
            yield UnsupportedFeature(
                label, f"{synapses} synapses per neuron", why, limit.citation, stops=True
            )


def _weight_bits(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    for part in network.weighted_connections:
        if part.weight_bits > limit.value:
            label, why = f"connection '{part.name}'", f"it stores {limit.value} bits"
            yield UnsupportedFeature(
                label, f"weights of {part.weight_bits} bits", why, limit.citation, stops=True
            )


def _delays(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    for part in network.weighted_connections:
        if part.delay > limit.value:
            label, why = (
                f"connection '{part.name}'",
                f"a synapse can delay by at most {limit.value}",
            )
            yield UnsupportedFeature(
                label, f"a delay of {part.delay}", why, limit.citation, stops=True
            )
