"""Weights of graded inputs: an exponent of their own, so that precision needs not be shared."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport.export import QuantizeConfig
from spikeport.export.nir import FloatNetwork, Semantics
from spikeport.export.quantize.connections import input_exponent, round_connections
from spikeport.export.quantize.lower import lower
from spikeport.export.quantize.rounding import largest_scale
from spikeport.export.quantize.target import ANY, constraints_of
from spikeport.network import LOIHI, Coding, DeployedNetwork, Input, Reset, largest_sum
from spikeport.runs import encode_samples
from spikeport.simulators import run_native, run_reference
from spikeport.workflow import check, quantize
from tests.helpers.quantize_networks import affine, chain, integrate_and_fire, quantized

DT, STEPS = 1e-4, 8
SCALE = 64.0


def residual(seed: int = 0, scale: float = SCALE) -> tuple[FloatNetwork, NDArray[np.float64]]:
    """Normalized pixels and spikes into the same neurons, as in a converted residual network."""
    rng = np.random.default_rng(seed)

    def neurons(threshold: float) -> Any:
        full = np.ones((4, 6, 6), np.float32)
        return nir.IF(full, threshold * full)

    def conv(deviation: float, into: int) -> Any:
        weight = rng.normal(0, deviation, (4, into, 3, 3)).astype(np.float32)
        return nir.Conv2d(None, weight, (1, 1), (1, 1), (1, 1), 1, np.zeros(4, np.float32))

    nodes = {
        "x": nir.Input({"input": np.array((2, 6, 6))}),
        "stem": conv(0.3, 2),
        "first": neurons(1.5),
        "body": conv(0.3, 4),
        "short": conv(0.3, 2),
        "second": neurons(1.5),
        "flat": nir.Flatten({"input": None}, 0, -1),
        "fc": nir.Linear(rng.normal(0, 0.3, (5, 144)).astype(np.float32)),
        "out": nir.Output({"output": None}),
    }
    edges = [
        *(("x", "stem"), ("stem", "first"), ("first", "body"), ("x", "short")),
        *(("body", "second"), ("short", "second"), ("second", "flat"), ("flat", "fc")),
        ("fc", "out"),
    ]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    whole = round(2.75 * scale)
    source = Input("x", (2, 6, 6), Coding.GRADED, -whole, whole, scale)
    made = FloatNetwork(graph, DT, STEPS, (source,), Semantics(reset=Reset.SUBTRACT))
    return made, np.clip(rng.normal(0, 1, (24, 2, 6, 6)), -2.75, 2.75)


def connections(network: DeployedNetwork) -> dict[str, Any]:
    return {part.name: part for part in network.weighted_connections}


def test_inputs_keep_their_precision_beside_spikes() -> None:
    network, samples = residual()
    made = quantize(network, samples, static=True)
    narrow = replace(ANY, exponent_min=0)
    shared = quantize(network, samples, QuantizeConfig(constraints=narrow), static=True)
    assert made.network.inputs == network.inputs
    assert shared.network.inputs[0].scale < SCALE
    found = connections(made.network)
    assert found["stem"].exponent < 0 > found["short"].exponent
    assert found["body"].exponent == found["fc"].exponent == 0
    assert not any(part.exponent for part in shared.network.weighted_connections)
    for name in ("stem", "short"):
        finer, coarser = (
            next(part for part in one.report.connections if part.name == name)
            for one in (made, shared)
        )
        assert finer.sqnr_db >= coarser.sqnr_db
        assert np.abs(found[name].weight).max() > LOIHI.weight_end / 2
    assert made.report.inputs[0].rms_error < shared.report.inputs[0].rms_error / 4
    errors = [
        {part.name: part.rms_error for part in one.report.populations} for one in (made, shared)
    ]
    for name in ("first", "second"):
        assert errors[0][name] < 0.6 * errors[1][name]


def test_the_bound_of_u_is_that_of_the_divided_sums() -> None:
    network, samples = residual()
    made = quantize(network, samples, static=True)
    stem = connections(made.network)["stem"]
    (source,) = made.network.inputs
    most = largest_sum(stem, source.low, source.high) * 2.0**stem.exponent
    found = next(part for part in made.report.populations if part.name == "first")
    assert found.activation_bound == math.ceil(most)


def test_all_simulators_divide_the_sums_alike() -> None:
    network, samples = residual(1)
    made = quantize(network, samples, static=True).network
    given = encode_samples(made.inputs, STEPS, samples[:2])
    ours, reference = (
        run(made, given, record=("spikes", "u", "v")) for run in (run_native, run_reference)
    )
    assert ours.trace is not None
    assert reference.trace is not None
    for kind in ("spikes", "u", "v"):
        for name, values in getattr(reference.trace, kind).items():
            assert np.array_equal(getattr(ours.trace, kind)[name], values)


@given(
    st.integers(0, 2**32 - 1), st.floats(1e-4, 1e4), st.integers(1, 4000), st.integers(2, 8),
    st.booleans(),
)  # fmt: skip
def test_the_lowest_exponent_that_clips_and_wraps_nothing(
    seed: int, scale: float, high: int, bits: int, graded: bool
) -> None:
    network, _ = residual(seed)
    coding = (Coding.GRADED, -high, high) if graded else (Coding.SPIKES, 0, 1)
    source = replace(network.inputs[0], coding=coding[0], low=coding[1], high=coding[2], scale=1.0)
    lowered = lower(replace(network, inputs=(source,)))
    (part,) = (one for one in lowered.connections if one.name == "stem")
    config = QuantizeConfig(weight_bits=bits)
    scaled = part.weight * scale
    exponent = input_exponent(lowered, part, scaled, config)
    assert ANY.exponent_min <= exponent <= 0
    assert graded or exponent == 0
    (made,) = round_connections(lowered, "first", scale, config)
    assert made.exponent == exponent
    if exponent:
        assert largest_scale(scaled / 2.0**exponent, config) >= 1
        assert largest_sum(made, -high, high) < LOIHI.state_wrap
        # A sum in weight units is 64 of u, so that no bit is lost.
        assert (np.int64(1) << LOIHI.activation_shift) % (1 << -exponent) == 0
    for name in ("netx", "loihi1"):
        kept = QuantizeConfig(weight_bits=bits, constraints=constraints_of(name))
        assert input_exponent(lowered, part, scaled, kept) == 0


def test_whole_weights_keep_their_exponent() -> None:
    network, _ = residual()
    (part,) = (one for one in lower(network).connections if one.name == "stem")
    whole = np.rint(8 * part.weight) * 2
    lowered = lower(network)
    assert input_exponent(lowered, part, whole, QuantizeConfig()) == 0
    assert input_exponent(lowered, part, whole + 0.3, QuantizeConfig()) < 0


def test_what_a_target_takes_decides() -> None:
    """Loihi 1 shifts each weight, so that a negative exponent would lose bits of it."""
    assert constraints_of("loihi1").exponent_min == constraints_of("netx").exponent_min == 0
    assert constraints_of("loihi2").exponent_min == constraints_of("native").exponent_min == -6
    network, samples = residual()
    made = quantize(network, samples, QuantizeConfig(target="loihi2"), static=True)
    assert min(part.exponent for part in made.network.weighted_connections) < 0
    (found,) = check(made.network, ["loihi2"])
    assert not any("exponent" in one.construct for one in found.unsupported)


@pytest.mark.parametrize("bits", [8, 3])
def test_training_in_chip_arithmetic_starts_without_exponents(bits: int) -> None:
    from spikeport.trainer import TrainConfig, build_network
    from spikeport.workflow import prepare_qat

    source = Input("x", (1, 6, 6), Coding.GRADED, -176, 176, SCALE)
    config = TrainConfig(architecture="conv", widths=(4, 4), steps=4)
    model = build_network(config, source, 3)
    samples = np.clip(np.random.default_rng(2).normal(0, 1, (8, 1, 6, 6)), -2.75, 2.75)
    made = prepare_qat(model, samples, QuantizeConfig(weight_bits=bits), static=True).deployed()
    assert not any(part.exponent for part in made.weighted_connections)


@pytest.mark.parametrize("target", [None, "loihi1", "loihi2"])
@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("size", [1e-1, 1e-3, 1e-5])
@pytest.mark.parametrize("high", [1, 15, 255, 65535])
def test_small_weights_beside_large_biases_leave_values_to_inputs(
    high: int, size: float, bits: int, target: str | None
) -> None:
    """Weights below one unit prefer more halvings than an input has digits."""
    rng = np.random.default_rng(3)
    nodes = {
        "fc": affine(size * rng.uniform(0, 5, (4, 5)), np.array([10.0, 24.0, 9.0, -39.0])),
        "lif": integrate_and_fire((4,), 0.5),
    }
    source = Input("input", (5,), Coding.GRADED, 0, high, float(high))
    samples = rng.integers(0, high + 1, (5, 5)) / high
    made = quantized(chain(nodes, source), samples, QuantizeConfig(bits, target=target))
    (kept,) = made.network.inputs
    assert 1 <= kept.high <= high
    assert 0 < kept.scale <= source.scale
