"""What quantization reports: outliers, zeroed weights, silent populations, agreement."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.plausibility import implausible
from spikeport.export.nir.semantics import DEFAULTS, IntegratorGain
from spikeport.export.quantize import QuantizationReport, QuantizationResult, QuantizeConfig
from spikeport.export.quantize.lower import lower
from spikeport.export.quantize.lowered import ceiling
from spikeport.export.quantize.report_warnings import LOGGED, to_log
from spikeport.export.quantize.rounding_loss import FEW_UNITS, coarse_share
from spikeport.network import LOIHI, Coding, Input, Reset
from spikeport.report.quantization import quantization_sections
from spikeport.report.terminal import render_section
from spikeport.runs import compare_outputs, encode_samples
from spikeport.simulators import run_float, run_native, run_reference
from tests.helpers.command import call
from tests.helpers.quantize_networks import (
    affine,
    chain,
    conv,
    leaky,
    network,
    quantized,
    spikes_in,
)

Array = NDArray[np.float64]
NARROW = QuantizeConfig(search_wider=False)


def samples(seed: int = 0, count: int = 100, steps: int = 16) -> Array:
    return (np.random.default_rng(seed).random((steps, count, 20)) < 0.3).astype(np.float64)


def weights(seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.22, (30, 20)), rng.normal(0.3, 0.5, (10, 30))


def two_layers(
    first: Array, second: Array, bias: float | Array = 0.0, **options: Any
) -> FloatNetwork:
    return chain(
        {
            "fc1": affine(first, bias),
            "lif1": leaky((len(first),), 0.5),
            "fc2": affine(second),
            "lif2": leaky((len(second),), 0.5),
        },
        spikes_in(first.shape[1]),
        steps=16,
        **options,
    )


def outlier(kind: str, seed: int, factor: float) -> FloatNetwork:
    first, second = weights(seed)
    where: Any = {"weight": (3, 5), "row": 3, "column": (slice(None), 3), "none": ()}[kind]
    if kind != "none":
        first[where] *= factor
    return two_layers(first, second)


def of(report: QuantizationReport, name: str) -> Any:
    parts: list[Any] = [*report.populations, *report.connections]
    return next(part for part in parts if part.name == name)


@pytest.mark.parametrize(
    ("kind", "factor", "seed", "before", "after"),
    [
        ("weight", 300, 1, 0.72, 0.9),
        ("row", 200, 1, 0.6, 0.75),
        ("column", 200, 1, 0.45, 0.75),
    ],
)
def test_outliers_are_clipped_as_far_as_it_takes(
    kind: str, factor: float, seed: int, before: float, after: float
) -> None:
    source, x = outlier(kind, seed, factor), samples(count=200)
    plain, made = quantized(source, x, NARROW).report, quantized(source, x).report
    assert plain.agreement < before
    assert made.agreement > after
    old, new = of(plain, "lif1"), of(made, "lif1")
    assert new.rms_error < 0.75 * old.rms_error
    assert new.vth > 4 * old.vth
    assert new.scales_tried > old.scales_tried
    assert new.reach < 0.15 < old.reach
    assert of(made, "fc1").zeroed < 0.25 * of(plain, "fc1").zeroed
    text = f"population 'lif1': outliers: the best of {new.scales_tried} scales clips weights above"
    assert any(warning.startswith(text) for warning in made.warnings)


@pytest.mark.parametrize("factor", [1e3, 1e5, 1e7])
def test_outliers_of_any_size(factor: float) -> None:
    """Without clipping them, the threshold would be below one unit, which is an error."""
    source = outlier("weight", 1, factor)
    if factor > 1e3:
        with pytest.raises(InputError, match="'lif1': threshold 1 is below one weight unit"):
            quantized(source, samples(), NARROW)
    report = quantized(source, samples()).report
    assert of(report, "lif1").relative_error < 0.15
    assert 1 <= of(report, "fc1").clipped < 6


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from(["weight", "row", "column", "none"]),
    st.integers(0, 999),
    st.floats(1, 1e4),
    st.sampled_from([2, 3, 4, 6, 8]),
    st.sampled_from(list(Reset)),
)
def test_a_wider_search_never_does_worse_and_leaves_good_scales_alone(
    kind: str, seed: int, factor: float, bits: int, reset: Reset
) -> None:
    source = outlier(kind, seed, factor).with_rules(reset=reset)
    x = samples(seed, 20)
    try:
        narrow = quantized(source, x, QuantizeConfig(bits, search_wider=False))
    except InputError:
        return
    wide = quantized(source, x, QuantizeConfig(bits))
    old, new = of(narrow.report, "lif1"), of(wide.report, "lif1")
    assert new.rms_error <= old.rms_error
    limit = coarse_share(bits)
    well = all(
        p.relative_error <= limit and p.vth > FEW_UNITS for p in narrow.report.populations
    ) and all(c.zeroed_fraction <= limit for c in narrow.report.connections)
    if well:
        assert wide.network == narrow.network
        for one, other in zip(narrow.report.populations, wide.report.populations, strict=True):
            assert other.scales_tried == one.scales_tried


def test_clip_fractions_that_are_given_are_the_only_ones() -> None:
    assert QuantizeConfig(clip_fractions=(1.0,)).search_wider is False
    assert QuantizeConfig().search_wider is True
    made = quantized(outlier("weight", 1, 300), samples(), QuantizeConfig(clip_fractions=(1.0,)))
    assert of(made.report, "lif1").scales_tried == 1
    assert of(made.report, "fc1").clipped == 0


def test_outliers_of_a_recurrent_connection() -> None:
    rng = np.random.default_rng(1)
    first, second = weights(1)
    back = rng.normal(0, 0.3, (30, 30))
    back[2, 3] *= 300
    source = network(
        {
            "fc": affine(first), "lif": leaky((30,), 0.5), "back": nir.Linear(back),
            "fc2": affine(second), "lif2": leaky((10,), 0.5),
        },
        [
            ("input", "fc"), ("fc", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "fc2"),
            ("fc2", "lif2"), ("lif2", "output"),
        ],
        [spikes_in(20)],
        steps=16,
    )  # fmt: skip
    plain, made = quantized(source, samples(), NARROW), quantized(source, samples())
    assert of(made.report, "lif").rms_error < of(plain.report, "lif").rms_error
    assert of(made.report, "back").clipped >= 1


def test_a_channel_of_outliers_before_graded_inputs() -> None:
    """Inputs take fewer bits there, as clipped weights fill the chip's sums sooner."""
    rng = np.random.default_rng(1)
    kernels = rng.normal(0, 0.4, (6, 1, 3, 3))
    kernels[2] *= 200
    source = chain(
        {
            "conv": conv(kernels, padding=1),
            "lif": leaky((6, 8, 8), 0.5),
            "flat": nir.Flatten({"input": None}, 0, -1),
            "fc": affine(rng.normal(0.02, 0.1, (10, 384))),
        },
        Input("input", (1, 8, 8), Coding.GRADED, 0, 255, 255.0),
        steps=8,
    )
    x = rng.random((30, 1, 8, 8))
    plain, made = quantized(source, x, NARROW), quantized(source, x)
    assert of(made.report, "lif").rms_error < 0.7 * of(plain.report, "lif").rms_error
    assert made.network.inputs[0].scale < plain.network.inputs[0].scale
    assert of(made.report, "lif").u_peak <= 0.5


def test_outlying_biases_are_clipped_where_nothing_else_fits() -> None:
    first, second = weights(1)
    bias = np.zeros(30)
    bias[4] = 3e4
    made = quantized(two_layers(first, second, bias), samples())
    assert of(made.report, "lif1").bias_clipped == 1
    assert of(made.report, "lif1").relative_error < 0.2
    assert "population 'lif1': 1 biases are clipped to 13 bits" in made.report.warnings


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999), st.sampled_from([2, 4, 8]), st.floats(0.02, 5), st.booleans())
def test_figures_of_the_report_are_those_of_the_networks(
    seed: int, bits: int, gain: float, spread: bool
) -> None:
    """Recount zeros from the weights, and spikes from the scalar reference and the float run."""
    first, second = weights(seed)
    first *= gain
    first[0, :3] = 0
    if spread:
        first *= 10.0 ** np.linspace(-4, 0, 30)[:, None]
    source, x = two_layers(first, second), samples(seed, 6)
    made = quantized(source, x, QuantizeConfig(bits))
    connection = made.network.weighted_connections[0]
    found = of(made.report, "fc1")
    lost = (first != 0) & (connection.weight == 0)
    assert found.zeroed == lost.sum()
    assert found.zeroed_fraction == lost.sum() / np.count_nonzero(first)
    assert found.emptied == (~connection.weight.any(axis=1)).sum()
    wanted, got = run_float(source, x), run_reference(made.network, x.astype(np.int32))
    for name in ("lif1", "lif2"):
        own, before, after = (
            of(made.report, name).activity,
            wanted.spike_counts[name],
            got.spike_counts[name],
        )
        assert (own.float_spikes, own.spikes) == (before.sum(), after.sum())
        assert (own.float_silent, own.silent) == ((before == 0).sum(), (after == 0).sum())
        assert own.silenced == ((before > 0) & (after == 0)).sum()
        assert own.rate == after.sum() / (16 * 6 * after.size)
        assert (own.float_peak >= 1) == (own.float_spikes > 0)
    a, b = wanted.scores["output"], got.scores["lif2"]
    clear = [np.sort(s, axis=1)[:, -1] > np.sort(s, axis=1)[:, -2] for s in (a, b)]
    same = clear[0] & clear[1] & (a.argmax(axis=1) == b.argmax(axis=1))
    predictions = made.report.predictions
    assert (predictions.wanted.decided, predictions.got.decided) == tuple(map(sum, clear))
    assert predictions.agreeing == same.sum()
    assert predictions.wanted.silent == (a.max(axis=1) == 0).sum()
    assert predictions.got.silent + predictions.got.tied + predictions.got.decided == 6
    assert json.loads(json.dumps(made.report.as_dict(), allow_nan=False))


def said(result: QuantizationResult) -> str:
    return "\n".join(result.report.warnings)


def test_weights_that_become_zero_are_reported() -> None:
    first, second = weights(0)
    made = quantized(two_layers(first * 10.0 ** np.linspace(-4, 0, 30)[:, None], second), samples())
    found = of(made.report, "fc1")
    assert found.zeroed_fraction > 0.3
    assert f"'fc1': {found.zeroed} of 600 weights are rounded to zero" in said(made)
    assert f"'fc1': {found.emptied} of its targets lose all their weights" in said(made)


def test_a_threshold_of_a_few_units_is_reported() -> None:
    first, second = weights(0)
    made = quantized(two_layers(60 * np.abs(first) + 5, second), samples())
    vth = of(made.report, "lif1").vth
    assert vth <= FEW_UNITS
    share = round(100 / vth)
    assert (
        f"'lif1': its threshold is only {vth} weight units, so rounding changes a weight by up to "
        f"{share} % of the threshold" in said(made)
    )


def test_a_network_without_outliers_is_quiet() -> None:
    rng = np.random.default_rng(3)
    source = chain({"fc": affine(rng.normal(0.2, 0.5, (10, 20))), "lif": leaky((10,), 0.9)},
                   spikes_in(20), steps=64)  # fmt: skip
    made = quantized(source, samples(3, 100, 64), QuantizeConfig())
    assert of(made.report, "lif").activity.spikes > 1000
    assert made.report.warnings == ()


@pytest.mark.parametrize(
    ("name", "change", "dead"),
    [
        ("zero", lambda a, b: (0 * a, b), ["lif1", "lif2"]),
        ("tiny", lambda a, b: (1e-30 * a, b), ["lif1", "lif2"]),
        ("subnormal", lambda a, b: (1e-310 * a, b), ["lif1", "lif2"]),
        ("inhibited", lambda a, b: (a, -np.abs(b)), ["lif2"]),
    ],
)
def test_silent_populations_are_named(
    name: str, change: Any, dead: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    made = quantized(two_layers(*change(*weights(0))), samples())
    listed = ", ".join(f"'{part}'" for part in dead)
    told = f"{listed} fire{'s' * (len(dead) == 1)} on none of the 100 calibration samples"
    assert told in said(made)
    assert "no input can bring it above" in said(made)
    assert told in caplog.text
    assert made.report.predictions.rate is None
    assert made.report.summary.startswith(
        "No prediction to compare: the float network decides none of 100 "
    )
    shown = " ".join(s.note + " ".join(s.warnings) for s in quantization_sections(
        made.report.as_dict()))  # fmt: skip
    assert "agree in" not in shown
    assert told in shown


def test_what_falls_silent_by_rounding_is_named() -> None:
    """Where one input is strong, one that takes 14 steps to the threshold is rounded to zero."""
    weight = np.zeros((4, 20))
    weight[:3, 0], weight[3, 1] = 0.06, 100.0
    source = chain({"fc": affine(weight), "if": leaky((4,), 0.999, 0.8)}, spikes_in(20), steps=16)
    made = quantized(source, np.ones((16, 8, 20)) * (np.arange(20) < 2), NARROW)
    assert of(made.report, "if").activity.silenced == 3
    assert "'if': 3 of 4 neurons that fire in the float network never fire in integers" in said(
        made
    )


def test_a_saturated_population_is_reported() -> None:
    first, second = weights(0)
    made = quantized(two_layers(100 * np.abs(first), np.abs(second), 5.0), samples())
    assert of(made.report, "lif1").activity.rate == 1
    assert "populations 'lif1', 'lif2' fire at every step, even in the float network" in said(made)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda b: np.tile(b[:1], (10, 1)),
            "decides none of 100 calibration samples; its outputs are tied on 100",
        ),
        (lambda b: b - 1 + 3 * (np.arange(10) == 3)[:, None], "All 100 predictions on the calib"),
    ],
)
def test_undecided_outputs_are_reported(change: Any, text: str) -> None:
    first, second = weights(0)
    assert text in said(quantized(two_layers(first, change(second), 0.5), samples()))


def test_one_output_has_no_predictions() -> None:
    first, second = weights(0)
    made = quantized(two_layers(first, second[:1]), samples())
    assert made.report.summary == (
        "The network has one output, so there are no predictions to compare."
    )


def test_poor_agreement_is_a_warning() -> None:
    made = quantized(outlier("weight", 1, 300), samples(), NARROW)
    assert made.report.predictions.rate < 0.9  # type: ignore[operator]
    assert made.report.summary in made.report.warnings
    share = f"{100 * made.report.predictions.rate:.2f} %"  # type: ignore[operator]
    assert f"float and integer predictions agree in {share}" in made.report.summary


def test_agreement_counts_samples_that_are_decided() -> None:
    run = run_float(outlier("none", 0, 1), samples(count=4))
    wanted = dataclasses.replace(run, scores={"o": np.array([[0, 0], [2, 1], [3, 3], [0, 1]])})
    got = dataclasses.replace(run, scores={"o": np.array([[0, 0], [2, 2], [3, 3], [0, 4]])})
    found = compare_outputs(wanted, got)
    assert (found.wanted.decided, found.wanted.silent, found.wanted.tied) == (2, 1, 1)
    assert (found.got.decided, found.got.silent, found.got.tied) == (1, 1, 2)
    assert (found.agreeing, found.rate, found.wanted.classes) == (1, 0.5, 2)
    near = np.array([[1.0, 1.0 + 1e-8], [1.0, 1.1], [0.0, 0.0], [-1.0, -2.0]])
    blurred = compare_outputs(dataclasses.replace(run, scores={"o": near}), got).wanted
    assert (blurred.decided, blurred.tied, blurred.silent) == (2, 1, 1)


def graph(tau: float = 0.02, r: float = 1.0, size: int = 64) -> nir.NIRGraph:
    rng = np.random.default_rng(0)
    shape = (10,)
    lif = nir.LIF(tau=np.full(shape, tau), r=np.full(shape, r), v_leak=np.zeros(shape),
                  v_threshold=np.ones(shape), v_reset=np.zeros(shape))  # fmt: skip
    nodes = {
        "input": nir.Input({"input": np.array([size])}),
        "fc": nir.Linear(rng.normal(0.3, 0.5, (10, size))),
        "cells": lif,
        "output": nir.Output({"output": np.array(shape)}),
    }
    return nir.NIRGraph(nodes, [("input", "fc"), ("fc", "cells"), ("cells", "output")])


@pytest.mark.parametrize(
    ("dt", "tau", "r", "told"),
    [
        (1e-3, 0.02, 1.0, ""),
        (1e-3, 0.02, 20.0, ""),
        (1e-6, 0.02, 1.0, "tau is 2e+04 to 2e+04 times dt"),
        (1e-6, 0.02, 1.0, "an input of 1 moves its membrane by 5e-05 to 5e-05 per step"),
        (1e-3, 0.02, 1e6, "an input of 1 moves its membrane by 5e+04 to 5e+04 per step"),
        (1e-3, 20.0, 2e4, "tau is 2e+04 to 2e+04 times dt"),
        (1.0, 0.02, 1.0, "tau is 0.02 to 0.02 times dt"),
        (1e-3, 0.999, 20.0, ""),
        (1e-3, 1.001, 20.0, "tau is 1e+03 to 1e+03 times dt"),
        (1e-4, 2e-3, 20.0, ""),
        (1e-3, 2e-3, 20.0, "r is tau / (0.0001 s), as snnTorch and SpikingJelly write it; is dt"),
        (1e-3, 5e-3, 0.8, "r is what Spyx writes, and ignores, for this dt"),
        (1e-4, 2.5e-3, 24.019736, "r is what Rockpool writes, and ignores, for this dt"),
    ],
)
def test_time_constants_and_gains_out_of_the_ordinary(
    dt: float, tau: float, r: float, told: str
) -> None:
    found = " ".join(implausible(graph(tau, r), dt, DEFAULTS))
    assert told in found
    assert bool(told) == bool(found)


@pytest.mark.parametrize("power", [-3, 3])
@given(st.floats(1.001, 999))
def test_milliseconds_taken_for_seconds_are_told(power: int, ratio: float) -> None:
    """Whatever the true time constant, if it is one of more than 1 and less than 1,000 steps."""
    assert not implausible(graph(ratio * 1e-3), 1e-3, DEFAULTS) or ratio > 500  # then the gain
    assert "are both in seconds?" in " ".join(
        implausible(graph(ratio * 1e-3), 1e-3 * 10.0**power, DEFAULTS)
    )


@pytest.mark.parametrize(
    ("r", "rule", "told"),
    [
        ([1.0, 2.0, 3.0], "nir", "r is 1 in 1 of 3 neurons, read as a gain of 1 per step, and"),
        ([1.0, 2.0, 3.0], "per-step", ""),
        ([1.0, 1.0, 1.0], "nir", ""),
        ([2e3, 3e3, 4e3], "nir", ""),
        ([1e4, 1e4, 1e4], "nir", "r is 1 / (0.0001 s), as snnTorch and SpikingJelly write it"),
    ],
)
def test_two_meanings_of_r_in_one_node(r: list[float], rule: str, told: str) -> None:
    node = nir.IF(np.array(r), np.ones(3))
    source = chain({"fc": affine(np.eye(3)), "n": node}, spikes_in(3))
    rules = DEFAULTS.changed(integrator_gain=IntegratorGain(rule))
    found = " ".join(implausible(source.graph, 1e-3, rules))
    assert told in found
    assert bool(told) == bool(found)


@pytest.mark.parametrize("v_reset", [None, 0.0, -0.5])
@pytest.mark.parametrize("reset", list(Reset))
def test_a_v_reset_that_the_reset_does_not_use_is_told(v_reset: float | None, reset: Reset) -> None:
    levels = None if v_reset is None else np.full(3, v_reset)
    node = nir.IF(np.ones(3), np.ones(3), levels)
    source = chain({"fc": affine(np.eye(3)), "n": node}, spikes_in(3))
    found = " ".join(implausible(source.graph, 1e-3, DEFAULTS.changed(reset=reset)))
    told = "node 'n' (IF): v_reset is -0.5 to -0.5, which a reset by subtraction does not use"
    assert (told in found) == bool(found) == (reset is Reset.SUBTRACT and bool(v_reset))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999), st.floats(0, 1), st.floats(-0.5, 0.5), st.booleans())
def test_no_membrane_goes_beyond_its_bound(
    seed: int, keep: float, bias: float, graded: bool
) -> None:
    rng = np.random.default_rng(seed)
    source = Input("input", (5,), *(
        (Coding.GRADED, -20, 255, 255.0) if graded else (Coding.SPIKES,)))  # fmt: skip
    part = leaky((3,), min(keep, 0.99), 1e9)  # never reset
    net = chain({"fc": affine(rng.normal(0, 1, (3, 5)), bias), "lif": part}, source)
    low = -20 / 255 if graded else 0
    x = rng.uniform(low, 1, (6, 20, 5)) if graded else rng.integers(0, 2, (6, 20, 5))
    lowered = lower(net)
    trace = run_float(net, x, record=("v",)).trace
    assert trace is not None
    assert trace.v["lif"].max() <= ceiling(lowered, lowered.populations[0]) + 1e-9
    assert (trace.v["lif"] != 0).any()


def test_a_file_read_with_a_wrong_dt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    command = written(tmp_path)
    assert call([*command, "--dt", "1e-6"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "agree in" not in out
    assert "No prediction to compare" in out
    told = "population 'cells' fires on none of the 256 calibration samples"
    assert told in out
    assert told in caplog.text
    assert "an input of 1 moves its membrane by 5e-05" in caplog.text
    caplog.clear()
    assert call([*command, "--dt", "1e-3", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["report"]
    assert report["populations"][0]["activity"]["spikes"] > 0
    assert report["predictions"]["wanted"]["decided"] > 0


def test_run_reports_silent_and_tied_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = written(tmp_path)
    for dt, silent in (("1e-6", 12), ("1e-3", 0)):
        assert call([*command, "--dt", dt]) == 0
        capsys.readouterr()
        run = ["run", command[3], "--data", command[-1], "-n", "12", "--json"]
        assert call(run) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["samples_silent"] == silent
        assert found["samples_tied"] <= 12 - silent


def written(folder: Path) -> list[str]:
    """The command that quantizes a foreign NIR file on user-supplied spikes."""
    nir.write(folder / "a.nir", graph())
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for name, count in (("train", 256), ("test", 20)):
        arrays[f"x_{name}"] = 255 * rng.integers(0, 2, (count, 64)).astype(np.uint8)
        arrays[f"y_{name}"] = np.arange(count) % 10
    np.savez(folder / "own.npz", **arrays)
    made, data = str(folder / "a.spikeport"), str(folder / "own.npz")
    return ["quantize", str(folder / "a.nir"), "-o", made, "-T", "8", "--data", data]


@pytest.mark.parametrize("count", [0, 1, LOGGED, LOGGED + 1, 300])
def test_only_some_of_many_warnings_are_logged(count: int) -> None:
    found = [f"part {k}" for k in range(count)]
    logged = to_log(found)
    if count <= LOGGED:
        assert list(logged) == found
        return
    half = LOGGED // 2
    assert logged[:half] == tuple(found[:half])
    assert logged[half + 1 :] == tuple(found[-half:])
    assert f"{count - LOGGED} more warnings" in logged[half]


def test_warnings_are_logged_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "spikeport"):
        made = quantized(outlier("weight", 1, 300), samples(), NARROW)
    assert caplog.messages == list(made.report.warnings)
    assert len(made.report.warnings) >= 1


def test_limits_are_those_of_the_grid() -> None:
    limits = [coarse_share(bits) for bits in range(2, LOIHI.weight_bits + 1)]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] == 0.75


def test_the_tables_show_every_figure(tmp_path: Path) -> None:
    made = quantized(outlier("row", 1, 200), samples())
    activity, synapses, neurons = quantization_sections(made.report.as_dict())
    assert activity.note.startswith(made.report.summary)
    assert activity.warnings == made.report.warnings
    columns = {"float spikes", "spikes", "float silent", "silent", "vth", "scale", "tried"}
    assert columns <= set(activity.columns)
    assert {"clipped", "zeroed", "emptied"} <= set(synapses.columns)
    assert len(neurons.rows) == 2
    for section in (activity, synapses, neurons):
        assert render_section(section)
        assert len(section.as_dict()["rows"]) == 2


def test_encoded_samples_agree_with_the_report() -> None:
    """The figures describe the returned network, not a population run on its own."""
    source, x = outlier("column", 0, 200), samples()
    made = quantized(source, x)
    sent = encode_samples(made.network.inputs, 16, x)
    predicted = run_native(made.network, sent).predictions
    assert made.report.agreement == np.mean(predicted == run_float(source, x).predictions)
