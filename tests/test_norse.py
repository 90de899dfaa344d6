from __future__ import annotations

import itertools
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.backends.norse import norse_status, run_norse
from spikeport.backends.norse.description import NORSE
from spikeport.backends.norse.nodes import ENDS, SUPPORTED
from spikeport.errors import BackendUnavailableError, InputError
from spikeport.export.nir import PRESETS, READERS, FloatNetwork, Semantics, check_graph, read_nir
from spikeport.network import (
    Coding,
    Input,
    LIFLayer,
    LinearLayer,
    Reset,
    TrainedModel,
)
from spikeport.simulators import run_float
from spikeport.simulators.ties import compare_float
from spikeport.workflow import export_float, write_nir
from tests.helpers.float_models import conv_model, series_model

pytestmark = pytest.mark.skipif(norse_status()[0] is None, reason=norse_status()[1] or "present")

DT = 1e-4


def mlp_model(reset: Reset, seed: int, steps: int) -> TrainedModel:
    rng = np.random.default_rng(seed)
    sizes = (12, 20, 15, 7)
    layers: list[Any] = []
    source = "pixels"
    for index, (a, b) in enumerate(itertools.pairwise(sizes)):
        weight = rng.normal(size=(b, a)) / np.sqrt(a) * 2
        layers.append(LinearLayer(f"fc{index}", (source,), weight, rng.normal(size=b) / 4))
        source = f"lif{index}"
        layers.append(LIFLayer(source, (f"fc{index}",), rng.uniform(0.1, 0.95), 1.0, reset))
    return TrainedModel(Input("pixels", (12,)), tuple(layers), source, steps)


def assert_same(network: FloatNetwork, x: np.ndarray) -> None:
    ours = run_float(network, x, record=("spikes", "v", "v_charged"))
    theirs = run_norse(network, x, record=("spikes", "v"))
    found = compare_float(ours, theirs, network)
    assert not any(found.differing.values())
    assert all(count.any() for count in ours.spike_counts.values())
    assert ours.trace is not None
    assert theirs.trace is not None
    for name, v in theirs.trace.v.items():
        np.testing.assert_allclose(v, ours.trace.v[name], rtol=1e-9, atol=1e-9)
    for name, scores in theirs.scores.items():
        np.testing.assert_allclose(scores, ours.scores[name], rtol=1e-9, atol=1e-9)
        assert scores.dtype == ours.scores[name].dtype


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_mlp_file_fires_alike(reset: Reset, strict: bool, seed: int, tmp_path: Path) -> None:
    write_nir(export_float(mlp_model(reset, seed, 50)), tmp_path / "a.nir")
    network = read_nir(tmp_path / "a.nir", strict=strict)
    assert isinstance(network, FloatNetwork)
    x = (np.random.default_rng(seed).uniform(size=(50, 9, 12)) < 0.4).astype(float)
    assert_same(network, x)


@pytest.mark.parametrize(
    ("reset", "decay"), [(Reset.ZERO, 0.2), (Reset.SUBTRACT, 0.2), (Reset.ZERO, 1.0)]
)
def test_conv_file_fires_alike(reset: Reset, decay: float, tmp_path: Path) -> None:
    model = replace(conv_model(reset, decay), steps=20)
    write_nir(export_float(model), tmp_path / "a.nir")
    network = read_nir(tmp_path / "a.nir", isolate=False)
    assert isinstance(network, FloatNetwork)
    assert_same(network, np.random.default_rng(2).uniform(size=(11, 1, 8, 8)))


@pytest.mark.parametrize("reset", Reset)
def test_conv1d_file_fires_alike(reset: Reset, tmp_path: Path) -> None:
    """Norse drops Conv1d; here it is one along the rows of a Conv2d."""
    write_nir(export_float(replace(series_model(reset), steps=20)), tmp_path / "a.nir")
    network = read_nir(tmp_path / "a.nir", isolate=False)
    assert isinstance(network, FloatNetwork)
    x = np.random.default_rng(2).uniform(size=(20, 11, 2, 9))
    assert_same(network, x)
    assert_same(network, x[0])


@pytest.mark.parametrize("ends", [(0, 0), (1, 1), (0, 1), (1, -1), (-2, -1)])
def test_flatten_of_a_series_keeps_its_axes(ends: tuple[int, int]) -> None:
    spiking = nir.IF(np.ones((2, 3)), np.full((2, 3), 0.5))
    nodes = {
        "input": nir.Input({"input": np.array([2, 3])}),
        "n": spiking,
        "flat": nir.Flatten({"input": None}, *ends),
        "out": nir.Output({"output": None}),
    }
    network = graph(nodes, [("input", "n"), ("n", "flat"), ("flat", "out")])
    assert_same(network, np.random.default_rng(4).uniform(size=(30, 5, 2, 3)))


def graph(nodes: dict[str, Any], edges: list[tuple[str, str]], **options: Any) -> FloatNetwork:
    made = check_graph(nodes, edges, DT).graph
    inputs = tuple(
        Input(n, tuple(node.input_type["input"]), Coding.GRADED, -(2**18), 2**18, 2.0**16)
        for n, node in made.inputs.items()
    )
    return FloatNetwork(made, DT, 30, inputs, Semantics(**options))


def full(value: float, size: int = 4) -> np.ndarray:
    return np.full(size, value)


def recurrent_cuba(bias: float, **options: Any) -> FloatNetwork:
    rng = np.random.default_rng(0)
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "fc": nir.Affine(rng.normal(size=(4, 3)), rng.normal(size=4)),
        "graph": nir.CubaLIF(
            full(3 * DT), full(5 * DT), full(1.7), full(0), full(0.4), full(0), full(2.5)
        ),
        "w_rec": nir.Affine(rng.normal(size=(4, 4)), full(bias)),
        "lambda": nir.Output({"output": np.array([4])}),
    }
    edges = [("input", "fc"), ("fc", "graph"), ("graph", "w_rec"), ("w_rec", "graph")]
    return graph(nodes, [*edges, ("graph", "lambda")], **options)


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("bias", [0, 0.8])
def test_recurrent_current_based_neurons_fire_alike(bias: float, reset: Reset) -> None:
    x = np.random.default_rng(3).normal(size=(30, 5, 3))
    assert_same(recurrent_cuba(bias, reset=reset), x)


def feed_forward(node: Any, shape: tuple[int, ...] = (4,), **options: Any) -> FloatNetwork:
    nodes = {
        "input": nir.Input({"input": np.array(shape)}),
        "n": node,
        "out": nir.Output({"output": None}),
    }
    return graph(nodes, [("input", "n"), ("n", "out")], **options)


def lif(r: float = 1, leak: float = 0, reset: float = 0) -> nir.LIF:
    return nir.LIF(full(2 * DT), full(r), full(leak), full(1), full(reset))


SIDES = [np.array([2, 2])] * 2


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (feed_forward(lif(r=2)), r"node 'n' \(LIF\): r is not 1, which Norse ignores"),
        (feed_forward(lif(leak=1)), r"node 'n' \(LIF\): v_leak is not 0"),
        (feed_forward(lif(reset=1)), r"node 'n' \(LIF\): v_reset is not 0"),
        (feed_forward(nir.LI(full(DT), full(1), full(0))), r"node 'n' \(LI\): Norse drops"),
        (feed_forward(nir.Scale(full(1))), r"node 'n' \(Scale\): Norse drops"),
        (
            feed_forward(nir.IF(full(1), full(1), full(0)), reset=Reset.SUBTRACT),
            r"node 'n' \(IF\): Norse's IF can only reset to zero",
        ),
        (feed_forward(nir.AvgPool2d(*SIDES, np.array([0, 0])), (1, 4, 4)), "AvgPool2d.* drops"),
        (feed_forward(nir.SumPool2d(*SIDES, np.array([1, 0])), (1, 4, 4)), "has padding"),
    ],
)
def test_what_norse_would_change_is_refused(network: FloatNetwork, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_norse(network, np.zeros((1, *network.inputs[0].shape)))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**20), st.sampled_from(["LIF", "IF"]), st.booleans())
def test_the_preset_is_what_norse_does(seed: int, kind: str, strict: bool) -> None:
    """It ignores r, and a membrane starts at v_leak."""
    rng = np.random.default_rng(seed)
    threshold, r = rng.uniform(0.2, 0.5, 4), rng.uniform(0.5, 3, 4)
    node: Any = nir.IF(r, threshold)
    if kind == "LIF":
        leak = rng.uniform(-0.3, 0.15, 4)
        node = nir.LIF(DT * rng.uniform(1.5, 9, 4), r, leak, threshold)
    rules: dict[str, Any] = PRESETS["norse"].changed(strict=strict).as_dict()
    assert_same(feed_forward(node, **rules), rng.uniform(-1, 4, (30, 5, 4)))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"discretization": "exponential"}, "discretization is exponential, Norse has only euler"),
        ({"multiple_spikes": True}, "multiple_spikes is True, Norse has only False"),
        ({"loop_bias": True}, "loop_bias is True, Norse has only False"),
        ({"input_gain": "unit"}, "input_gain is unit, Norse scales inputs by dt / tau"),
    ],
)
def test_rules_that_norse_does_not_have_are_refused(rules: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_norse(feed_forward(lif(), **rules), np.zeros((1, 4)))


def norse_alone(network: FloatNetwork, x: np.ndarray) -> Any:
    """Output of Norse's own import of a graph in each step, (T, B, ...); x (B, *shape) in each."""
    import norse.torch
    import torch
    from norse.torch.functional.reset import reset_subtract, reset_value

    method = reset_subtract if network.semantics.reset is Reset.SUBTRACT else reset_value
    steps: list[Any] = []
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of its own, and that arrays are read-only
        module = norse.torch.from_nir(network.graph, reset_method=method, dt=network.dt_s)
        state = None
        for _ in range(network.steps):
            out, state = module(torch.tensor(x, dtype=torch.float32), state)
            steps.append(out.numpy())
    return np.array(steps)


def spikes(network: FloatNetwork, x: Any) -> Any:
    """Spikes of node 'n' in each step by the definition of NIR."""
    trace = run_float(network, x, record=("spikes",)).trace
    assert trace is not None
    return trace.spikes["n"]


def cuba(leak: float = 0, reset: float = 0) -> nir.CubaLIF:
    return nir.CubaLIF(
        full(3 * DT), full(5 * DT), full(1), full(leak), full(1), full(reset), full(1)
    )


@pytest.mark.parametrize(
    ("refused", "kept", "drive"),
    [
        (feed_forward(lif(r=2)), feed_forward(lif()), 1.2),
        (feed_forward(nir.IF(full(2), full(1), full(0))),
         feed_forward(nir.IF(full(1), full(1), full(0))), 0.3),
        (feed_forward(nir.IF(full(1), full(1), full(0.4))),
         feed_forward(nir.IF(full(1), full(1), full(0))), 0.3),
        (feed_forward(nir.IF(full(1), full(1), full(0)), reset=Reset.SUBTRACT),
         feed_forward(nir.IF(full(1), full(1), full(0)), reset=Reset.ZERO), 0.7),
        (feed_forward(lif(reset=0.5)), feed_forward(lif()), 1.2),
        (feed_forward(cuba(reset=0.5)), feed_forward(cuba()), 1.2),
        (feed_forward(lif(leak=0.5)), None, 0.7),
        (feed_forward(cuba(leak=0.5)), None, 0.7),
    ],
)  # fmt: skip
def test_norse_alone_runs_other_neurons_than_those_that_are_refused(
    refused: FloatNetwork, kept: FloatNetwork | None, drive: float
) -> None:
    x = np.full((1, 4), drive)
    with pytest.raises(InputError, match="node 'n'"):
        run_norse(refused, x)
    theirs = norse_alone(refused, x)
    assert not np.array_equal(theirs, spikes(refused, x))
    if kept is not None:  # which is the network that Norse runs
        np.testing.assert_array_equal(theirs, spikes(kept, x))


def test_norse_alone_ignores_the_padding_of_a_sum_pool() -> None:
    x = np.random.default_rng(0).normal(size=(2, 1, 4, 4))
    padded, plain = (
        feed_forward(nir.SumPool2d(*SIDES, np.array(padding)), (1, 4, 4))
        for padding in ((1, 0), (0, 0))
    )
    with pytest.raises(InputError, match="has padding, which Norse ignores"):
        run_norse(padded, x)
    theirs = norse_alone(padded, x)
    assert theirs.shape[2:] != tuple(padded.graph.nodes["n"].output_type["output"])
    np.testing.assert_array_equal(theirs, norse_alone(plain, x))
    scores = theirs.mean(0).reshape(2, -1)
    np.testing.assert_allclose(scores, run_float(plain, x).scores["out"], rtol=1e-5)


def test_norse_alone_takes_one_input() -> None:
    nodes = {
        "a": nir.Input({"input": np.array([4])}),
        "b": nir.Input({"input": np.array([4])}),
        "fa": nir.Linear(np.eye(4)),
        "fb": nir.Linear(np.eye(4)),
        "n": nir.IF(full(1), full(1), full(0)),
        "out": nir.Output({"output": np.array([4])}),
    }
    edges = [("a", "fa"), ("b", "fb"), ("fa", "n"), ("fb", "n"), ("n", "out")]
    network, x = graph(nodes, edges), np.full((1, 4), 0.3)
    with pytest.raises(InputError, match="has 2 Input nodes, Norse supports only one"):
        run_norse(network, {"a": x, "b": x})
    both, one = (spikes(network, {"a": x, "b": second}) for second in (x, 0 * x))
    theirs = norse_alone(network, x)
    np.testing.assert_array_equal(theirs, one)
    assert not np.array_equal(theirs, both)


@pytest.mark.parametrize("affine", [False, True])
def test_norse_alone_fails_at_weights_of_three_axes(affine: bool) -> None:
    weight = np.ones((2, 3, 4))
    node = nir.Affine(weight, np.ones((2, 3))) if affine else nir.Linear(weight)
    network, x = feed_forward(node, (2, 4)), np.ones((1, 2, 4))
    with pytest.raises(InputError, match="weight has 3 axes, Norse supports 2"):
        run_norse(network, x)
    with pytest.raises(RuntimeError):
        norse_alone(network, x)


def test_norse_alone_drops_the_neurons_after_two_branches() -> None:
    network, x = branching(), np.full((1, 4), 0.7)
    np.testing.assert_allclose(norse_alone(network, x), np.full((30, 1, 4), 0.7), rtol=1e-6)
    assert spikes(network, x).any()


@pytest.mark.parametrize("node", [nir.LI(full(DT), full(1), full(0)), nir.Scale(full(3))])
def test_norse_alone_drops_nodes_that_it_does_not_know(node: Any) -> None:
    nodes = {
        "input": nir.Input({"input": np.array([4])}),
        "a": nir.Linear(np.eye(4)),
        "n": node,
        "b": nir.Linear(np.eye(4)),
        "out": nir.Output({"output": np.array([4])}),
    }
    edges = [("input", "a"), ("a", "n"), ("n", "b"), ("b", "out")]
    x = np.full((1, 4), 0.7)
    assert norse_alone(graph(nodes, edges), x) == pytest.approx(np.full((30, 1, 4), 0.7))


def test_every_refusal_is_a_stated_limitation() -> None:
    text = "\n".join(one.text for one in NORSE.limitations)
    for stated in (
        *(
            "two branches",
            "several inputs",
            "IF and LIF with r other than 1",
            "reset by subtraction",
        ),
        *(
            "rules of a step",
            "v_leak or v_reset",
            "SumPool2d with padding",
            "more than two axes",
            "nodes other than",
        ),
    ):
        assert stated in text


def test_a_membrane_at_the_threshold_fires_where_the_comparison_says_so() -> None:
    node = nir.IF(full(1), full(1), full(0))
    for strict, spikes in ((True, 0), (False, 30)):
        network = feed_forward(node, strict=strict)
        x = np.ones((1, 4)) if not strict else np.r_[[np.full((1, 4), 1.0)], np.zeros((29, 1, 4))]
        ours, theirs = run_float(network, x), run_norse(network, x)
        assert ours.spike_counts["n"].tolist() == [spikes] * 4
        assert theirs.spike_counts["n"].tolist() == [spikes] * 4


def branching() -> FloatNetwork:
    nodes = {
        "input": nir.Input({"input": np.array([4])}),
        "a": nir.Linear(np.eye(4)),
        "b": nir.Linear(np.eye(4)),
        "n": lif(),
        "out": nir.Output({"output": np.array([4])}),
    }
    edges = [("input", "a"), ("input", "b"), ("a", "n"), ("b", "n"), ("n", "out")]
    return graph(nodes, edges)


def test_skip_paths_run() -> None:
    nodes = {
        "input": nir.Input({"input": np.array([4])}),
        "first": lif(),
        "map": nir.Linear(3 * np.eye(4)),
        "a_join": nir.Linear(3 * np.eye(4)[::-1]),
        "n": lif(),
        "out": nir.Output({"output": np.array([4])}),
    }
    edges = [("input", "first"), ("first", "map"), ("map", "a_join"), ("first", "a_join")]
    network = graph(nodes, [*edges, ("a_join", "n"), ("n", "out")])
    assert_same(network, np.random.default_rng(0).uniform(1, 3, size=(5, 4)))


def test_types_run_here_are_those_of_the_table_of_readers() -> None:
    """Conv1d runs here along the rows of a Conv2d; the rest is rewritten in files only."""
    table = READERS["norse"].rules.keys()
    assert {*ENDS, *SUPPORTED} - {"Conv1d"} == table - {"AvgPool2d", "Scale"}


def test_branches_with_maps_are_refused() -> None:
    with pytest.raises(InputError, match="Norse would run the graph in a different order"):
        run_norse(branching(), np.ones((1, 4)))


def test_record_and_samples_are_checked() -> None:
    with pytest.raises(InputError, match="record: 'u' cannot be recorded in norse"):
        run_norse(feed_forward(lif()), np.ones((1, 4)), record=("u",))
    with pytest.raises(InputError, match="contains NaN"):
        run_norse(feed_forward(lif()), np.full((1, 4), np.nan))


def test_a_missing_norse_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert norse_status() == (None, "torch is not installed", "pip install '.[norse]'")
    with pytest.raises(BackendUnavailableError, match="norse: torch is not installed; pip"):
        run_norse(feed_forward(lif()), np.ones((1, 4)))


SHARED = os.environ.get("SPIKEPORT_DATA")


@pytest.mark.data
@pytest.mark.skipif(SHARED is None, reason="SPIKEPORT_DATA names no data folder")
@pytest.mark.parametrize("file", ["03_rnn/braille_noDelay_bias_zero", "01_lif/lif_norse"])
def test_published_graphs_fire_alike(file: str) -> None:
    path = Path(str(SHARED)) / f"nir/neuromorphs-NIR/paper/{file}.nir"
    network = read_nir(path, dt_s=DT, steps=64)
    assert isinstance(network, FloatNetwork)
    size = network.inputs[0].shape[0]
    x = (np.random.default_rng(0).uniform(size=(64, 4, size)) < 0.3).astype(float)
    assert_same(network, x)
