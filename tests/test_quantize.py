from __future__ import annotations

import ast
import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.export.quantize import QuantizeConfig
from spikeport.network import (
    LOIHI,
    BiasInjection,
    Coding,
    Conv1d,
    Conv2d,
    Dense,
    Input,
    Reset,
    require_lif,
)
from spikeport.runs import encode_samples
from spikeport.simulators import run_float, run_native
from spikeport.simulators.float_counts import float_counts
from tests.helpers.quantize_networks import (
    DT,
    affine,
    chain,
    conv,
    integrate_and_fire,
    leaky,
    network,
    quantized,
    spikes_in,
)

UNIT = 64.0
"""Weight units per float unit of the integer networks seen as floats; a power of two is exact."""


def random_spikes(seed: int, *shape: int, rate: float = 0.4) -> Any:
    return (np.random.default_rng(seed).random(shape) < rate).astype(np.float64)


@st.composite
def integer_layers(draw: st.DrawFn) -> dict[str, Any]:
    """One or two layers of grid weights, whole biases and thresholds, IF or memoryless LIF."""
    nodes: dict[str, Any] = {}
    sizes = [3, *draw(st.lists(st.integers(1, 4), min_size=1, max_size=2))]
    for i, (before, after) in enumerate(itertools.pairwise(sizes)):
        cells = st.lists(st.integers(-100, 100), min_size=before * after, max_size=before * after)
        weight = 2 * np.array(draw(cells)).reshape(after, before)
        bias = draw(st.lists(st.integers(-9, 9), min_size=after, max_size=after))
        threshold = draw(st.integers(1, 300)) / UNIT
        forgets = draw(st.booleans())
        nodes[f"fc{i}"] = affine(weight / UNIT, np.array(bias) / UNIT)
        nodes[f"neurons{i}"] = (
            leaky((after,), 0.0, threshold) if forgets else integrate_and_fire((after,), threshold)
        )
    return nodes


@settings(deadline=None, max_examples=40)
@given(
    integer_layers(),
    st.sampled_from(list(Reset)),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_a_network_of_integers_loses_nothing(
    nodes: dict[str, Any], reset: Reset, strict: bool, seed: int
) -> None:
    source = chain(nodes, spikes_in(3), reset=reset, strict=strict)
    samples = random_spikes(seed, source.steps, 5, 3)
    made = quantized(source, samples)
    wanted = run_float(source, samples, record=("spikes",))
    got = run_native(made.network, samples.astype(np.int32), record=("spikes",))
    assert wanted.trace is not None
    assert got.trace is not None
    for name, spikes in wanted.trace.spikes.items():
        np.testing.assert_array_equal(got.trace.spikes[name], spikes)
    assert all(part.rms_error == 0 for part in made.report.connections)
    assert made.report.agreement == 1.0


def test_two_neurons_by_hand() -> None:
    # fit = min(254 / 0.3, 256 / 0.7) = 365.7, lowered to a whole threshold: S = 365
    source = chain(
        {"fc": affine([[0.3, -0.7]], 0.1234), "if": integrate_and_fire((1,))}, spikes_in(2)
    )
    made = quantized(source, random_spikes(0, 8, 2), QuantizeConfig(clip_fractions=(1.0,)))
    part, connection = require_lif(made.network.by_name["if"]), made.network.weighted_connections[0]
    assert connection.weight.tolist() == [[110, -256]]
    assert (part.scale, part.vth) == (365.0, 365)
    assert (part.bias.tolist(), part.bias_exponent) == ([2883], 0)  # 64 * 365 * 0.1234
    report = made.report.connections[0]
    assert report.max_error == pytest.approx(0.5 / 365)
    assert report.sqnr_db == pytest.approx(
        10 * np.log10((0.09 + 0.49) / ((0.5 / 365) ** 2 + (0.5 / 365) ** 2)), abs=1e-6
    )
    assert made.report.populations[0].threshold_error == 0


def test_graded_input_shares_the_scale_with_the_weights() -> None:
    source = Input("input", (1, 4, 4), Coding.GRADED, low=0, high=16, scale=16.0)
    nodes = {
        "conv": conv(np.array([0.5, -0.25]).reshape(2, 1, 1, 1)),
        "if": integrate_and_fire((2, 4, 4)),
    }
    made = quantized(chain(nodes, source), np.random.default_rng(0).random((4, 1, 4, 4)))
    connection, part = made.network.weighted_connections[0], made.network.by_name["if"]
    np.testing.assert_allclose(connection.weight.ravel() * 16.0 / part.scale, [0.5, -0.25])
    assert made.report.connections[0].scale == part.scale / 16
    assert 0 < made.report.inputs[0].max_error <= 0.5 / 16


@pytest.mark.parametrize("high", [16, 255, 4080])
def test_wide_inputs_share_the_room_for_sums_with_the_weights(high: int) -> None:
    rng = np.random.default_rng(3)
    source = Input("input", (60,), Coding.GRADED, 0, high, float(high))
    net = chain({"fc": affine(rng.normal(0, 0.3, (12, 60))), "lif": leaky((12,), 0.5)}, source)
    made = quantized(net, rng.random((40, 60)), QuantizeConfig(weight_bits=4))
    (got,), (connection,) = made.network.inputs, made.network.weighted_connections
    halvings = math.log2(high / got.scale)
    assert halvings.is_integer()
    assert got.high == math.ceil(got.scale)
    assert (halvings == 0) == (high == 16)  # then the weights reach their grid's end as it is
    assert got.high >= 16
    assert len(np.unique(connection.weight)) > 8  # of 15


@pytest.mark.parametrize("bits", [8, 4])
def test_event_counts_are_not_halved_away(bits: int) -> None:
    """Most counts are one, whatever the largest: rounded coarser they would be nothing."""
    rng = np.random.default_rng(5)
    source = Input("input", (60,), Coding.GRADED, 0, 255, 1.0)
    net = chain({"fc": affine(rng.normal(0, 0.3, (12, 60))), "lif": leaky((12,), 0.5)}, source)
    counts = rng.poisson(0.3, (40, 60)) * (1 + 200 * (rng.random((40, 60)) < 0.01))
    made = quantized(net, np.minimum(counts, 255), QuantizeConfig(weight_bits=bits))
    assert made.network.inputs == (source,)
    assert made.report.inputs[0].max_error == 0


def test_wide_inputs_before_whole_weights_stay_as_they_are() -> None:
    """Sums reach half of the range that calibration leaves free, yet nothing is rounded."""
    source = Input("input", (12,), Coding.GRADED, 0, 127, 1.0)
    weight = np.array([[32] * 12, [32, -32] * 6])
    net = chain({"fc": affine(weight), "if": integrate_and_fire((2,), 30_000)}, source)
    made = quantized(net, np.full((4, 12), 127), QuantizeConfig(weight_bits=4)).network
    assert made.inputs == (source,)
    assert made.weighted_connections[0].weight.tolist() == weight.tolist()


def test_pooled_residual_network_follows_the_float_one() -> None:
    rng = np.random.default_rng(1)
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    source = network(
        {
            "stem": conv(rng.normal(0, 0.6, (4, 1, 3, 3)), padding=1),
            "first": leaky((4, 8, 8), 0.5),
            "pool": pool,
            "body": conv(rng.normal(0, 0.6, (4, 4, 3, 3)), 0.05, padding=1),
            "short": conv(rng.normal(0, 1.0, (4, 4, 1, 1))),
            "second": leaky((4, 4, 4), 0.5),
            "flat": nir.Flatten({"input": None}, 0, -1),
            "fc": affine(rng.normal(0, 0.3, (5, 64))),
        },
        [
            ("input", "stem"),
            ("stem", "first"),
            ("first", "pool"),
            ("pool", "body"),
            ("pool", "short"),
            ("body", "second"),
            ("short", "second"),
            ("second", "flat"),
            ("flat", "fc"),
            ("fc", "output"),
        ],
        [Input("input", (1, 8, 8), Coding.GRADED, 0, 15, 15.0)],
    )
    samples = rng.integers(0, 16, (12, 1, 8, 8)) / 15
    made = quantized(source, samples)
    second = made.network.incoming("second")
    assert {c.name for c in second} == {"body", "short"}
    assert all(isinstance(c, Conv2d) and c.pool is not None for c in second)
    integers = encode_samples(made.network.inputs, source.steps, samples)
    counts = run_native(made.network, integers).spike_counts
    wanted = run_float(source, samples).spike_counts
    for name in ("first", "second"):
        assert wanted[name].sum() > 100
        assert np.abs(counts[name] - wanted[name]).sum() < 0.05 * wanted[name].sum()
    scores = run_native(made.network, integers).scores["output"]
    scale = 64 * made.network.by_name["output"].scale * source.steps
    error = np.abs(scores / scale - run_float(source, samples).scores["output"])
    assert error.mean() < 0.1


def test_convolutions_along_one_axis_lose_nothing() -> None:
    """A residual network of integers: strides, groups, dilation, an identity; flat at its end."""
    rng = np.random.default_rng(11)

    def grid(*shape: int) -> Any:
        return 2 * rng.integers(-60, 61, shape) / UNIT

    source = network(
        {
            "stem": conv(grid(4, 2, 3), rng.integers(-9, 10, 4) / UNIT, stride=2, padding=1),
            "first": integrate_and_fire((4, 6), 1.5),
            "body": conv(grid(4, 2, 3), groups=2, dilation=2, padding=2),
            "second": integrate_and_fire((4, 6), 2.0),
            "flat": nir.Flatten({"input": None}, 0, -1),
            "fc": affine(grid(3, 24)),
            "third": integrate_and_fire((3,), 2.0),
        },
        [
            ("input", "stem"),
            ("stem", "first"),
            ("first", "body"),
            ("body", "second"),
            ("first", "second"),
            ("second", "flat"),
            ("flat", "fc"),
            ("fc", "third"),
            ("third", "output"),
        ],
        [spikes_in((2, 11))],
    )
    samples = random_spikes(12, 6, 9, 2, 11)
    made = quantized(source, samples)
    assert {c.name for c in made.network.weighted_connections if isinstance(c, Conv1d)} == {
        *("stem", "body", "first_to_second"),
    }
    wanted = run_float(source, samples, record=("spikes", "v"))
    got = run_native(made.network, samples.astype(np.int32), record=("spikes",))
    assert wanted.trace is not None
    assert got.trace is not None
    for name, spikes in wanted.trace.spikes.items():
        assert spikes.any()
        np.testing.assert_array_equal(got.trace.spikes[name], spikes)
    counts = float_counts(source, samples, wanted)
    assert got.counts is not None
    assert counts.synaptic_events_all == got.counts.synaptic_events_all
    assert counts.synaptic_events == got.counts.synaptic_events
    assert all(part.rms_error == 0 for part in made.report.connections)


def test_recurrent_network() -> None:
    rng = np.random.default_rng(2)
    source = network(
        {
            "fc": affine(rng.normal(0, 0.8, (6, 4))),
            "lif": leaky((6,), 0.5),
            "back": nir.Linear(rng.normal(0, 0.5, (6, 6))),
        },
        [("input", "fc"), ("fc", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")],
        [spikes_in(4)],
        steps=12,
    )
    samples = random_spikes(3, 12, 20, 4)
    made = quantized(source, samples)
    (back,) = (c for c in made.network.weighted_connections if c.name == "back")
    assert (back.source, back.target, back.delay) == ("lif", "lif", 1)
    counts = run_native(made.network, samples.astype(np.int32)).spike_counts["lif"]
    wanted = run_float(source, samples).spike_counts["lif"]
    assert np.abs(counts - wanted).sum() < 0.05 * wanted.sum()


def test_cuba_and_membrane_readout() -> None:
    rng = np.random.default_rng(4)
    shape = (5,)
    cuba = nir.CubaLIF(
        tau_syn=np.full(shape, 4 * DT),
        tau_mem=np.full(shape, 5 * DT),
        r=np.full(shape, 5.0),
        v_leak=np.zeros(shape),
        v_threshold=np.ones(shape),
        w_in=np.full(shape, 4.0),
    )
    li = nir.LI(tau=np.full(2, 3 * DT), r=np.full(2, 3.0), v_leak=np.full(2, 0.1))
    source = chain(
        {
            "a": nir.Linear(rng.normal(0.2, 0.5, (5, 4))),
            "cuba": cuba,
            "b": affine(rng.normal(0, 1, (2, 5)), 0.2),
            "li": li,
        },
        spikes_in(4),
        steps=16,
    )
    samples = random_spikes(5, 16, 20, 4)
    made = quantized(source, samples)
    part = require_lif(made.network.by_name["cuba"])
    assert (part.decay_u, part.decay_v) == (1024, 819)
    run = run_native(made.network, samples.astype(np.int32))
    assert run.spike_counts["cuba"].sum() > 50
    wanted = run_float(source, samples)
    scale = 64 * made.network.by_name["li"].scale
    error = np.abs(run.scores["li"] / scale - wanted.scores["output"])
    assert np.median(error) < 0.05  # a spike that comes a step late moves single samples
    assert error.mean() < 0.1


def test_bias_input_needs_no_synapses() -> None:
    source = Input("input", (3,), Coding.BIAS, low=0, high=255, scale=255.0)
    net = chain({"lif": leaky((3,), 0.5)}, source, steps=20)
    samples = np.array([[0.2, 0.55, 0.9], [0.0, 0.97, 0.6]])
    made = quantized(net, samples)
    assert made.network.connections == (BiasInjection("input", "lif", "input_to_lif"),)
    part = made.network.by_name["lif"]
    assert 64 * part.scale == 255.0 * 2**part.bias_exponent
    integers = encode_samples(made.network.inputs, 20, samples)
    np.testing.assert_array_equal(
        run_native(made.network, integers).scores["lif"], run_float(net, samples).scores["output"]
    )


def test_scale_gives_way_to_the_widest_register() -> None:
    tiny = affine(np.array([[1e-4, -1e-4]]))
    high = quantized(
        chain({"fc": tiny, "if": integrate_and_fire((1,), 1.0)}, spikes_in(2)),
        random_spikes(0, 4, 2),
    )
    assert require_lif(high.network.by_name["if"]).vth <= LOIHI.vth_max
    assert "is limited by" in high.report.warnings[0]
    steep = affine(np.array([[1.0, -1.0]]), 1000.0)
    biased = quantized(
        chain({"fc": steep, "if": integrate_and_fire((1,), 5000.0)}, spikes_in(2)),
        random_spikes(0, 4, 2),
    )
    part = biased.network.by_name["if"]
    assert part.bias_current[0] == pytest.approx(64 * part.scale * 1000, rel=1e-3)
    assert biased.report.populations[0].bias_clipped == 0


def test_states_keep_half_their_range_free() -> None:
    source = Input("input", (40,), Coding.GRADED, -100, 100, 1.0)
    net = chain({"fc": affine(np.full((2, 40), 3.0) * [[1], [-1]])}, source, steps=4)
    samples = np.full((2, 40), 90.0)
    made = quantized(net, samples)
    (part,) = made.report.populations
    assert part.v_peak <= 0.5
    assert part.saturated == 0
    integers = encode_samples(made.network.inputs, 4, samples)
    np.testing.assert_allclose(
        run_native(made.network, integers).scores["output"]
        / (64 * made.network.by_name["output"].scale),
        [[43_200, -43_200]] * 2,
        rtol=0.2,
    )


def test_possible_wrap_is_announced() -> None:
    source = Input("input", (900,), Coding.SPIKES)
    net = chain({"fc": affine(np.ones((1, 900))), "if": integrate_and_fire((1,))}, source)
    made = quantized(net, random_spikes(0, 4, 900, rate=0.1))
    assert made.report.populations[0].activation_bound == 900 * 255
    assert any("wraps beyond 131072" in w for w in made.report.warnings)


def test_clipping_is_chosen_and_counted() -> None:
    rng = np.random.default_rng(7)
    weight = rng.normal(0, 0.1, (20, 50))
    weight[0, 0] = -3.0  # an outlier that would waste a coarse grid
    net = chain({"fc": affine(weight, 0.1), "lif": leaky((20,), 0.5, 0.5)}, spikes_in(50), steps=8)
    samples = random_spikes(8, 8, 30, 50)
    fractions = (1.0, 0.5, 0.25, 0.125)
    plain = quantized(net, samples, QuantizeConfig(3, (1.0,)))
    made = quantized(net, samples, QuantizeConfig(3, fractions))
    assert plain.report.connections[0].clipped == 0
    assert made.report.connections[0].clipped >= 1
    assert made.report.populations[0].rms_error < 0.7 * plain.report.populations[0].rms_error


def test_equal_arguments_give_an_equal_network() -> None:
    rng = np.random.default_rng(9)
    net = chain({"fc": affine(rng.normal(0, 1, (4, 6))), "lif": leaky((4,), 0.8)}, spikes_in(6))
    samples = random_spikes(1, 10, 6)
    first, second = (quantized(net, samples, QuantizeConfig(4)) for _ in range(2))
    assert first.network == second.network
    assert first.report == second.report


def test_report_is_plain_and_provenance_tells_the_settings() -> None:
    net = chain({"fc": affine([[1.0, 0.5]]), "if": integrate_and_fire((1,))}, spikes_in(2))
    made = quantized(net, random_spikes(0, 4, 2), QuantizeConfig(4))
    report = json.loads(json.dumps(made.report.as_dict(), allow_nan=False))
    assert report["connections"][0]["sqnr_db"] is None  # nothing lost
    assert report["connections"][0]["weight_bits"] == 4
    assert json.loads(made.network.provenance["quantize"])["weight_bits"] == 4
    assert made.network.provenance["calibration_samples"] == "4"


def test_dense_and_silent_weights() -> None:
    net = chain({"fc": affine(np.zeros((2, 3)), 0.3), "if": integrate_and_fire((2,))}, spikes_in(3))
    made = quantized(net, random_spikes(0, 4, 3))
    connection = made.network.weighted_connections[0]
    assert isinstance(connection, Dense)
    assert not connection.weight.any()
    np.testing.assert_array_equal(
        run_native(made.network, np.ones((1, 3), np.int32)).scores["if"], [[1, 1]]
    )


@pytest.mark.parametrize("bits", [1, 9])
def test_weight_bits_out_of_range(bits: int) -> None:
    with pytest.raises(InputError, match=f"weight_bits is {bits}, must lie in 2..8"):
        QuantizeConfig(weight_bits=bits)


@pytest.mark.parametrize("fractions", [(), (0.0,), (1.5,)])
def test_clip_fractions_out_of_range(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="clip_fractions is"):
        QuantizeConfig(clip_fractions=fractions)


def test_bad_calibration_samples() -> None:
    net = chain({"fc": affine([[1.0, 0.5]]), "if": integrate_and_fire((1,))}, spikes_in(2))
    with pytest.raises(InputError, match="contains NaN or infinity"):
        quantized(net, np.array([[np.nan, 0.0]]))
    with pytest.raises(InputError, match=r"data set is empty \(B = 0\)"):
        quantized(net, np.zeros((0, 2)))
    with pytest.raises(InputError, match="samples have shape"):
        quantized(net, np.zeros((3, 5)))


def test_threshold_below_one_weight_unit() -> None:
    net = chain({"fc": affine([[1000.3, -77.7]]), "if": integrate_and_fire((1,))}, spikes_in(2))
    with pytest.raises(InputError, match="population 'if': threshold 1 is below one weight unit"):
        quantized(net, random_spikes(0, 4, 2))


def test_bias_input_with_too_large_a_scale() -> None:
    source = Input("input", (1,), Coding.BIAS, low=0, high=4000, scale=1e6)
    net = chain({"lif": leaky((1,), 0.5)}, source)
    with pytest.raises(InputError, match=r"input 'input': scale 1e\+06 as bias of 'lif'"):
        quantized(net, np.array([[0.004]]))


def test_options_are_handed_down_as_one_value() -> None:
    """A further option takes a field, and a reader where it applies: no signature names one."""
    folder = Path(__file__).parent.parent / "export" / "quantize"
    options = {field.name for field in dataclasses.fields(QuantizeConfig)}
    functions = [
        node
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    taking = [f for f in functions if "config" in {arg.arg for arg in f.args.args}]
    assert {"calibrate", "share_precision", "round_connections"} <= {f.name for f in taking}
    for function in functions:
        names = {arg.arg for arg in (*function.args.args, *function.args.kwonlyargs)}
        assert not names & options, f"{function.name} takes an option by itself"
        assert function.args.kwarg is None, f"{function.name} takes any option"
