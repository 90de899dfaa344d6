from __future__ import annotations

import itertools
from typing import Any

import nir
import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork, Semantics, check_graph
from spikeport.network import Coding, Input, Reset
from spikeport.runs import Run
from spikeport.simulators import run_float
from spikeport.simulators.float_nir import nodes

DT = 1e-3
F = np.float64


def network(
    nodes: dict[str, Any], edges: list[tuple[str, str]], steps: int = 6, **options: Any
) -> FloatNetwork:
    graph = check_graph(nodes, edges, DT).graph
    inputs = tuple(
        Input(n, tuple(node.input_type["input"]), Coding.GRADED, -(2**20), 2**20, 2.0**16)
        for n, node in graph.inputs.items()
    )
    return FloatNetwork(graph, DT, steps, inputs, Semantics(**options))


def chain(
    *nodes: Any, size: tuple[int, ...] = (1,), steps: int = 6, **options: Any
) -> FloatNetwork:
    names = ["input", *(f"n{i}" for i in range(len(nodes))), "output"]
    all_nodes = [nir.Input({"input": np.array(size)}), *nodes, nir.Output({"output": None})]
    edges = list(itertools.pairwise(names))
    return network(dict(zip(names, all_nodes, strict=True)), edges, steps, **options)


def full(value: float, size: int = 1) -> np.ndarray:
    return np.full(size, value, F)


def trace(net: FloatNetwork, x: np.ndarray, what: str = "v", name: str = "n0") -> np.ndarray:
    run = run_float(net, x, record=("spikes", "v", "v_charged"))
    assert run.trace is not None
    array: np.ndarray = getattr(run.trace, what)[name]
    return array.reshape(len(array), -1)


ONE = np.ones((1, 1))


def lif(
    tau: float = 2 * DT, r: float = 1, leak: float = 0, th: float = 1, reset: float = 0
) -> nir.LIF:
    return nir.LIF(full(tau), full(r), full(leak), full(th), full(reset))


def test_lif_by_hand() -> None:
    # k = 1/2, r = 2: v <- v/2 + I
    v = trace(chain(lif(r=2, th=1.6)), ONE, "v_charged")
    assert v.ravel().tolist() == [1, 1.5, 1.75, 1, 1.5, 1.75]
    assert trace(chain(lif(r=2, th=1.6)), ONE, "spikes").ravel().tolist() == [0, 0, 1, 0, 0, 1]


def test_leak_reset_and_subtraction() -> None:
    assert trace(chain(lif(leak=1, th=9)), 0 * ONE)[:3].ravel().tolist() == [0.5, 0.75, 0.875]
    hard = chain(lif(r=2, th=0.9, reset=-0.5))
    assert trace(hard, ONE)[:2].ravel().tolist() == [-0.5, 0.75]
    soft = chain(lif(r=2, th=0.75), reset=Reset.SUBTRACT)
    assert trace(soft, ONE)[:2].ravel().tolist() == [0.25, 0.375]


def test_comparison_at_the_threshold() -> None:
    at = lif(r=2, th=1)
    assert trace(chain(at), ONE, "spikes")[0] == 0
    assert trace(chain(at, strict=False), ONE, "spikes")[0] == 1


@pytest.mark.parametrize(("r", "gain"), [(1.0, 1.0), (1 / DT, 1.0), (3.0, 3.0 * DT)])
def test_integrator_gain(r: float, gain: float) -> None:
    v = trace(chain(nir.I(full(r))), ONE)
    np.testing.assert_allclose(v.ravel(), gain * np.arange(1, 7))
    spikes = trace(chain(nir.IF(full(r), full(2.5 * gain), full(0))), ONE, "spikes")
    assert spikes.ravel().tolist() == [0, 0, 1, 0, 0, 1]


def test_cuba_current_drives_v_in_the_same_step() -> None:
    node = nir.CubaLI(full(2 * DT), full(4 * DT), full(3), full(0), full(2))
    i = v = 0.0
    expected = []
    for _ in range(6):
        i += 0.5 * (2 * 1 - i)
        v += 0.25 * (3 * i - v)
        expected.append(v)
    np.testing.assert_allclose(trace(chain(node), ONE).ravel(), expected)
    spiking = nir.CubaLIF(*(full(x) for x in (2 * DT, 4 * DT, 3, 0, 99, 0, 2)))
    np.testing.assert_allclose(trace(chain(spiking), ONE).ravel(), expected)


def test_scores_by_kind_of_output() -> None:
    x = np.array([[2.0]])
    assert run_float(chain(nir.Linear(full(3).reshape(1, 1))), x).scores["output"] == 6
    assert run_float(chain(nir.LI(full(DT), full(1), full(0))), x).scores["output"] == 2
    assert run_float(chain(lif(tau=DT)), x).scores["output"].tolist() == [[6]]


def test_stateless_nodes() -> None:
    x = np.array([[1.0, -2.0, 3.0]])
    scaled = run_float(chain(nir.Scale(np.array([1.0, 2.0, 0.5])), size=(3,)), x)
    assert scaled.scores["output"].tolist() == [[1, -4, 1.5]]
    fired = run_float(chain(nir.Threshold(np.array([0.5, -3.0, 3.0])), size=(3,)), x)
    assert fired.scores["output"].tolist() == [[6, 6, 0]]
    delayed = run_float(chain(nir.Delay(np.array([0, 2 * DT, 9 * DT])), size=(3,)), x)
    np.testing.assert_allclose(delayed.scores["output"], [[1, -2 * 4 / 6, 0]])


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "kernel"),
    [(1, 0, 1, 3), (2, 3, 2, 2), (1, "same", 2, 4), (3, "valid", 1, 5)],
)
def test_convolution_along_one_axis_equals_torch(
    groups: int, stride: int, padding: Any, dilation: int, kernel: int
) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 11))
    weight, bias = rng.normal(size=(6, 4 // groups, kernel)), rng.normal(size=6)
    node = nir.Conv1d(None, weight, stride, padding, dilation, groups, bias)
    run = run_float(chain(node, size=(4, 11), steps=1), x)
    expected = torch.nn.functional.conv1d(
        *map(torch.from_numpy, (x, weight, bias)), stride, padding, dilation, groups
    )
    np.testing.assert_allclose(run.scores["output"], expected.flatten(1).numpy(), atol=1e-12)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "kernel"),
    [((1, 1), (0, 0), (1, 1), (3, 3)), ((2, 1), (1, 2), (1, 2), (3, 2)),
     ((1, 1), "same", (2, 1), (3, 4)), ((2, 3), "valid", (1, 1), (2, 5))],
)  # fmt: skip
def test_convolution_equals_torch(
    groups: int, stride: Any, padding: Any, dilation: Any, kernel: tuple[int, int]
) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 9, 8))
    weight, bias = rng.normal(size=(6, 4 // groups, *kernel)), rng.normal(size=6)
    node = nir.Conv2d(None, weight, stride, padding, dilation, groups, bias)
    run = run_float(chain(node, size=(4, 9, 8), steps=1), x)
    expected = torch.nn.functional.conv2d(
        *map(torch.from_numpy, (x, weight, bias)), stride, padding, dilation, groups
    )
    np.testing.assert_allclose(run.scores["output"], expected.flatten(1).numpy(), atol=1e-12)


@pytest.mark.parametrize("padding", [(0, 0), (1, 0)])
def test_pools_equal_torch(padding: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 6))
    sides = [np.array(side) for side in ((3, 2), (2, 2), padding)]
    mean = torch.nn.functional.avg_pool2d(torch.from_numpy(x), (3, 2), (2, 2), padding)
    for node, factor in ((nir.AvgPool2d(*sides), 1), (nir.SumPool2d(*sides), 6)):
        run = run_float(chain(node, size=(3, 7, 6), steps=1), x)
        np.testing.assert_allclose(run.scores["output"], factor * mean.flatten(1).numpy())


def test_edges_sum_and_order_is_topological() -> None:
    # names sort against the flow, and the skip path is shorter than the other
    nodes = {
        "z": nir.Input({"input": np.array([1])}),
        "y": nir.Linear(np.array([[2.0]])),
        "b": nir.Linear(np.array([[10.0]])),
        "a": nir.Output({"output": np.array([1])}),
    }
    run = run_float(network(nodes, [("z", "y"), ("y", "b"), ("z", "b"), ("b", "a")]), ONE)
    assert run.scores["a"] == 30


def recurrent(bias: float) -> FloatNetwork:
    nodes = {
        "input": nir.Input({"input": np.array([1])}),
        "if": nir.IF(full(1), full(0.5), full(0)),
        "w_rec": nir.Affine(np.array([[-1.0]]), full(bias)),
        "output": nir.Output({"output": np.array([1])}),
    }
    return network(nodes, [("input", "if"), ("if", "w_rec"), ("w_rec", "if"), ("if", "output")])


def test_recurrence_is_one_step_late_and_without_bias_at_first() -> None:
    assert trace(recurrent(0), ONE, "v_charged", "if").ravel().tolist() == [1, 0, 1, 0, 1, 0]
    with_bias = trace(recurrent(0.25), 0 * ONE, "v_charged", "if").ravel()
    assert with_bias.tolist() == [0, 0.25, 0.5, 0.75, -0.75, -0.5]


def test_a_delay_closes_a_loop_by_itself() -> None:
    nodes = {
        "input": nir.Input({"input": np.array([1])}),
        "n": nir.IF(full(1), full(0.5), full(0)),
        "d": nir.Delay(full(2 * DT)),
        "w": nir.Linear(np.array([[-1.0]])),
        "output": nir.Output({"output": np.array([1])}),
    }
    net = network(nodes, [("input", "n"), ("n", "d"), ("d", "w"), ("w", "n"), ("n", "output")])
    assert trace(net, ONE, "spikes", "n").ravel().tolist() == [1, 1, 0, 0, 1, 1]


def test_static_and_timed_samples_agree() -> None:
    net = chain(nir.Linear(np.array([[0.7]])), lif())
    x = np.random.default_rng(0).uniform(size=(5, 1)) * 3
    static: Run = run_float(net, x)
    timed = run_float(net, np.broadcast_to(x, (6, 5, 1)))
    assert np.array_equal(static.scores["output"], timed.scores["output"])
    assert static.scores["output"].any()


def test_watching_every_step_shows_what_a_trace_holds() -> None:
    steps: list[Run] = []
    net = chain(lif(), nir.Linear(ONE), lif(th=0.3), reset=Reset.SUBTRACT)
    run = run_float(net, ONE, record=("spikes", "v", "v_charged"), watch=steps.append)
    assert run.trace is not None
    assert [(step.steps, step.samples) for step in steps] == [(1, 1)] * net.steps
    traces = [step.trace for step in steps if step.trace is not None]
    for variable, recorded in run.trace.tables.items():
        for name, values in recorded.items():
            watched = np.concatenate([one.tables[variable][name] for one in traces])
            np.testing.assert_array_equal(watched, values)


def test_a_convolution_in_blocks_is_that_of_each_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    node = nir.Conv2d((5, 6), rng.normal(size=(4, 2, 3, 3)), 1, 1, 1, 2, np.ones(4))
    x = rng.normal(size=(7, 4, 5, 6))
    net = chain(node, size=(4, 5, 6), steps=1)
    whole = run_float(net, x).scores["output"]
    monkeypatch.setattr(nodes, "COLUMNS", 3 * 4 * 9 * 30)
    np.testing.assert_allclose(run_float(net, x).scores["output"], whole, rtol=1e-12)


def test_float32() -> None:
    run = run_float(chain(lif()), ONE, record=("v",), dtype=np.float32)
    assert run.trace is not None
    assert run.trace.v["n0"].dtype == np.float32


def test_bad_graphs_are_named() -> None:
    nodes = {
        "input": nir.Input({"input": np.array([1])}),
        "lif": lif(),
        "out": nir.Output({"output": None}),
    }
    with pytest.raises(InputError, match=r"node 'lif' \(LIF\) has no outgoing edge"):
        network(nodes, [("input", "lif"), ("input", "out")])
    with pytest.raises(InputError, match=r"edge .* is given 2 times"):
        network(nodes, [("input", "lif"), ("input", "lif"), ("lif", "out")])
    with pytest.raises(InputError, match=r"\(Affine\): expects shape \(2,\), received \(1,\)"):
        chain(nir.Affine(np.ones((1, 2)), np.ones(1)))
    with pytest.raises(InputError, match="bias has shape"):
        chain(nir.Affine(np.ones((1, 1)), np.ones(3)))
    mixed = network(nodes, [("input", "lif"), ("lif", "out"), ("input", "out")])
    with pytest.raises(InputError, match=r"Output.* sums .*mean.*spikes"):
        run_float(mixed, ONE)
    with pytest.raises(InputError, match="record: 'u' cannot be recorded"):
        run_float(chain(lif()), ONE, record=("u",))
    wide = {**nodes, "fc": nir.Linear(np.ones((2, 1)))}
    with pytest.raises(InputError, match="its inputs differ in shape"):
        network(wide, [("input", "lif"), ("input", "fc"), ("fc", "out"), ("lif", "out")])
