"""What Loihi 1 does not support, based on the limits in `target.toml`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from spikeport.backends import Limitation, UnsupportedFeature
from spikeport.backends.targets import loihi
from spikeport.hardware import ChipLimits, Limit
from spikeport.network import Coding, DeployedNetwork, accumulator_max, population_bound

NEURONS = "the chip's neurons are LIF and cannot be programmed"
RESET = (
    "the chip's neurons reset to 0, and no other method has been published; train with reset zero"
)
DECAY_U = "it needs the register dsOffset at 0, which Lava and nengo-loihi leave at 1"
DECAY_V = "it needs the register dmOffset at 1, which Lava leaves at 0"


def limitations(limits: ChipLimits) -> tuple[Limitation, ...]:
    """Everything that the chip does not support natively."""
    bias, exponent = limits["bias_mantissa_min"], limits["weight_exponent_min"]
    sums, shifts = limits["sum_bits"], limits["exponent_shifts_weights"]
    return (
        Limitation(
            "graded spikes, because a spike carries no value; use 0/1 spikes, binary digits or a "
            "bias per step",
            partial(_graded, limit=limits["graded_payloads"]),
        ),
        Limitation(
            "neurons other than LIF, because the chip's neurons cannot be programmed",
            partial(loihi.other_neurons, why=NEURONS, stops=True),
        ),
        Limitation(
            "reset by subtraction, because the chip's neurons reset to 0",
            partial(loihi.reset_by_subtraction, why=RESET, stops=True),
        ),
        Limitation(
            "decay_u 0 and decay_v 4096, which need registers that Lava and nengo-loihi leave at "
            "their defaults",
            partial(loihi.extreme_decays, decay_u=DECAY_U, decay_v=DECAY_V),
        ),
        Limitation(
            f"a bias mantissa of {bias.value - 1} and weight exponent {exponent.value - 1}, on "
            "which published tools disagree",
            partial(_disputed, bias=bias, exponent=exponent),
        ),
        Limitation(
            "weights that lose bits by a negative weight exponent, because it shifts each weight, "
            "not the sum",
            partial(_cut_weights, limit=shifts),
        ),
        Limitation(
            f"sums beyond {sums.value} bits and sign in a step, where the accumulator wraps",
            partial(_sums, limit=sums),
        ),
        *loihi.shared(limits),
    )


def _graded(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    for part in network.inputs:
        spikes = part.low >= 0 and part.high <= 1
        if part.coding is Coding.GRADED and not spikes:
            yield UnsupportedFeature(
                f"input '{part.name}'",
                f"graded spikes of {part.low}..{part.high}",
                "a spike carries no value there; use 0/1 spikes, binary digits or a bias per step",
                limit.citation,
                stops=True,
            )


def _disputed(
    network: DeployedNetwork, bias: Limit, exponent: Limit
) -> Iterator[UnsupportedFeature]:
    """Values that Lava or brian2_loihi allow and nengo-loihi does not."""
    for part in network.populations:
        if (part.bias < bias.value).any():
            yield UnsupportedFeature(
                f"population '{part.name}'",
                f"a bias mantissa of {bias.value - 1}",
                f"Lava allows {bias.value - 1}..4095, nengo-loihi {bias.value}..4095",
                bias.citation,
            )
    for connection in network.weighted_connections:
        if connection.exponent < exponent.value:
            yield UnsupportedFeature(
                f"connection '{connection.name}'",
                f"weight exponent {connection.exponent}",
                f"brian2_loihi allows {exponent.value - 1}..7, nengo-loihi {exponent.value}..7",
                exponent.citation,
            )


def _cut_weights(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    """Connections whose weights would lose bits."""
    for part in network.weighted_connections:
        unit = 1 << max(-part.exponent, 0)
        if lossy := int(np.count_nonzero(part.weight % unit)):
            yield UnsupportedFeature(
                f"connection '{part.name}'",
                f"weight exponent {part.exponent}",
                f"the chip shifts each weight, not the sum, and {lossy} of {part.weight.size} "
                f"weights are not a multiple of {unit}",
                limit.citation,
                stops=True,
            )


def _sums(network: DeployedNetwork, limit: Limit) -> Iterator[UnsupportedFeature]:
    largest = accumulator_max(limit.value, network.arithmetic)
    for population in network.populations:
        bound = population_bound(network, population.name)
        if bound > largest:
            yield UnsupportedFeature(
                f"population '{population.name}'",
                f"sums of up to {bound} in a step",
                f"the chip's accumulator of {limit.value} bits and sign wraps beyond {largest}",
                limit.citation,
            )
