"""Every NIR node: read, written, run in floats against its equation, and run on the chip.

The equations are those of NIR's documentation, in Euler steps, scalar by scalar.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from spikeport.export.nir import FloatNetwork, check_graph, read_nir_float
from spikeport.export.nir.fields import NODE_TYPES, kind
from spikeport.export.nir.graph import difference
from spikeport.network import Coding, Input
from spikeport.runs import encode_samples
from spikeport.simulators import run_float, run_native, run_reference
from spikeport.workflow import quantize, write_nir
from tests.helpers.run_comparison import RECORD, assert_same

DT, STEPS = 1e-3, 12
FLAT, IMAGE, SERIES = (5,), (2, 5, 6), (2, 9)
RNG = np.random.default_rng(0)
Formula = Callable[[Any, np.ndarray], Iterator[np.ndarray]]


def values(*shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    return RNG.uniform(low, high, shape)


def taus(*shape: int) -> np.ndarray:
    return values(*shape, low=1.5 * DT, high=8 * DT)


# Equations: (node, inputs of all steps (T, *shape)) -> outputs, step by step


def each(step: Callable[..., float]) -> Formula:
    """A formula for one element: step(state, node, index, x), with a dictionary as its state."""

    def formula(node: Any, x: np.ndarray) -> Iterator[np.ndarray]:
        states: dict[tuple[int, ...], dict[str, float]] = {}
        for now in x:
            out = np.zeros(now.shape)
            for index in np.ndindex(now.shape):
                out[index] = step(states.setdefault(index, {}), node, index, now[index])
            yield out

    return formula


def membrane(v: float, node: Any, i: tuple[int, ...], drive: float, tau: Any) -> float:
    """Tau dv/dt = v_leak - v + r drive."""
    return float(v + DT / tau[i] * (node.v_leak[i] - v + node.r[i] * drive))


def fired(state: dict[str, float], node: Any, i: tuple[int, ...]) -> float:
    """A spike if v > v_threshold, and then v = v_reset."""
    spike = state["v"] > node.v_threshold[i]
    if spike:
        state["v"] = float(node.v_reset[i])
    return float(spike)


def gain(node: Any, i: tuple[int, ...]) -> float:
    """Per step; r = 1 is 1 per step, as tools mean it (`integrator_gain`)."""
    return 1.0 if node.r[i] == 1 else float(node.r[i] * DT)


def i_step(state: dict[str, float], node: Any, i: tuple[int, ...], x: float) -> float:
    state["v"] = state.get("v", 0.0) + gain(node, i) * x
    return state["v"]


def if_step(state: dict[str, float], node: Any, i: tuple[int, ...], x: float) -> float:
    i_step(state, node, i, x)
    return fired(state, node, i)


def li_step(state: dict[str, float], node: Any, i: tuple[int, ...], x: float) -> float:
    state["v"] = membrane(state.get("v", 0.0), node, i, x, node.tau)
    return state["v"]


def lif_step(state: dict[str, float], node: Any, i: tuple[int, ...], x: float) -> float:
    li_step(state, node, i, x)
    return fired(state, node, i)


def cuba_step(state: dict[str, float], node: Any, i: tuple[int, ...], x: float) -> float:
    """tau_syn di/dt = -i + w_in x, of which the membrane receives the new value."""
    current = state.get("i", 0.0)
    state["i"] = float(current + DT / node.tau_syn[i] * (-current + node.w_in[i] * x))
    state["v"] = membrane(state.get("v", 0.0), node, i, state["i"], node.tau_mem)
    return state["v"]


def cubalif_step(state: dict[str, float], node: Any, i: tuple[int, ...], x: float) -> float:
    cuba_step(state, node, i, x)
    return fired(state, node, i)


def delay_step(state: dict[str, float], node: Any, i: tuple[int, ...], x: float) -> float:
    step = state["step"] = state.get("step", -1.0) + 1
    state[f"x{step:g}"] = x
    return state.get(f"x{step - round(node.delay[i] / DT):g}", 0.0)


def linear(node: Any, x: np.ndarray) -> Iterator[np.ndarray]:
    for now in x:
        out = np.zeros(len(node.weight))
        for o in range(len(out)):
            out[o] = sum(node.weight[o, k] * now[k] for k in range(len(now)))
            out[o] += node.bias[o] if isinstance(node, nir.Affine) else 0.0
        yield out


def sides(value: Any, axes: int) -> tuple[int, ...]:
    return tuple(int(n) for n in np.broadcast_to(value, (axes,)))


def borders(node: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """Zeros in front of each axis; of an odd `same` padding, the smaller half is in front."""
    if isinstance(node.padding, str):
        whole = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple(n // 2 if node.padding == "same" else 0 for n in whole)
    return sides(node.padding, len(kernel))


def convolution(node: Any, x: np.ndarray) -> Iterator[np.ndarray]:
    kernel = node.weight.shape[2:]
    axes, out_shape = len(kernel), node.output_type["output"]
    stride, dilation = sides(node.stride, axes), sides(node.dilation, axes)
    front = borders(node, kernel, dilation)
    each_in, each_out = node.weight.shape[1], len(node.weight) // node.groups
    for now in x:
        out = np.zeros(out_shape)
        for o, *at in np.ndindex(*out_shape):
            total = node.bias[o]
            for c, *k in np.ndindex(each_in, *kernel):
                place = tuple(a * s + j * d - f for a, s, j, d, f in zip(
                    at, stride, k, dilation, front, strict=True))  # fmt: skip
                if all(0 <= p < n for p, n in zip(place, now.shape[1:], strict=True)):
                    source = o // each_out * each_in + c
                    total += node.weight[(o, c, *k)] * now[(source, *place)]
            out[(o, *at)] = total
        yield out


def pool(node: Any, x: np.ndarray) -> Iterator[np.ndarray]:
    """Zeros of the padding count for the average."""
    kernel, stride, front = (sides(v, 2) for v in (node.kernel_size, node.stride, node.padding))
    for now in x:
        out = np.zeros(node.output_type["output"])
        for c, *at in np.ndindex(out.shape):
            for k in np.ndindex(*kernel):
                place = tuple(a * s + j - f for a, s, j, f in zip(
                    at, stride, k, front, strict=True))  # fmt: skip
                if all(0 <= p < n for p, n in zip(place, now.shape[1:], strict=True)):
                    out[(c, *at)] += now[(c, *place)]
        yield out / (kernel[0] * kernel[1] if isinstance(node, nir.AvgPool2d) else 1)


def flatten(node: Any, x: np.ndarray) -> Iterator[np.ndarray]:
    first, last = (d % (x.ndim - 1) for d in (node.start_dim, node.end_dim))
    shape = x.shape[1:]
    for now in x:
        merged = int(np.prod(shape[first : last + 1]))
        yield now.reshape(*shape[:first], merged, *shape[last + 1 :])


FORMULAS: dict[str, Formula] = {
    "Input": lambda node, x: iter(x),
    "Output": lambda node, x: iter(x),
    "Affine": linear,
    "Linear": linear,
    "Scale": each(lambda state, node, i, x: float(node.scale[i] * x)),
    "Conv1d": convolution,
    "Conv2d": convolution,
    "SumPool2d": pool,
    "AvgPool2d": pool,
    "Flatten": flatten,
    "Delay": each(delay_step),
    "Threshold": each(lambda state, node, i, x: float(x > node.threshold[i])),
    "I": each(i_step),
    "IF": each(if_step),
    "LI": each(li_step),
    "LIF": each(lif_step),
    "CubaLI": each(cuba_step),
    "CubaLIF": each(cubalif_step),
}


def conv(axes: int, groups: int, stride: int, padding: Any, dilation: int, kernel: int) -> Any:
    weight, shared = values(4, 2 // groups, *(kernel,) * axes), (dilation, groups, values(4))
    make = nir.Conv1d if axes == 1 else nir.Conv2d
    return make(None, weight, stride, padding, *shared)


def neuron(make: Any, *shape: int) -> Any:
    """With its own parameters in every neuron."""
    count = 2 if make in (nir.CubaLI, nir.CubaLIF) else int(make in (nir.LI, nir.LIF))
    names = [f for f in NODE_TYPES[make.__name__].fields if not f.startswith("tau")]
    drawn = {
        "r": values(*shape, low=0.5, high=2.0) * (1 if count else 1 / DT),
        "v_leak": values(*shape, low=-0.2, high=0.2),
        "w_in": values(*shape, low=0.5, high=2.0),
        "v_threshold": values(*shape, low=0.1, high=0.4),
        "v_reset": values(*shape, low=-0.3, high=0.05),
    }
    return make(*(taus(*shape) for _ in range(count)), **{name: drawn[name] for name in names})


CASES: dict[str, tuple[tuple[int, ...], Any]] = {
    "Input and Output": (FLAT, None),
    "Affine": (FLAT, nir.Affine(values(3, 5), values(3))),
    "Linear": (FLAT, nir.Linear(values(3, 5))),
    "Scale": (IMAGE, nir.Scale(values(*IMAGE))),
    "Conv1d": (SERIES, conv(1, 1, 2, 1, 2, 3)),
    "Conv1d, same": (SERIES, conv(1, 2, 1, "same", 1, 4)),
    "Conv2d": (IMAGE, conv(2, 1, 2, 1, 1, 3)),
    "Conv2d, groups": (IMAGE, conv(2, 2, 1, "valid", 2, 2)),
    "Conv2d, same": (IMAGE, conv(2, 1, 1, "same", 1, 2)),
    "SumPool2d": (IMAGE, nir.SumPool2d(np.array([2, 3]), np.array([1, 2]), np.array([1, 0]))),
    "AvgPool2d": (IMAGE, nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([1, 1]))),
    "Flatten": (IMAGE, nir.Flatten({"input": None}, 0, -1)),
    "Flatten, two axes": (IMAGE, nir.Flatten({"input": None}, 1, 2)),
    "Delay": (FLAT, nir.Delay(DT * np.arange(5.0))),
    "Threshold": (FLAT, nir.Threshold(values(5, low=-0.5, high=0.5))),
    "I": (FLAT, neuron(nir.I, 5)),
    "I, r = 1": (FLAT, nir.I(np.ones(5))),
    "IF": (IMAGE, neuron(nir.IF, *IMAGE)),
    "IF, r = 1": (FLAT, nir.IF(np.ones(5), values(5, low=0.5, high=3.0), np.zeros(5))),
    "LI": (FLAT, neuron(nir.LI, 5)),
    "LIF": (IMAGE, neuron(nir.LIF, *IMAGE)),
    "CubaLI": (FLAT, neuron(nir.CubaLI, 5)),
    "CubaLIF": (IMAGE, neuron(nir.CubaLIF, *IMAGE)),
}


def graph_of(shape: tuple[int, ...], *nodes: Any) -> nir.NIRGraph:
    given = [node for node in nodes if node is not None]
    names = ["input", *(f"n{k}" for k in range(len(given))), "output"]
    ends = nir.Input({"input": np.array(shape)}), nir.Output({"output": None})
    every = dict(zip(names, (ends[0], *given, ends[1]), strict=True))
    return check_graph(every, itertools.pairwise(names), DT).graph


def network_of(shape: tuple[int, ...], graph: nir.NIRGraph) -> FloatNetwork:
    return FloatNetwork(graph, DT, STEPS, (Input("input", shape, Coding.GRADED, -128, 128, 64.0),))


def samples(shape: tuple[int, ...], count: int = 1) -> np.ndarray:
    """Different in every step, multiples of 1/64."""
    return RNG.integers(-64, 129, (STEPS, count, *shape)) / 64


def test_every_node_type_is_here() -> None:
    tested = {kind(node) for _, node in CASES.values() if node is not None} | {"Input", "Output"}
    assert tested == NODE_TYPES.keys() == FORMULAS.keys()


@pytest.mark.parametrize("case", CASES)
def test_a_node_computes_its_equation(case: str) -> None:
    """An integrator behind it, which adds up all its outputs, makes every step count."""
    shape, node = CASES[case]
    graph = graph_of(shape, node)
    last = graph.nodes["n0"] if node is not None else graph.nodes["input"]
    made = tuple(last.output_type["output"])
    summed = "n1" if node is not None else "n0"
    network = network_of(shape, graph_of(shape, node, nir.I(np.ones(made))))
    x = samples(shape)
    run = run_float(network, x, record=("v",))
    assert run.trace is not None
    expected = np.array(list(FORMULAS[kind(last)](last, x[:, 0])))
    if kind(last) in ("IF", "LIF", "CubaLIF", "Threshold"):
        assert 0 < expected.mean() < 1
    np.testing.assert_allclose(
        run.trace.v[summed][:, 0], np.cumsum(expected, axis=0), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("case", CASES)
def test_a_node_is_read_from_a_file_of_nir_and_written_for_nir(case: str, tmp_path: Path) -> None:
    shape, node = CASES[case]
    network = network_of(shape, graph_of(shape, node))
    nir.write(tmp_path / "theirs.nir", network.graph)
    theirs = read_nir_float(
        tmp_path / "theirs.nir", dt_s=DT, steps=STEPS, inputs=network.inputs, isolate=False
    )
    assert difference(theirs.graph, network.graph) is None
    write_nir(network, tmp_path / "ours.nir")
    again = read_nir_float(tmp_path / "ours.nir", isolate=False)
    assert difference(again.graph, network.graph) is None
    nir.read(tmp_path / "ours.nir")
    x = samples(shape)
    for one in (theirs, again):
        for name, scores in run_float(one, x).scores.items():
            assert np.array_equal(scores, run_float(network, x).scores[name])


UNIFORM: dict[str, Any] = {
    "I": nir.I(np.full(5, 0.5 / DT)),
    "IF": nir.IF(np.full(5, 0.5 / DT), np.full(5, 0.6), np.zeros(5)),
    "LI": nir.LI(np.full(5, 4 * DT), np.ones(5), np.zeros(5)),
    "LIF": nir.LIF(np.full(5, 4 * DT), np.full(5, 2.0), np.zeros(5), np.full(5, 0.3), np.zeros(5)),
    "CubaLI": nir.CubaLI(np.full(5, 2 * DT), np.full(5, 4 * DT), np.ones(5), np.zeros(5)),
    "CubaLIF": nir.CubaLIF(
        np.full(5, 2 * DT), np.full(5, 4 * DT), np.full(5, 2.0), np.zeros(5), np.full(5, 0.2)
    ),
    "Delay": nir.Delay(np.full(5, 2 * DT)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_node_runs_on_the_chip(case: str) -> None:
    """In front of neurons, or as neurons; parameters are those that one population has."""
    shape, node = CASES[case]
    name = "Input" if node is None else kind(node)
    if name in UNIFORM:
        shape, node = FLAT, UNIFORM[name]
    graph = graph_of(shape, node)
    made = tuple(graph.nodes["output"].output_type["output"])
    if not NODE_TYPES[name].membrane:
        firing = [np.full(made, value) for value in (4 * DT, 2.0, 0.0, 0.3, 0.0)]
        graph = graph_of(shape, node, nir.LIF(*firing))
    network, x = network_of(shape, graph), samples(shape, 8)
    chip = quantize(network, x).network
    encoded = encode_samples(chip.inputs, chip.steps, x)
    native = run_native(chip, encoded, record=RECORD)
    reference = run_reference(chip, encoded, record=RECORD)
    assert_same(replace(native, backend="reference"), reference)
    floats = run_float(network, x)
    for part, counts in floats.spike_counts.items():
        total, found = int(counts.sum()), int(native.spike_counts[part].sum())
        assert total > 20
        assert abs(found - total) <= 0.1 * total


# Parameters of fewer values than the layer, and files of older versions


@pytest.mark.parametrize(
    ("given", "layer"), [((1,), FLAT), ((), FLAT), ((2, 1, 1), IMAGE), ((1, 1, 1), IMAGE)]
)
def test_fewer_parameters_are_shared_with_a_note(
    given: tuple[int, ...], layer: tuple[int, ...], tmp_path: Path
) -> None:
    write = write_lif(tmp_path / "few.nir", layer, values(*given, low=0.1, high=0.4))
    network = read_nir_float(write, dt_s=DT, steps=STEPS, isolate=False)
    assert network.graph.nodes["n0"].v_threshold.shape == layer
    assert network.provenance["assumed_parameters"] == f"'n0' from {given} to {layer}"
    whole = write_lif(tmp_path / "all.nir", layer, np.array(network.graph.nodes["n0"].v_threshold))
    assert (
        "assumed_parameters"
        not in read_nir_float(whole, dt_s=DT, steps=STEPS, isolate=False).provenance
    )


def write_lif(path: Path, layer: tuple[int, ...], threshold: np.ndarray) -> Path:
    """A file in the layout of NIR, in which the fields of a LIF have the shape of `threshold`."""
    ones = np.ones_like(threshold)
    fields = {"tau": 4 * DT * ones, "r": ones, "v_leak": 0 * ones, "v_threshold": threshold}
    with h5py.File(path, "w") as file:
        file["version"] = "0.2.0"
        root = file.create_group("node")
        root["type"] = "NIRGraph"
        root["edges"] = np.array([("input", "n0"), ("n0", "output")], dtype=h5py.string_dtype())
        for name, kind_of in (("input", "Input"), ("n0", "LIF"), ("output", "Output")):
            node = root.create_group(f"nodes/{name}")
            node["type"] = kind_of
            for field, value in (fields if name == "n0" else {"shape": np.array(layer)}).items():
                node[field] = value
    return path


@pytest.mark.parametrize("version", ["0.0.1", "0.1.1", "0.2.0", "1.0.1", "1.0.8", None])
def test_files_of_every_version_are_read(version: str | None, tmp_path: Path) -> None:
    """nir 1.0.4 and older versions have no v_reset."""
    path = write_lif(tmp_path / "old.nir", FLAT, values(5, low=0.1, high=0.4))
    with h5py.File(path, "a") as file:
        del file["version"]
        if version is not None:
            file["version"] = version
    network = read_nir_float(path, dt_s=DT, steps=STEPS, isolate=False)
    assert not network.graph.nodes["n0"].v_reset.any()
