"""Every limit of every chip: at the limit nothing is found, one above it the whole message."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from spikeport import check
from spikeport.backends import UnsupportedFeature
from spikeport.backends.core_fit import core_limitations
from spikeport.backends.lava.connections import CONV_EXACT_SUM, CONV_FIELD_MAX
from spikeport.backends.limitation import find_unsupported
from spikeport.hardware import ChipLimits, Limit, TargetFile, read_target
from spikeport.mapping.limits import KEYS, MESH_KEYS, STORAGE_KEYS
from spikeport.network import (
    LOIHI,
    ATRLIFPopulation,
    BiasInjection,
    Coding,
    Conv2d,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    Reset,
    SumPool2d,
    WeightedConnection,
)
from spikeport.plugins import PluginKind, plugins
from tests.helpers.target_networks import chain, dense, plain

CHIPS = {name: read_target(one) for name, one in plugins(PluginKind.TARGET).items()}
LAYOUT = {*STORAGE_KEYS, *MESH_KEYS, "columns_power_of_two"} - {"weight_exponent_min"}
"""How a core stores synapses, and where it lies: no network can be beyond these numbers."""
SUM_UNIT = LOIHI.activation_shift


def of(
    inputs: Iterable[Input], populations: Iterable[Population], *parts: WeightedConnection
) -> DeployedNetwork:
    neurons = tuple(populations)
    return DeployedNetwork(tuple(inputs), neurons, parts, (Readout(neurons[-1].name),), 2)


def populations(*made: Population) -> DeployedNetwork:
    """Populations that each receive from one input neuron."""
    return of([Input("x", (1,))], made, *(dense("x", one.name, one.size, 1) for one in made))


def several(count: int, size: int = 1, **each: Callable[[int], int]) -> DeployedNetwork:
    """Populations `p000`, `p001`, ..., with fields that depend on their number from 1 on."""

    def made(number: int) -> Population:
        fields: dict[str, Any] = {"vth": 9} | {name: of(number) for name, of in each.items()}
        return Population(f"p{number - 1:03d}", (size,), **fields)

    return populations(*map(made, range(1, count + 1)))


def summing(*weights: int) -> DeployedNetwork:
    matrix = np.array([weights], np.int16)
    return of(
        [Input("x", (len(weights),))], [Population("a", (1,), vth=9)], Dense("x", "a", matrix)
    )


def reading(sources: int) -> DeployedNetwork:
    """A neuron that reads sources, most of them in pairs that share a list of synapses."""
    pairs = (sources - 4) // 2
    rest = sources - 2 * pairs
    return of(
        [Input("x", (1, 2, pairs)), Input("y", (rest,))],
        [Population("a", (1,), vth=9)],
        Dense("x", "a", few(1, pairs), pool=SumPool2d((2, 1), (2, 1))),
        Dense("y", "a", few(1, rest)),
    )


def reaching(file: TargetFile, axons: int) -> DeployedNetwork:
    """A neuron with connections to a population of 64 full cores, and to one neuron."""
    size = 64 * file.limits["neurons_per_core"].value
    many, rest = divmod(axons, 64)
    return of(
        [Input("x", (1,))],
        [Population(name, (n,), vth=9) for name, n in (("a", 1), ("b", size), ("c", 1))],
        dense("x", "a", 1, 1),
        *(dense("a", "b", size, 1, name=f"b{k}") for k in range(many)),
        *(dense("a", "c", 1, 1, name=f"c{k}") for k in range(rest)),
        dense("x", "c", 1, 1),
    )


def formats(count: int) -> DeployedNetwork:
    """A neuron whose connections have different delays."""
    parts = (dense("x", "a", 1, 1, delay=k, name=f"c{k}") for k in range(count))
    return of([Input("x", (1,))], [Population("a", (1,), vth=9)], *parts)


def channels(count: int) -> DeployedNetwork:
    """A neuron after a convolution of many channels at one position."""
    weight = few(1, count, 1, 1)
    return of(
        [Input("x", (count, 1, 1))], [Population("a", (1, 1, 1), vth=9)], Conv2d("x", "a", weight)
    )


def few(*shape: int) -> Any:
    """Weights of 8 bits, all but one of them 0, so that sums are small."""
    weight = np.zeros(shape, np.int16)
    weight.flat[0] = 255
    return weight


def memory(file: TargetFile, count: int) -> int:
    """Bits that `channels(count)` takes, by the formula of docs/mapping.md."""
    word, header = (file.limits[f"synapse_{name}_bits"].value for name in ("word", "header"))
    if file.limits["kernels_stored_once"].value:  # a list for each channel
        return count * word * -(-(8 + header) // word)
    block = file.limits["synapses_per_block"].value
    parts = [block] * (count // block) + [count % block] * (count % block > 0)
    return sum(word * -(-(8 * part + header) // word) for part in parts)


@dataclass(frozen=True)
class Case:
    """Networks at a limit and one above.

    Attributes:
        at, above: from the limit's value, or from the chip if that is not enough.
        told: the messages above the limit, one of them about this limit.
        also: those at the limit, about others.
        core: the limit is one of cores: judged on a chip of one core.
    """

    at: Callable[[TargetFile, int], DeployedNetwork]
    above: Callable[[TargetFile, int], DeployedNetwork]
    told: Callable[[TargetFile, int], list[str]]
    also: Callable[[TargetFile, int], list[str]] = lambda file, value: []
    core: bool = False


def by_count(
    make: Callable[[int], DeployedNetwork],
    told: Callable[[TargetFile, int], list[str]],
    **more: Any,
) -> Case:
    """A case of networks with so many of something."""
    return Case(lambda _, n: make(n), lambda _, n: make(n + 1), told, **more)


def cores(file: TargetFile, neurons: int, largest: str = "a") -> list[str]:
    """What is told of a population by itself that takes too many cores."""
    limits = file.limits
    limit, taken = limits["cores"].value, -(-neurons // limits["neurons_per_core"].value)
    return [too_many(taken, limit, largest)] if taken > limit else []


def too_many(taken: int, limit: int, largest: str) -> str:
    return (
        f"the network: cores {taken} (limit: {limit}); use {-(-taken // limit)} chips, or make "
        f"'{largest}' smaller, which takes most cores"
    )


def full_cores(file: TargetFile, count: int) -> DeployedNetwork:
    """Populations of which each fills more than half of a core."""
    most = file.limits["neurons"].value // (file.limits["cores"].value + 1)
    size = min(file.limits["neurons_per_core"].value, most)
    assert 2 * size > file.limits["neurons_per_core"].value
    return several(count, size)


def most_channels(file: TargetFile, bits: int) -> int:
    low, high = 1, bits
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if memory(file, middle) <= bits else (low, middle - 1)
    return low


def graded(high: int, low: int = 0) -> DeployedNetwork:
    return plain().replace(inputs=(Input("x", (5,), Coding.GRADED, low, high),))


def weighted(value: int, exponent: int) -> DeployedNetwork:
    return plain().replace(connections=(dense("x", "a", 4, 5, value=value, exponent=exponent),))


def summing_to(bound: int) -> DeployedNetwork:
    return summing(*[255] * (bound // 255), bound % 255)


def sums_told(file: TargetFile, bits: int) -> list[str]:
    largest = (1 << (bits - SUM_UNIT)) - 1
    return [
        f"population 'a': largest sum of a step {largest + 1} (limit: {largest}); quantize "
        "with `--target loihi1`, or divide its weights, threshold and bias by 2: the accumulator "
        f"of {bits} bits and sign wraps"
    ]


def two_cores(largest: str) -> Callable[[TargetFile, int], list[str]]:
    return lambda file, value: [too_many(2, 1, largest)]


CASES: dict[str, Case] = {
    "cores": Case(
        full_cores,
        lambda file, n: full_cores(file, n + 1),
        lambda file, n: [too_many(n + 1, n, "p000")],
    ),
    "neurons": by_count(
        lambda n: populations(Population("a", (n,), vth=9)),
        lambda file, n: [
            f"the network: neurons {n + 1} (limit: {n}); use 2 chips",
            *cores(file, n + 1),
        ],
        also=cores,
    ),
    "neurons_per_core": by_count(
        lambda n: populations(Population("a", (n,), vth=9)), two_cores("a"), core=True
    ),
    "pieces_per_core": by_count(several, two_cores("p000"), core=True),
    "neuron_formats_per_core": by_count(
        lambda n: several(n, decay_v=lambda k: k), two_cores("p000"), core=True
    ),
    "thresholds_per_core": by_count(
        lambda n: several(n, vth=lambda k: k), two_cores("p000"), core=True
    ),
    "synapse_formats_per_core": by_count(
        formats,
        lambda file, n: [
            f"population 'a' (1 of 1 neurons): formats of synapses of a neuron {n + 1} (limit: "
            f"{n}); let connections into it share exponent, bits and delay, or merge them"
        ],
    ),
    "input_axons_per_core": by_count(
        reading,
        lambda file, n: [
            f"population 'a' (1 of 1 neurons): input axons of a neuron {n + 1} (limit: {n}); let "
            f"each neuron read at most {n} sources, such as by a pool or a convolution in front of "
            "it"
        ],
    ),
    "output_axons_per_core": Case(
        reaching,
        lambda file, n: reaching(file, n + 1),
        lambda file, n: [
            f"population 'a' (1 of 1 neurons): output axons of a neuron {n + 1} (limit: {n}); make "
            "the populations after it smaller, so that they take fewer cores"
        ],
    ),
    "synapse_memory_bits_per_core": Case(
        lambda file, n: channels(most_channels(file, n)),
        lambda file, n: channels(most_channels(file, n) + 1),
        lambda file, n: [
            "population 'a' (1 of 1 neurons): bits of synapse memory of a neuron "
            f"{memory(file, most_channels(file, n) + 1)} (limit: {n}); let each neuron read fewer "
            "sources, such as by a pool in front of it"
        ],
    ),
    "delay_max": Case(
        lambda file, n: chain(n + 2),
        lambda file, n: chain(n + 3),
        lambda file, n: [
            f"connection 'skip': steps that its messages wait {n + 1} (limit: {n}); put a "
            "population that repeats its spikes in the middle of it"
        ],
    ),
    "graded_payloads": Case(
        lambda file, n: graded(1),
        lambda file, n: graded(2),
        lambda file, n: [] if n else [
            "input 'x': graded values 0..2 (limit: 0..1); quantize with `--target loihi1`, which "
            "sends values as spikes of their binary digits"
        ],
    ),
    "sum_bits": Case(
        lambda file, n: summing_to((1 << (n - SUM_UNIT)) - 1),
        lambda file, n: summing_to(1 << (n - SUM_UNIT)),
        sums_told,
    ),
    "bias_mantissa_min": Case(
        lambda file, n: plain(bias=np.array(n)),
        lambda file, n: plain(bias=np.array(n - 1)),
        lambda file, n: [
            f"population 'a': bias mantissa {n - 1} (limit: {n} or more); quantize with `--target "
            f"loihi1`, or use {n}: Lava allows one less, nengo-loihi does not"
        ],
    ),
    "weight_exponent_min": Case(
        lambda file, n: weighted(0, n),
        lambda file, n: weighted(0, n - 1),
        lambda file, n: [
            f"connection 'x_to_a': weight exponent {n - 1} (limit: {n} or more); use {n} and half "
            "the weights: brian2_loihi allows one less, nengo-loihi does not"
        ],
    ),
    "exponent_shifts_weights": Case(
        lambda file, n: weighted(2, -1),
        lambda file, n: weighted(3, -1),
        lambda file, n: [
            "connection 'x_to_a': weights that exponent -1 cuts 20 (limit: 0); quantize with "
            "`--target loihi1`: the chip shifts each weight, not the sum"
        ],
    ),
}  # fmt: skip
ASSUMED = {("digital", name) for name in ("neurons", "delay_max")}
"""Limits of a chip that was never built, which `check` does not judge by."""


def listed() -> list[tuple[str, str]]:
    return [(chip, name) for chip, file in CHIPS.items() for name in file.limits.by_name]


def test_every_limit_of_every_chip_has_a_case() -> None:
    named = {name for _, name in listed()}
    assert named - LAYOUT == set(CASES)
    assert named & LAYOUT <= set(KEYS)


def judged(
    file: TargetFile, case: Case, network: DeployedNetwork
) -> tuple[UnsupportedFeature, ...]:
    if not case.core:
        return check(network, [file.name])[0].unsupported
    limits = {**file.limits.by_name, "cores": replace(file.limits["cores"], value=1)}
    single = replace(file, limits=ChipLimits(file.limits.subject, limits))
    return find_unsupported(network, core_limitations(single))


@pytest.mark.parametrize(
    ("chip", "name"),
    [one for one in listed() if one[1] not in LAYOUT],
    ids=lambda part: part,
)
def test_a_limit_begins_where_its_file_says(chip: str, name: str) -> None:
    file, case = CHIPS[chip], CASES[name]
    limit: Limit = file.limits[name]
    also = case.also(file, limit.value)
    told = case.told(file, limit.value)
    if (chip, name) in ASSUMED:
        told = cores(file, limit.value + 1) if name == "neurons" else []
    assert [str(one) for one in judged(file, case, case.at(file, limit.value))] == also
    found = judged(file, case, case.above(file, limit.value))
    assert [str(one) for one in found] == told
    for one in found:
        if one.quantity == "cores":
            limit = file.limits["cores"]
        assert (one.source, one.verified) == (limit.citation, limit.verified)
        assert all(getattr(one, part.name) != "" for part in dataclasses.fields(one))


def changed(**population: Any) -> DeployedNetwork:
    return plain(**population)


def injected() -> DeployedNetwork:
    network = plain()
    return network.replace(
        inputs=(*network.inputs, Input("b", (4,), Coding.BIAS, -5, 5)),
        connections=(*network.connections, BiasInjection("b", "a")),
    )


def adaptive(v_init: int = 0) -> DeployedNetwork:
    return plain().replace(populations=(ATRLIFPopulation("a", (4,), theta_0=9, v_init=v_init),))


def cycle(delay: int) -> DeployedNetwork:
    names = "abc"
    parts = [dense(one, two, 1, 1) for one, two in pairwise(names)]
    return of(
        [Input("x", (1,))],
        [Population(name, (1,), vth=9) for name in names],
        dense("x", "a", 1, 1),
        *parts,
        dense("c", "a", 1, 1, delay=delay),
    )


def convolved(kernel: int = 1, groups: int = 1, exponent: int = 0, **more: Any) -> DeployedNetwork:
    part = Conv2d(
        "x", "a", np.full((groups, 1, kernel, 1), 2, np.int16),
        groups=groups, exponent=exponent, **more,
    )  # fmt: skip
    source = (groups, (kernel - 1) * part.dilation[0] + 1, 1)
    return of([Input("x", source)], [Population("a", part.output_shape(source), vth=9)], part)


def summed(bound: int) -> DeployedNetwork:
    """A convolution whose largest sum is `bound`, of at most 2^16 - 1 inputs of 2^23 - 1."""
    high = LOIHI.payload_max
    whole, rest = divmod(bound, 255 * high)
    taps = [255] * whole + [rest // high]
    weight = np.array(taps, np.int16).reshape(1, 1, -1, 1)
    source = Input("x", (1, len(taps), 1), Coding.GRADED, 0, high)
    return of([source], [Population("a", (1, 1, 1), vth=9)], Conv2d("x", "a", weight))


CYCLE = "cycle 'a' -> 'b' -> 'c' -> 'a' over 'a_to_b', 'b_to_c', 'c_to_a'"
SAMPLE_LIF = "nothing to do: it runs on Spikeport's SampleLIF instead of Lava's LIFReset"
SAMPLE_ATRLIF = "nothing to do: it runs on Spikeport's SampleATRLIF instead of Lava's ATRLIF"
DELAY_LINE = "nothing to do: it runs on Spikeport's DelayLine instead of Lava's Dense"
WIDE_CONV = "nothing to do: it runs on Spikeport's WideConv instead of Lava's Conv"
HOST = "let a host, or a program on the chip's processors, write it"
LOWER = f"to {CONV_FIELD_MAX}, or replace the convolution by several"
FIELDS: dict[str, Callable[[int], DeployedNetwork]] = {
    "kernel": lambda n: convolved(n),
    "stride": lambda n: convolved(stride=(n, 1)),
    "padding": lambda n: convolved(padding=(n, 0)),
    "dilation": lambda n: convolved(3, dilation=(n, 1)),
    "groups": lambda n: convolved(groups=n),
}
FEATURES: list[tuple[str, DeployedNetwork, dict[str, list[str]]]] = [
    ("none", plain(), {}),
    ("refractory", changed(refractory=1), {
        "lava": [f"population 'a': refractory 1 (limit: 0); {SAMPLE_LIF}"],
        "loihi2": [
            "population 'a': refractory 1 (limit: 0); program the neurons in microcode"
        ],
    }),
    ("reset", changed(reset=Reset.SUBTRACT), {
        "lava": [f"population 'a': reset subtract (limit: zero); {SAMPLE_LIF}"],
        "loihi1": [
            "! population 'a': reset subtract (limit: zero); train with reset to zero (`train "
            "--reset zero`)"
        ],
        "loihi2": [
            "population 'a': reset subtract (limit: zero); train with reset to zero (`train "
            "--reset zero`), or program the reset in microcode"
        ],
    }),
    ("v_init", changed(v_init=-1), {
        "lava": [f"population 'a': v_init -1 (limit: 0); {SAMPLE_LIF}"],
        "loihi1": [f"population 'a': v_init -1 (limit: 0); {HOST} before each sample"],
        "loihi2": [f"population 'a': v_init -1 (limit: 0); {HOST} before each sample"],
    }),
    ("signed values", graded(1, low=-1), {
        "loihi1": [
            "! input 'x': graded values -1..1 (limit: 0..1); add 1 to all values, and quantize "
            "with `--target loihi1`, which sends values as spikes of their binary digits"
        ],
    }),
    ("decay_u 1", changed(decay_u=1), {}),
    ("decay_u 0", changed(decay_u=0), {
        "loihi1": [
            "population 'a': decay_u 0 (limit: 1 or more); set the register dsOffset to 0, which "
            "Lava and nengo-loihi leave at 1"
        ],
        "loihi2": [
            "population 'a': decay_u 0 (limit: 1 or more); use decay_u 1, or program the decay in "
            "microcode"
        ],
    }),
    ("decay_v 4095", changed(decay_v=4095), {}),
    ("decay_v 4096", changed(decay_v=4096), {
        "loihi1": [
            "population 'a': decay_v 4096 (limit: 4095); set the register dmOffset to 1, which "
            "Lava leaves at 0"
        ],
        "loihi2": [
            "population 'a': decay_v 4096 (limit: 4095); use decay_v 4095, or program the decay in "
            "microcode"
        ],
    }),
    ("bias", injected(), {
        "lava": [f"population 'a': bias per step (limit: constant); {SAMPLE_LIF}"],
        "loihi1": [f"population 'a': bias per step (limit: constant); {HOST} in each step"],
        "loihi2": [f"population 'a': bias per step (limit: constant); {HOST} in each step"],
    }),
    ("ATRLIF", adaptive(v_init=2), {
        "lava": [
            f"population 'a': state at a sample's start zeroed (limit: kept); {SAMPLE_ATRLIF}",
            f"population 'a': v_init 2 (limit: 0); {SAMPLE_ATRLIF}",
        ],
        "loihi1": [
            "! population 'a': neurons ATRLIF (limit: LIF); use LIF neurons: the chip's cannot be "
            "programmed",
            f"population 'a': v_init 2 (limit: 0); {HOST} before each sample",
        ],
        "loihi2": [
            "population 'a': neurons ATRLIF (limit: LIF); program the neurons in microcode",
            f"population 'a': v_init 2 (limit: 0); {HOST} before each sample",
        ],
    }),
    ("cycle of 3", cycle(3), {
        "lava": [f"connection 'c_to_a': delay 3 (limit: 0); {DELAY_LINE}"],
    }),
    ("cycle of 2", cycle(2), {
        "lava": [
            f"! {CYCLE}: delay 2 (limit: 3 or more, the steps that it takes Lava); add 1 to the "
            "delay of 'c_to_a'"
        ],
        "loihi1": [
            f"! {CYCLE}: delay 2 (limit: 3 or more, the steps that it takes the chip); add 1 to "
            "the delay of 'c_to_a'"
        ],
        "loihi2": [
            f"! {CYCLE}: delay 2 (limit: 3 or more, the steps that it takes the chip); add 1 to "
            "the delay of 'c_to_a'"
        ],
    }),
    ("delay", chain(3, delay=62), {
        "lava": [f"connection 'skip': delay 62 (limit: 0); {DELAY_LINE}"],
        "loihi1": [
            "! connection 'skip': steps that its messages wait 63 (limit: 62); lower its delay by 1"
        ],
    }),
    ("depth", chain(3), {
        "lava": [f"connection 'skip': wait 1 (limit: 0); {DELAY_LINE}"],
    }),
    *(
        (f"{field} {CONV_FIELD_MAX}", make(CONV_FIELD_MAX), {})
        for field, make in FIELDS.items()
    ),
    *(
        (f"{field} {CONV_FIELD_MAX + 1}", make(CONV_FIELD_MAX + 1), {
            "lava": [
                f"! connection 'x_to_a': {field} {CONV_FIELD_MAX + 1} (limit: {CONV_FIELD_MAX}); "
                f"lower its {field} {LOWER}"
            ],
        })
        for field, make in FIELDS.items()
    ),
    ("exponent", convolved(exponent=1), {
        "lava": [f"connection 'x_to_a': weight exponent 1 (limit: 0); {WIDE_CONV}"],
    }),
]  # fmt: skip


@pytest.mark.parametrize(
    ("network", "told"), [one[1:] for one in FEATURES], ids=[one[0] for one in FEATURES]
)
def test_features(network: DeployedNetwork, told: dict[str, list[str]]) -> None:
    """What stops a target is marked by an exclamation mark."""
    found = {
        one.target: [f"{'! ' if each.stops else ''}{each}" for each in one.unsupported]
        for one in check(network)
        if one.unsupported
    }
    assert found == told


def test_numbers_of_another_width() -> None:
    narrow = plain().replace(arithmetic=replace(LOIHI, name="narrow", state_bits=16))
    told = (
        "the network: arithmetic narrow (limit: loihi); run it on the reference simulator (`run "
        "--backend reference`), which has any"
    )
    for one in check(narrow, ["native", "lava", "loihi1", "loihi2", "digital"]):
        assert [str(each) for each in one.unsupported] == [told]
        assert not one.runs
    assert check(narrow, ["reference"])[0].unsupported == ()


@pytest.mark.parametrize(("weights", "beyond"), [(256, False), (257, True)])
def test_sums_of_convolutions_in_lava(weights: int, beyond: bool) -> None:
    bound = weights * LOIHI.payload_max
    assert (bound >= 2**31) == beyond
    (found,) = check(summed(bound), ["lava"])
    told = f"connection 'x_to_a': sum of a step {bound} (limit: {2**31 - 1}); {WIDE_CONV}"
    assert [str(one) for one in found.unsupported] == [told] * beyond
    assert CONV_EXACT_SUM == 2**53  # beyond: tests/test_lava.py


def test_a_network_that_fits_no_core_is_also_told_how_many_cores_it_needs_at_least() -> None:
    limits = CHIPS["loihi1"].limits
    size, sources = limits["neurons"].value, limits["input_axons_per_core"].value + 1
    network = of(
        [Input("x", (sources,))],
        [Population("a", (1,), vth=9), Population("b", (size,), vth=9)],
        dense("x", "a", 1, sources),
        dense("a", "b", size, 1),
    )
    (found,) = check(network, ["loihi1"])
    assert [str(one) for one in found.unsupported if one.part != "the network"] == [
        f"population 'a' (1 of 1 neurons): input axons of a neuron {sources} (limit: "
        f"{sources - 1}); let each neuron read at most {sources - 1} sources, such as by a pool or "
        "a convolution in front of it"
    ]
    assert [str(one) for one in found.unsupported if one.part == "the network"] == [
        f"the network: neurons {size + 1} (limit: {size}); use 2 chips",
        "the network: cores, at least 129 (limit: 128); use 2 chips, or make 'b' smaller, which "
        "takes most cores",
    ]
