"""What an input accepts at every entry point: declared values, on unambiguous axes."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport import encode_samples, evaluate, export_float, prepare_qat, quantize, run
from spikeport import network as parts
from spikeport.errors import InputError
from spikeport.export import read_nir
from spikeport.export.nir import FloatNetwork, check_graph
from spikeport.ladder import LadderConfig, run_ladder
from spikeport.network import Coding, DeployedNetwork, Input
from spikeport.runs import SampleSet, check_float_samples, check_samples, same_range, select
from spikeport.runs.sample_values import SLACK, change
from spikeport.trainer import LIF, Dataset, TrainConfig, train
from spikeport.trainer.chip import QATNetwork, takes
from spikeport.trainer.data.frames import Frames
from spikeport.trainer.diagnosis import diagnose
from spikeport.trainer.network import Node, SpikingNetwork
from spikeport.workflow import write_nir

untyped: Any = parts  # accepts values of undeclared types, as users pass them
BiasInjection = untyped.BiasInjection
Dense = untyped.Dense
Population = untyped.Population
Readout = untyped.Readout
Network: Callable[..., DeployedNetwork] = untyped.DeployedNetwork

PIXELS = Input("input", (1, 4, 4), Coding.GRADED, 0, 255, 255.0)
SPIKES = Input("input", (1, 4, 4))
T = 5
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 1, 4, 4)) / 255
EVENTS = RNG.integers(0, 2, (12, 1, 4, 4)).astype(float)


def model(input: Input) -> SpikingNetwork:
    torch.manual_seed(0)
    layers: list[tuple[str, Any]] = [("hidden", torch.nn.Linear(16, 8)), ("fire", LIF(0.5, 0.4))]
    nodes, source = [], input.name
    for name, op in [*layers, ("out", torch.nn.Linear(8, 3)), ("last", LIF(0.5, 0.4))]:
        nodes.append(Node(name, (source,), op))
        source = name
    return SpikingNetwork(input, nodes, T).eval()


def deployed(input: Input) -> DeployedNetwork:
    return Network(
        input,
        Population("p", 3, vth=100),
        Dense(input.name, "p", np.ones((3, 16), int)),
        Readout("p"),
        T,
    )


def float_graph(input: Input) -> FloatNetwork:
    return export_float(model(input))


def dataset(input: Input, x: NDArray[Any]) -> Dataset:
    y = np.arange(len(x)) % 3
    return Dataset("mine", x, y, x, y, input, 3)


Entry = Callable[[Input, Any], object]
ENTRIES: dict[str, Entry] = {
    "encode_samples": lambda i, x: encode_samples((i,), T, x),
    "run float": lambda i, x: run("float", float_graph(i), x),
    "run norse": lambda i, x: run("norse", float_graph(i), x),
    "evaluate": lambda i, x: evaluate(model(i), x),
    "evaluate in chip arithmetic": lambda i, x: evaluate(QATNetwork(deployed(i)), x),
    "quantize": lambda i, x: quantize(float_graph(i), x),
    "to_chip": lambda i, x: prepare_qat(model(i), x),
    "a network": lambda i, x: model(i)(torch.tensor(np.asarray(x), dtype=torch.float32)),
    "a network in training": lambda i, x: model(i).train()(torch.tensor(np.asarray(x)).float()),
    "a chip network": lambda i, x: QATNetwork(deployed(i))(torch.tensor(np.asarray(x)).float()),
    "a data set": lambda i, x: dataset(i, x),
    "train": lambda i, x: train(
        TrainConfig(architecture="mlp", widths=(8,), steps=T, epochs=1), dataset(i, x)
    ),
    "diagnose": lambda i, x: diagnose(
        model(i), torch.tensor(np.asarray(x)).float(), torch.zeros(len(x), dtype=torch.int64)
    ),
}
SAMPLES_ONLY = ("a network", "a network in training", "a chip network", "diagnose")
"""Entry points that accept tensors in batches of any size."""
FROM_LABELS = ("a data set", "train")
"""Entry points where the labels determine the number of samples."""


def skip_without_norse(entry: str) -> None:
    if entry == "run norse":
        pytest.importorskip("norse")


def about_samples(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of inputs; quantization also warns of a network that hardly fires."""
    messages = [record.getMessage() for record in caplog.records]
    return [text for text in messages if text.startswith("input ")]


@pytest.mark.parametrize("entry", ENTRIES)
def test_declared_values_cause_no_warning(entry: str, caplog: pytest.LogCaptureFixture) -> None:
    skip_without_norse(entry)
    ENTRIES[entry](PIXELS, GREY)
    ENTRIES[entry](SPIKES, EVENTS)
    assert not about_samples(caplog)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    ("factor", "spans"),
    [(255.0, r"0\.\.65025"), (16.0, r"0\.\.4080"), (-1.0, r"-255\.\.-?0"), (1.01, r"0\.\.257\.55")],
)
def test_values_beyond_the_declared_range_are_refused(
    entry: str, factor: float, spans: str
) -> None:
    skip_without_norse(entry)
    x = GREY.copy()
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 0, 1
    with pytest.raises(InputError, match=rf"spans {spans} in units of 1/255, must lie in 0\.\.255"):
        ENTRIES[entry](PIXELS, x * factor)


@pytest.mark.parametrize("entry", ENTRIES)
def test_fractions_for_an_input_of_spikes_are_refused(entry: str) -> None:
    skip_without_norse(entry)
    with pytest.raises(InputError, match=r"are between 0 and 1 .* declared as spikes"):
        ENTRIES[entry](SPIKES, GREY)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("value", [1.3, -0.4, 0.01])
def test_a_single_fraction_is_refused_even_where_the_nearest_integer_is_declared(
    entry: str, value: float
) -> None:
    skip_without_norse(entry)
    x = EVENTS.copy()
    x[0, 0, 0, 0] = value
    with pytest.raises(InputError, match=r"1 of 192 values .* declared as spikes"):
        ENTRIES[entry](SPIKES, x)


SHAPES: dict[str, tuple[tuple[int, ...], str]] = {
    "channels last": ((7, 4, 2, 3), "they look like channels last"),
    "flat": ((7, 24), r"x\.reshape\(-1, 3, 4, 2\) has that shape"),
    "rows and columns": ((7, 3, 2, 4), "rows and columns look swapped"),
    "too few": ((7, 4, 2), r"\(7, 4, 2\), must be"),
    "too many": ((5, 7, 1, 3, 4, 2), r"\(5, 7, 1, 3, 4, 2\), must be"),
    "one sample": ((3, 4, 2), r"this is one sample, x\[None\]"),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("given", SHAPES)
def test_wrong_axes_are_refused_with_a_hint(entry: str, given: str) -> None:
    skip_without_norse(entry)
    shape, message = SHAPES[given]
    with pytest.raises(InputError, match=message):
        _at_shape(entry, Input("input", (3, 4, 2), Coding.GRADED, 0, 1), np.zeros(shape))


def test_a_missing_channel_axis_is_named() -> None:
    with pytest.raises(InputError, match=r"the channel axis is missing, x\[:, None\]"):
        encode_samples((PIXELS,), T, GREY[:, 0])
    with pytest.raises(InputError, match=r"np\.moveaxis\(x, -1, 2\) puts channels first"):
        encode_samples((PIXELS,), T, np.zeros((T, 2, 4, 4, 1)))


def _at_shape(entry: str, part: Input, x: NDArray[Any]) -> None:
    """Entry points with networks of another input shape."""
    size = int(np.prod(part.shape))
    torch.manual_seed(0)
    nodes = [Node("a", ("input",), torch.nn.Linear(size, 3)), Node("b", ("a",), LIF(0.5, 1.0))]
    net = SpikingNetwork(part, nodes, T).eval()
    chip = Network(
        part, Population("p", 3, 9), Dense("input", "p", np.ones((3, size), int)), Readout("p"), T
    )
    tensor = torch.tensor(x).float()
    calls: dict[str, Callable[[], object]] = {
        "encode_samples": lambda: encode_samples((part,), T, x),
        "run float": lambda: run("float", export_float(net), x),
        "run norse": lambda: run("norse", export_float(net), x),
        "evaluate": lambda: evaluate(net, x),
        "evaluate in chip arithmetic": lambda: evaluate(QATNetwork(chip), x),
        "quantize": lambda: quantize(export_float(net), x),
        "to_chip": lambda: prepare_qat(net, x),
        "a network": lambda: net(tensor),
        "a network in training": lambda: net.train()(tensor),
        "a chip network": lambda: QATNetwork(chip)(tensor),
        "a data set": lambda: dataset(part, x),
        "train": lambda: dataset(part, x),
        "diagnose": lambda: diagnose(net, tensor, torch.zeros(len(x), dtype=torch.int64)),
    }
    calls[entry]()


STRANGE: dict[str, tuple[Any, str]] = {
    "nan": (np.where(GREY > 0.9, np.nan, GREY), "NaN or infinity"),
    "inf": (np.where(GREY > 0.9, np.inf, GREY), "NaN or infinity"),
    "masked": (np.ma.masked_greater(GREY, 0.9), "some values are masked"),
    "complex": (GREY + 0j, "type complex128, must be numbers"),
    "text": (GREY.astype(str), "type <U"),
    "ragged": ([[1.0], [1.0, 2.0]], "is not an array of numbers"),
    "objects": (GREY.astype(object), "type object, must be numbers"),
    "times": (GREY.astype("m8[s]"), "must be numbers"),
    "nothing": (None, "type object|shape"),
    "bytes 0..255": ((GREY * 255).astype(np.uint8), "divide them by the input's scale of 255"),
    "sparse": (torch.tensor(GREY).to_sparse(), "is not an array of numbers"),
}


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (entry, kind)
        for entry in ENTRIES
        for kind in STRANGE
        if entry not in SAMPLES_ONLY
        and not (entry in FROM_LABELS and kind in ("ragged", "nothing"))
        and (entry, kind) != ("quantize", "nothing")  # calibrates on random samples, and says so
    ],
)
def test_strange_values_are_one_clear_error(entry: str, kind: str) -> None:
    skip_without_norse(entry)
    value, message = STRANGE[kind]
    with pytest.raises(InputError, match=rf"{message}|shape \("):
        ENTRIES[entry](PIXELS, value)


@pytest.mark.parametrize(
    "same",
    [
        GREY.astype(np.float32),
        GREY.tolist(),
        np.asfortranarray(GREY),
        GREY.astype(">f8"),
        np.ma.masked_array(GREY),
        torch.tensor(GREY),
        torch.tensor(GREY, requires_grad=True),
        torch.nn.Parameter(torch.tensor(GREY)),
        GREY[::-1][::-1],
        {"input": GREY},
    ],
    ids=str,
)
def test_other_forms_of_the_same_values_are_the_same(same: Any) -> None:
    expected = encode_samples((PIXELS,), T, GREY)["input"]
    np.testing.assert_array_equal(encode_samples((PIXELS,), T, same)["input"], expected)


def test_bool_and_integer_spikes_are_spikes() -> None:
    for kind in (bool, np.uint8, np.int64, np.float16):
        sent = encode_samples((SPIKES,), T, EVENTS.astype(kind))
        np.testing.assert_array_equal(sent["input"], EVENTS)
        assert (sent.changes[0].clipped, sent.changes[0].rounded) == (0, 0)


@given(
    low=st.integers(-300, 0),
    span=st.integers(1, 600),
    scale=st.floats(0.01, 1000),
    seed=st.integers(0, 2**32 - 1),
    reach=st.floats(0.1, 3),
)
def test_clipping_and_rounding_are_counted_exactly(
    low: int, span: int, scale: float, seed: int, reach: float
) -> None:
    """Compared with a count value by value; values in range are never refused."""
    part = Input("x", (4,), Coding.GRADED, low, low + span, scale)
    middle, half = (2 * low + span) / 2, span / 2
    x = (middle + half * reach * np.random.default_rng(seed).uniform(-1, 1, (50, 4))) / scale
    beyond, rounded = 0, 0
    for value in (x * scale).ravel():
        nearest = round(float(value))
        beyond += int(not low <= nearest <= low + span)
        rounded += int(low <= nearest <= low + span and abs(value - nearest) > SLACK)
    sent = encode_samples((part,), 2, x, clip=True)
    assert (sent.changes[0].clipped, sent.changes[0].rounded) == (beyond, rounded)
    assert sent["x"].min() >= low
    assert sent["x"].max() <= low + span
    if beyond:
        with pytest.raises(InputError, match=f"{beyond:,} of 200 values lie beyond"):
            encode_samples((part,), 2, x)
    else:
        np.testing.assert_array_equal(encode_samples((part,), 2, x)["x"], sent["x"])
    floats = check_float_samples((part,), 2, x, clip=True)
    assert sum(found.clipped for found in floats.changes) == beyond
    again = encode_samples((part,), 2, floats)
    np.testing.assert_array_equal(again["x"], sent["x"])


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = RNG.normal(size=(7, 1, 4, 4))
    whole = change(PIXELS, x)
    monkeypatch.setattr("spikeport.runs.sample_values.BLOCK", 5)
    parts = change(PIXELS, x)
    assert (whole.clipped, whole.rounded) == (parts.clipped, parts.rounded)
    assert whole.rounding == pytest.approx(parts.rounding)


@pytest.mark.parametrize(
    ("part", "x"),
    [
        (Input("input", (1, 4, 4), Coding.GRADED, 0, 255, 1.0), GREY),
        (Input("input", (1, 4, 4), Coding.GRADED, 0, 1, 1.0), GREY),
        (PIXELS, GREY / 255),
    ],
)
def test_a_scale_that_rounds_the_samples_away(
    part: Input, x: NDArray[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """An error for a declared input, a warning for a chip's input, which may well be coarse."""
    for entry in ("quantize", "to_chip", "a data set"):
        with pytest.raises(InputError, match=r"changes them by \d+ % \(rms\)"):
            ENTRIES[entry](part, x)
    encode_samples((part,), T, x)
    assert "changes them by" in caplog.text


def test_quantize_clips_only_when_asked_and_reports_it() -> None:
    graph, x = float_graph(PIXELS), GREY * 1.5
    beyond = int((np.rint(x * 255) > 255).sum())
    made = quantize(graph, x, clip=True)
    assert made.report.inputs[0].clipped == beyond
    assert f"{beyond} of {x.size} calibration values" in made.report.warnings[0]
    plain = quantize(graph, np.clip(x, 0, 1))
    assert plain.network == made.network
    assert not plain.report.inputs[0].clipped


@pytest.mark.parametrize("entry", [n for n in ENTRIES if n not in (*FROM_LABELS, *SAMPLES_ONLY)])
def test_one_sample_without_a_batch_axis(entry: str, caplog: pytest.LogCaptureFixture) -> None:
    skip_without_norse(entry)
    with pytest.raises(InputError, match=r"and T is 5: is that one sample, or 5\? one sample of 5"):
        ENTRIES[entry](SPIKES, EVENTS[:T])
    ENTRIES[entry](SPIKES, EVENTS[: T + 1])
    ENTRIES[entry](SPIKES, EVENTS[:T, None])
    ENTRIES[entry](SPIKES, np.broadcast_to(EVENTS[:T], (T, *EVENTS[:T].shape)))
    assert not about_samples(caplog)
    ENTRIES[entry](PIXELS, GREY[:T])
    assert "read as 5 samples presented at every step; one sample of 5 steps is x[:, None]" in (
        caplog.text
    )


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_integers_without_a_batch_axis(backend: str) -> None:
    network, x = deployed(SPIKES), EVENTS.astype(int)
    with pytest.raises(InputError, match="is that one sample, or 5"):
        run(backend, network, x[:T])
    whole = run(backend, network, x[:T, None])
    assert whole.samples == 1
    shown = run(backend, network, np.broadcast_to(x[:T], (T, T, 1, 4, 4)))
    told = run(backend, network, encode_samples(network.inputs, T, EVENTS[:T], static=True))
    assert told.samples == shown.samples == T
    np.testing.assert_array_equal(shown.scores["p"], told.scores["p"])


def test_other_inputs_settle_what_the_axes_are() -> None:
    inputs = (Input("a", (2,)), Input("b", (3,)))
    timed = {"a": np.zeros((T, T, 2), int), "b": np.zeros((T, 3), int)}
    assert check_samples(inputs, T, timed)["b"].shape == (T, 3)
    with pytest.raises(InputError, match="input 'a': samples have shape"):
        check_samples(inputs, T, {"a": np.zeros((T, 2), int), "b": np.zeros((T, 3), int)})


def test_checked_samples_stay_checked() -> None:
    known = check_samples((SPIKES,), 3, EVENTS.astype(int))
    for cut in (select((SPIKES,), known, slice(3)), pickle.loads(pickle.dumps(known))):
        assert isinstance(cut, SampleSet)
        check_samples((SPIKES,), len(cut["input"]), cut)
    assert copy.deepcopy(known).changes == ()


def test_one_step_is_one_step() -> None:
    check_samples((SPIKES,), 1, np.ones((1, 1, 4, 4), int))


def test_batch_first_is_named() -> None:
    x = np.zeros((9, T, 1, 4, 4), int)
    with pytest.raises(InputError, match=r"have 9 steps, the network has T = 5; if the batch axis"):
        check_samples((SPIKES,), T, x)


def test_ranges_are_compared_up_to_a_unit_of_the_coarser() -> None:
    assert same_range(PIXELS, Input("input", (1, 4, 4), Coding.GRADED, 0, 15, 15.0))
    assert same_range(PIXELS, Input("input", (1, 4, 4), Coding.GRADED, 0, 64, 63.75))
    assert not same_range(PIXELS, Input("input", (1, 4, 4), Coding.GRADED, -160, 160, 64.0))
    chip = QATNetwork(deployed(Input("input", (1, 4, 4), Coding.GRADED, 0, 64, 63.75)))
    assert takes(chip, PIXELS)
    assert not takes(chip, Input("input", (1, 4, 4), Coding.GRADED, -160, 160, 64.0))


def test_a_bias_is_checked_as_graded_values_are() -> None:
    part = Input("x", (2,), "bias", -100, 100, 50.0)  # type: ignore[arg-type]
    sent = encode_samples((part,), 2, np.array([[2.0, -2.0], [0.011, 0.5], [0, 0]]))
    assert sent["x"].tolist() == [[100, -100], [1, 25], [0, 0]]
    with pytest.raises(InputError, match=r"beyond -2\.\.2, the declared range of bias values"):
        encode_samples((part,), 2, np.array([[2.1, 0.0]]))
    network = Network(part, Population("p", 2, 9), BiasInjection("x", "p"), Readout("p"), 2)
    with pytest.raises(InputError, match=r"values span 101\.\.101, must lie in -100\.\.100"):
        run("native", network, np.full((3, 2), 101))


def test_inputs_of_a_foreign_file_are_assumed(tmp_path: Any) -> None:
    nodes = {
        "x": nir.Input({"input": np.array([2])}),
        "n": nir.IF(np.ones(2), np.ones(2), np.zeros(2)),
        "out": nir.Output({"output": np.array([2])}),
    }
    graph = check_graph(nodes, [("x", "n"), ("n", "out")], 1e-3).graph
    path, ours = tmp_path / "foreign.nir", tmp_path / "ours.nir"
    nir.write(path, graph)
    opened = read_nir(path, dt_s=1e-3, steps=4)
    assert isinstance(opened, FloatNetwork)
    assert opened.inputs_assumed
    with pytest.raises(InputError, match="declared as spikes"):
        run("float", opened, np.array([[0.5, 0.2]]))
    write_nir(opened, ours)
    again = read_nir(ours)
    assert isinstance(again, FloatNetwork)
    assert again.inputs_assumed
    told = read_nir(ours, inputs=(Input("x", (2,), Coding.GRADED, 0, 10, 10.0),))
    assert isinstance(told, FloatNetwork)
    assert not told.inputs_assumed
    assert run("float", told, np.array([[0.5, 0.2]])).samples == 1
    write_nir(told, ours)
    kept = read_nir(ours)
    assert isinstance(kept, FloatNetwork)
    assert not kept.inputs_assumed


def test_warnings_are_logged_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        encode_samples((PIXELS,), 12, GREY)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_start_trained_on_another_range_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    config = TrainConfig(architecture="mlp", widths=(8,), steps=2, epochs=1)
    first = train(config, dataset(PIXELS, GREY)).model
    train(config, dataset(replace(PIXELS, high=15, scale=15.0), GREY), start=first)
    assert not caplog.records
    other = replace(PIXELS, low=-510, high=510)
    train(config, dataset(other, 4 * GREY - 2), start=first)
    assert "start: was trained on values of 0..1, data set 'mine' has -2..2" in caplog.text


def test_slow_stages_take_the_first_samples_of_frames_in_time(tmp_path: Path) -> None:
    frames = Frames(RNG.integers(0, 3, (9, T, 1, 4, 4), np.uint8))
    y = np.arange(9) % 3
    data = Dataset(
        "events", frames, y, frames, y, Input("input", (1, 4, 4), Coding.GRADED, 0, 255), 3
    )
    config = LadderConfig(samples=8, reference_samples=3, lava_samples=0)
    rows = run_ladder(model(data.input), data, tmp_path, config).report.rows
    assert {row.stage: row.accuracy.n for row in rows}["scalar reference"] == 3
