"""What Loihi's silicon lacks of a network, construct by construct.

Nobody here has run a Loihi board: every rule names the published source that it rests on. How many
cores a network takes, and with them axons and synapse memory per core, is not judged here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spikeport.backends import UnsupportedFeature
from spikeport.backends.bounds import sum_bound
from spikeport.backends.depths import depths, unsupported_cycle, waits
from spikeport.network import (
    BiasInjection,
    Coding,
    DeployedNetwork,
    Input,
    Population,
    Reset,
    WeightedConnection,
)
from spikeport.network.fixed_point import ACTIVATION_SHIFT, BIAS_MANTISSA_MIN, DECAY_UNITY

LIF = "lava-nc 0.10.0, proc/lif/models.py"
DELAYS = "lava-nc 0.10.0, proc/dense/process.py"
NENGO = "nengo-loihi, builder/discretize.py and validate.py"
BRIAN2 = "brian2_loihi, loihi_synapses.py"
DAVIES = "M. Davies et al., IEEE Micro 38(1), 2018"
WIKICHIP = "WikiChip, Loihi 2"
MICROCODE = "needs microcode of its own"
HOST = "a host, or a program on the chip's processors, must write it"


@dataclass(frozen=True, slots=True)
class Chip:
    """What one generation of the chip has.

    Attributes:
        graded: whether spikes carry values.
        microcode: whether the neurons' program can be another one.
        delay_max: of a synapse, in chip steps.
        neurons: of one chip.
        sum_bits: bits of the accumulator of synaptic input without its sign, where they are fewer
            than those of u.
        exponent_on_weight: whether a weight exponent shifts each weight, not the sum.
    """

    name: str
    graded: bool
    microcode: bool
    delay_max: int
    delay_source: str
    neurons: int
    neurons_source: str
    sum_bits: int | None
    exponent_on_weight: bool
    limitations: tuple[str, ...]


LOIHI1: Chip = Chip(
    name="loihi1",
    graded=False,
    microcode=False,
    delay_max=62,
    delay_source=BRIAN2,
    neurons=128 * 1024,
    neurons_source=DAVIES,
    sum_bits=21,
    exponent_on_weight=True,
    limitations=(
        "graded spikes",
        "reset by subtraction",
        "sums before a negative weight exponent: it shifts each weight",
        "sums beyond 21 bits and sign in a step",
        "delays beyond 62 steps, those that balance paths of unequal depth included",
        "cycles shorter in delay than in steps",
        "more than 131,072 neurons: on several chips",
        "decay_u 0, decay_v 4096: by registers that Lava and nengo-loihi leave at their defaults",
        "a bias mantissa of -4096, weight exponent -8: published tools disagree",
        "v_init, a bias per step, zeroed state for each sample: by a host",
    ),
)
LOIHI2: Chip = Chip(
    name="loihi2",
    graded=True,
    microcode=True,
    delay_max=63,
    delay_source=DELAYS,
    neurons=10**6,
    neurons_source=WIKICHIP,
    sum_bits=None,
    exponent_on_weight=False,
    limitations=(
        "reset by subtraction, rest, decay_u 0, decay_v 4096 in the stock neuron: by microcode",
        "delays beyond 63 steps, those that balance paths of unequal depth included",
        "cycles shorter in delay than in steps",
        "more than 1,000,000 neurons: on several chips",
        "v_init, a bias per step, zeroed state for each sample: by a host",
    ),
)


def loihi_unsupported(network: DeployedNetwork, chip: Chip) -> tuple[UnsupportedFeature, ...]:
    """Every construct of `network` that `chip` does not have."""
    return (
        *(gap for part in network.inputs for gap in _unsupported_inputs(part, chip)),
        *(gap for part in network.populations for gap in _unsupported_neurons(part, chip)),
        *(_unsupported_injection(part) for part in network.injections),
        *(gap for part in network.weighted_connections for gap in _unsupported_weights(part, chip)),
        *_unsupported_sums(network, chip),
        *_unsupported_timing(network, chip),
        *_unsupported_sizes(network, chip),
    )


def _unsupported_inputs(part: Input, chip: Chip) -> Iterator[UnsupportedFeature]:
    spikes = part.low >= 0 and part.high <= 1
    if part.coding is Coding.GRADED and not (spikes or chip.graded):
        yield UnsupportedFeature(
            f"input '{part.name}'",
            f"graded spikes of {part.low}..{part.high}",
            "a spike carries no value there; feed spikes, or a bias per step",
            DAVIES,
            stops=True,
        )


def _unsupported_neurons(part: Population, chip: Chip) -> Iterator[UnsupportedFeature]:
    label = f"population '{part.name}'"
    if part.reset is Reset.SUBTRACT:
        why = (
            f"the stock neuron resets to 0; this {MICROCODE}"
            if chip.microcode
            else ("its neurons reset to 0, and no public way to do otherwise is known")
        )
        yield UnsupportedFeature(label, "reset by subtraction", why, LIF, stops=not chip.microcode)
    if part.v_init:
        yield UnsupportedFeature(label, f"v_init {part.v_init}", f"{HOST} before each sample", LIF)
    for name, value, unreachable, register in (
        ("decay_u", part.decay_u, 0, "dsOffset at 0, which Lava and nengo-loihi leave at 1"),
        ("decay_v", part.decay_v, DECAY_UNITY, "dmOffset at 1, which Lava leaves at 0"),
    ):
        if value == unreachable:
            why = MICROCODE if chip.microcode else f"needs the register {register}"
            yield UnsupportedFeature(
                label, f"{name} {value}", f"beyond the stock 12 bits; {why}", LIF
            )
    if part.refractory and chip.microcode:
        yield UnsupportedFeature(
            label, f"{part.refractory} steps of rest after a spike", MICROCODE, LIF
        )
    if not chip.microcode and (part.bias == BIAS_MANTISSA_MIN).any():
        yield UnsupportedFeature(
            label,
            f"a bias mantissa of {BIAS_MANTISSA_MIN}",
            "Lava allows -4096..4095, nengo-loihi -4095..4095",
            NENGO,
        )


def _unsupported_injection(part: BiasInjection) -> UnsupportedFeature:
    return UnsupportedFeature(
        f"population '{part.target}'", "a bias per step", f"{HOST} in each step", LIF
    )


def _unsupported_weights(part: WeightedConnection, chip: Chip) -> Iterator[UnsupportedFeature]:
    label = f"connection '{part.name}'"
    if not chip.exponent_on_weight or part.exponent >= 0:
        return
    lossy = int(np.count_nonzero(part.weight % (1 << -part.exponent)))
    if lossy:
        yield UnsupportedFeature(
            label,
            f"weight exponent {part.exponent}",
            f"it shifts each weight there, not their sum, and {lossy} of {part.weight.size} "
            f"weights are no multiple of {1 << -part.exponent}",
            BRIAN2,
            stops=True,
        )
    if part.exponent == -8:
        why = "brian2_loihi allows -8..7, nengo-loihi -7..7"
        yield UnsupportedFeature(label, "weight exponent -8", why, NENGO)


def _unsupported_sums(network: DeployedNetwork, chip: Chip) -> Iterator[UnsupportedFeature]:
    if chip.sum_bits is None:
        return
    largest = (1 << (chip.sum_bits - ACTIVATION_SHIFT)) - 1
    for population in network.populations:
        bound = sum(
            _shifted(sum_bound(network, c), c.exponent)
            for c in network.weighted_connections
            if c.target == population.name
        )
        if bound > largest:
            yield UnsupportedFeature(
                f"population '{population.name}'",
                f"sums of up to {bound} in a step",
                f"its accumulator of {chip.sum_bits} bits and sign wraps beyond {largest}",
                NENGO,
            )


def _shifted(value: int, exponent: int) -> int:
    return value << exponent if exponent >= 0 else value >> -exponent


def _one(_: WeightedConnection) -> int:
    """Chip steps of a connection; a sum-pool is folded into its weights."""
    return 1


def _unsupported_timing(network: DeployedNetwork, chip: Chip) -> Iterator[UnsupportedFeature]:
    depth, cycles = depths(network, _one)
    yield from (unsupported_cycle(cycle, _one, "the chip", DELAYS) for cycle in cycles)
    for name, wait in waits(network, depth, _one).items():
        if wait > chip.delay_max:
            why = f"a synapse waits at most {chip.delay_max}"
            yield UnsupportedFeature(
                f"connection '{name}'",
                f"a wait of {wait} steps",
                why,
                chip.delay_source,
                stops=True,
            )


def _unsupported_sizes(network: DeployedNetwork, chip: Chip) -> Iterator[UnsupportedFeature]:
    neurons = sum(part.size for part in network.populations)
    if neurons > chip.neurons:
        why = f"one chip has {chip.neurons}, so that it takes several"
        yield UnsupportedFeature("the network", f"{neurons} neurons", why, chip.neurons_source)
