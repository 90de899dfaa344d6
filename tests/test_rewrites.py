"""Linear nodes between neurons become one connection on the chip, exactly and not silently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.shapes import output_shape
from spikeport.export.quantize.lower import lower
from spikeport.network import Conv2d, Dense, Reset, Shape, SumPool2d
from spikeport.simulators import run_float, run_native
from tests.helpers.lowered import run_lowered
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

Numbers = Callable[[tuple[int, ...]], Any]
STEPS = 5


def pool(kind: Any, size: int, stride: int | None = None, padding: int = 0) -> Any:
    return kind(*(np.array([n, n]) for n in (size, stride or size, padding)))


def flatten() -> Any:
    return nir.Flatten({"input": None}, 0, -1)


@st.composite
def linear_node(draw: st.DrawFn, shape: Shape, numbers: Numbers) -> Any:
    kinds = ["scale", "scales", "conv", "conv", "same", "sum", "mean", "flatten"]
    match draw(st.sampled_from(kinds if len(shape) == 3 else ["scales", "affine"])):
        case "affine":
            rows = draw(st.integers(1, 4))
            return affine(numbers((rows, *shape)), numbers((rows,)))
        case "scale":
            return nir.Scale(np.broadcast_to(numbers((shape[0], 1, 1)), shape).copy())
        case "scales":
            return nir.Scale(numbers(shape))
        case "flatten":
            return flatten()
        case "sum" | "mean" as kind:
            side = draw(st.integers(1, min(3, *shape[1:])))
            stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, 1))
            return pool(nir.SumPool2d if kind == "sum" else nir.AvgPool2d, side, stride, padding)
        case kind:
            groups = draw(st.sampled_from([g for g in (1, 2) if shape[0] % g == 0]))
            rows = groups * draw(st.integers(1, 2))
            size = tuple(draw(st.integers(1, min(3, n))) for n in shape[1:])
            geometry: dict[str, Any] = {"padding": "same"}
            if kind == "conv":
                geometry = {"padding": draw(st.integers(0, 2)), "stride": draw(st.integers(1, 2))}
            weight = numbers((rows, shape[0] // groups, *size))
            return conv(weight, numbers((rows,)), groups=groups, **geometry)


@st.composite
def layered(draw: st.DrawFn, numbers: Numbers, neurons: Callable[[Shape], Any]) -> FloatNetwork:
    """Input, up to three linear nodes, neurons, up to two, neurons."""
    shape: Shape = (
        draw(st.sampled_from([1, 2, 4])),
        draw(st.integers(2, 6)),
        draw(st.integers(2, 6)),
    )
    source = spikes_in(shape)
    nodes: dict[str, Any] = {}
    for name, most in (("a", 3), ("b", 2)):
        for place in range(draw(st.integers(1, most))):
            node = draw(linear_node(shape, numbers))
            nodes[f"{name}{place}"] = node
            shape = output_shape("node", node, shape)
        nodes[f"lif_{name}"] = neurons(shape)
    reset = draw(st.sampled_from(Reset))
    return chain(nodes, source, steps=STEPS, reset=reset, strict=True)


def seeded(seed: int) -> Numbers:
    rng = np.random.default_rng(seed)
    return lambda shape: rng.normal(size=shape)


def uneven(seed: int) -> Callable[[Shape], Any]:
    """LIF with its own threshold, resistance and leak for each neuron."""
    rng = np.random.default_rng(seed)

    def made(shape: Shape) -> Any:
        node = leaky(shape, 0.5)
        return nir.LIF(
            tau=node.tau,
            r=node.r * rng.uniform(0.5, 2, shape),
            v_leak=rng.normal(size=shape),
            v_threshold=rng.uniform(0.5, 2, shape),
        )

    return made


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data(), st.integers(0, 2**32 - 1), st.booleans())
def test_membranes_and_spikes_are_those_of_the_graph(
    data: st.DataObject, seed: int, each: bool
) -> None:
    neurons = uneven(seed) if each else (lambda shape: leaky(shape, 0.75))
    graph = data.draw(layered(seeded(seed), neurons))
    x = np.random.default_rng(seed).integers(0, 2, (3, *graph.inputs[0].shape)).astype(np.float64)
    wanted = run_float(graph, x, record=("spikes", "v_charged")).trace
    assert wanted is not None
    found = run_lowered(lower(graph), x)
    for name, (spikes, v) in found.items():
        traced = wanted.v_charged[name].reshape(v.shape)
        np.testing.assert_allclose(v, traced, rtol=0, atol=1e-9 * max(1, np.abs(traced).max()))
        np.testing.assert_array_equal(spikes, wanted.spikes[name].reshape(v.shape))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_whole_numbers_run_natively_to_the_same_spikes(data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)

    def thresholds(shape: Shape) -> Any:
        return nir.IF(r=np.ones(shape), v_threshold=2.0 ** rng.integers(1, 3, shape))

    def numbers(shape: tuple[int, ...]) -> Any:
        return rng.choice([-1.0, 0.0, 1.0, 2.0], shape)

    graph = data.draw(layered(numbers, thresholds))
    x = np.random.default_rng(seed).integers(0, 2, (4, *graph.inputs[0].shape)).astype(np.float64)
    assume(any(connection.weight.any() for connection in lower(graph).connections))
    try:
        made = quantized(graph, x)
    except InputError as error:
        assume("below one weight unit" not in str(error))
        raise
    assume(all(part.lossless for part in made.report.populations))
    wanted, found = (
        run_float(graph, x, record=("spikes",)),
        run_native(made.network, x.astype(np.int64), record=("spikes",)),
    )
    assert wanted.trace is not None
    assert found.trace is not None
    for name, spikes in found.trace.spikes.items():
        np.testing.assert_array_equal(spikes, wanted.trace.spikes[name].reshape(spikes.shape))


IMAGE = (2, 6, 6)


def ones(shape: Shape) -> Any:
    return integrate_and_fire(shape, 2.0)


CASES: dict[str, tuple[dict[str, Any], Shape, str]] = {
    "conv, mean": (
        {"conv": conv(np.ones((3, 2, 3, 3)), 0.5, padding=1), "pool": pool(nir.AvgPool2d, 2)},
        (3, 3, 3),
        "'conv' and 'pool' became one convolution of kernel 4x4, stride 2",
    ),
    "conv, sum of overlapping windows": (
        {"conv": conv(np.ones((3, 2, 3, 3))), "pool": pool(nir.SumPool2d, 2, 1)},
        (3, 3, 3),
        "'conv' and 'pool' became one convolution of kernel 4x4, stride 1",
    ),
    "overlapping windows alone": (
        {"pool": pool(nir.AvgPool2d, 3, 2)},
        (2, 2, 2),
        "'pool' became a convolution of kernel 3x3, stride 2",
    ),
    "overlapping windows, linear": (
        {"pool": pool(nir.AvgPool2d, 3, 2), "flat": flatten(), "fc": affine(np.ones((4, 8)))},
        (4,),
        "'pool' and 'fc' became one matrix of 4x72",
    ),
    "two pools": (
        {
            "one": pool(nir.AvgPool2d, 2),
            "two": pool(nir.AvgPool2d, 3),
            "conv": conv(np.ones((3, 2, 1, 1))),
        },
        (3, 1, 1),
        "'one' and 'two' became one sum-pool of kernel 6x6, stride 6",
    ),
    "linear, linear": (
        {"flat": flatten(), "a": affine(np.ones((3, 72)), 1.0), "b": affine(np.ones((4, 3)), 1.0)},
        (4,),
        "'a' and 'b' became one matrix of 4x72",
    ),
    "linear, mean of nothing": (
        {"flat": flatten(), "a": affine(np.ones((3, 72)), 1.0), "s": nir.Scale(np.arange(3.0))},
        (3,),
        "'a' and 's' became one matrix of 3x72",
    ),
    "conv, linear": (
        {
            "conv": conv(np.ones((3, 2, 3, 3)), 0.5),
            "flat": flatten(),
            "fc": affine(np.ones((4, 48)), 1.0),
        },
        (4,),
        "'conv' and 'fc' became one matrix of 4x72",
    ),
    "even 'same'": (
        {"conv": conv(np.ones((3, 2, 2, 2)), padding="same")},
        (3, 6, 6),
        "'conv' became a convolution of kernel 3x3, stride 1",
    ),
    "norm, padded conv": (
        {
            "norm": conv(np.full((2, 1, 1, 1), 0.5), 0.25, groups=2),
            "conv": conv(np.ones((3, 2, 3, 3)), padding=1),
        },
        (3, 6, 6),
        "'norm' and 'conv' became one convolution of kernel 3x3, stride 1",
    ),
    "padded conv, padded conv": (
        {
            "a": conv(np.ones((1, 2, 3, 3)), 0.5, padding=1),
            "b": conv(np.ones((1, 1, 3, 3)), padding=1),
        },
        (1, 6, 6),
        "'a' and 'b' became one matrix of 36x72, because zeros are padded between them",
    ),
    "conv, a factor for each neuron": (
        {"conv": conv(np.ones((1, 2, 3, 3))), "s": nir.Scale(np.arange(16.0).reshape(1, 4, 4))},
        (1, 4, 4),
        "'conv' and 's' became one matrix of 16x72, because factors differ between the positions "
        "of a channel",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_rewritten_is_said_and_equal(name: str) -> None:
    nodes, shape, sentence = CASES[name]
    graph = chain({**nodes, "if": ones(shape)}, spikes_in(IMAGE), steps=STEPS)
    lowered = lower(graph)
    assert lowered.rewrites == (sentence,)
    x = np.random.default_rng(0).integers(0, 2, (4, *IMAGE)).astype(np.float64)
    wanted = run_float(graph, x, record=("spikes", "v_charged")).trace
    assert wanted is not None
    spikes, v = run_lowered(lowered, x)["if"]
    np.testing.assert_allclose(v, wanted.v_charged["if"].reshape(v.shape), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(spikes, wanted.spikes["if"].reshape(v.shape))
    assert quantized(graph, x).report.rewrites == (sentence,)


@pytest.mark.parametrize(
    "nodes",
    [
        {"conv": conv(np.ones((3, 2, 3, 3)), padding=1)},
        {"pool": pool(nir.AvgPool2d, 2), "conv": conv(np.ones((3, 2, 3, 3)), padding=1)},
        {"pool": pool(nir.SumPool2d, 2), "flat": flatten(), "fc": affine(np.ones((3, 18)))},
        {"conv": conv(np.ones((3, 2, 3, 3)), padding="same")},
    ],
)
def test_what_the_chip_has_is_not_rewritten(nodes: dict[str, Any]) -> None:
    shape: Shape = IMAGE
    for node in nodes.values():
        shape = output_shape("node", node, shape)
    assert lower(chain({**nodes, "if": ones(shape)}, spikes_in(IMAGE))).rewrites == ()


def test_a_bias_before_padding_differs_by_position() -> None:
    """A batch norm in front of a padded convolution adds its shift only where it does not pad."""
    nodes = {
        "norm": conv(np.ones((1, 1, 1, 1)), 1.0),
        "conv": conv(np.ones((1, 1, 3, 3)), 0.5, padding=1),
        "if": ones((1, 3, 3)),
    }
    (part,) = lower(chain(nodes, spikes_in((1, 3, 3)))).populations
    np.testing.assert_array_equal(part.bias[0], 0.5 + np.array([[4, 6, 4], [6, 9, 6], [4, 6, 4]]))


def test_flattening_is_moved_behind_the_neurons() -> None:
    nodes = {
        "conv": conv(np.ones((3, 2, 3, 3))),
        "flat": flatten(),
        "if": ones((48,)),
        "fc": affine(np.ones((2, 48))),
    }
    graph = chain(nodes, spikes_in(IMAGE))
    lowered = lower(graph)
    assert lowered.rewrites == ()
    assert lowered.populations[0].shape == (3, 4, 4)
    made = quantized(graph, np.ones((3, *IMAGE))).network
    assert isinstance(made.connections[0], Conv2d)


def test_flattened_sums_of_different_features() -> None:
    """(2, 4, 4) and (8, 2, 2) have as many neurons; only one can stay a convolution."""
    graph = network(
        {
            "a": conv(np.ones((2, 2, 3, 3)), 1.0),
            "flat_a": flatten(),
            "b": conv(np.ones((8, 2, 3, 3)), 2.0, stride=2),
            "flat_b": flatten(),
            "if": ones((32,)),
        },
        [
            ("input", "a"),
            ("a", "flat_a"),
            ("flat_a", "if"),
            ("input", "b"),
            ("b", "flat_b"),
            ("flat_b", "if"),
            ("if", "output"),
        ],
        [spikes_in(IMAGE)],
    )
    lowered = lower(graph)
    assert lowered.rewrites == (
        "'b' became a matrix, because 'if' receives features of several shapes",
    )
    np.testing.assert_array_equal(lowered.populations[0].bias, 3.0)
    x = np.random.default_rng(0).integers(0, 2, (4, *IMAGE)).astype(np.float64)
    wanted = run_float(graph, x, record=("v_charged",)).trace
    assert wanted is not None
    np.testing.assert_allclose(run_lowered(lowered, x)["if"][1], wanted.v_charged["if"])
    (one, two) = quantized(graph, x).network.weighted_connections
    assert (type(one), type(two)) == (Conv2d, Dense)


def test_a_map_shared_by_sums_keeps_one_bias() -> None:
    """The bias of `c` counts once, those of `a` and `b` reach the neurons through it."""
    graph = network(
        {
            "a": affine([[1.0]], 1.0),
            "b": affine([[2.0]], 10.0),
            "c": affine([[3.0]], 100.0),
            "if": ones((1,)),
        },
        [("input", "a"), ("input", "b"), ("a", "c"), ("b", "c"), ("c", "if"), ("if", "output")],
        [spikes_in(1)],
    )
    lowered = lower(graph)
    assert sorted(float(c.weight[0, 0]) for c in lowered.connections) == [3, 6]
    np.testing.assert_array_equal(lowered.populations[0].bias, 3 + 30 + 100)
    assert lowered.rewrites == (
        "'a' and 'c' became one matrix of 1x1",
        "'b' and 'c' became one matrix of 1x1",
    )


@pytest.mark.parametrize("reset", Reset)
@pytest.mark.parametrize("strict", [False, True])
def test_thresholds_of_each_neuron_become_one(reset: Reset, strict: bool) -> None:
    """All on the grid, so that no spike differs on the chip, ties included."""
    thresholds = np.array([1.0, 2.0, 4.0])
    graph = chain(
        {"fc": affine(np.eye(3), 1.0), "if": nir.IF(r=np.ones(3), v_threshold=thresholds)},
        spikes_in(3),
        steps=9,
        reset=reset,
        strict=strict,
    )
    lowered = lower(graph)
    assert lowered.rewrites == (
        "the thresholds of 'if' became one, 4, by factors 1..4 in the weights and biases",
    )
    np.testing.assert_array_equal(lowered.connections[0].weight, np.diag([4.0, 2.0, 1.0]))
    x = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 1]])
    made = quantized(graph, x.astype(np.float64))
    assert all(part.lossless for part in made.report.populations)
    wanted = run_float(graph, x.astype(np.float64)).scores["output"]
    np.testing.assert_array_equal(run_native(made.network, x).scores["if"], wanted)
    assert len(set(wanted[1].tolist())) > 1


def test_thresholds_of_each_channel_keep_the_convolution() -> None:
    shape = (2, 4, 4)
    thresholds = np.broadcast_to(np.array([1.0, 3.0]).reshape(2, 1, 1), shape)
    nodes = {
        "conv": conv(np.ones((2, 2, 3, 3)), 1.5),
        "if": nir.IF(r=np.ones(shape), v_threshold=thresholds),
    }
    (connection,) = lower(chain(nodes, spikes_in(IMAGE))).connections
    np.testing.assert_allclose(connection.weight[:, 0, 0, 0], [3, 1])


def test_a_pool_in_front_stays_a_pool() -> None:
    nodes = {
        "pool": pool(nir.AvgPool2d, 2),
        "conv": conv(np.ones((1, 2, 2, 2))),
        "again": pool(nir.AvgPool2d, 2),
        "if": ones((1, 1, 1)),
    }
    lowered = lower(chain(nodes, spikes_in(IMAGE)))
    assert lowered.connections[0].pool == SumPool2d((2, 2), (2, 2))
    assert lowered.rewrites == (
        "'conv' and 'again' became one convolution of kernel 3x3, stride 2",
    )


def test_too_large_a_matrix_is_refused_by_name() -> None:
    wide = (1, 80, 80)
    nodes = {
        "a": conv(np.ones((1, 1, 3, 3)), padding=1),
        "b": conv(np.ones((1, 1, 3, 3)), padding=1),
        "if": ones(wide),
    }
    with pytest.raises(
        InputError, match="node 'b': zeros are padded between them; as one map they are a matrix of"
    ):
        lower(chain(nodes, spikes_in(wide)))
    odd = nir.IF(r=np.ones(wide), v_threshold=1 + np.arange(6400.0).reshape(wide))
    with pytest.raises(
        InputError, match=r"'a': factors differ .*; use one factor for each channel"
    ):
        lower(chain({"a": conv(np.ones((1, 1, 3, 3)), padding=1), "if": odd}, spikes_in(wide)))


@pytest.mark.parametrize("kind", [nir.LI, nir.CubaLI])
def test_readouts_that_leak_read_composed_maps(kind: Any) -> None:
    shape = (3,)
    fields = {"tau": 2 * DT} if kind is nir.LI else {"tau_mem": 2 * DT, "tau_syn": 2 * DT}
    readout = kind(
        **{name: np.full(shape, value) for name, value in fields.items()},
        r=np.ones(shape),
        v_leak=np.zeros(shape),
    )
    rng = np.random.default_rng(0)
    nodes = {
        "conv": conv(rng.normal(size=(1, 2, 3, 3))),
        "flat": flatten(),
        "fc": affine(rng.normal(size=(3, 16))),
        "li": readout,
    }
    graph = chain(nodes, spikes_in(IMAGE), steps=STEPS)
    x = rng.integers(0, 2, (4, *IMAGE)).astype(np.float64)
    wanted = run_float(graph, x).scores["output"]
    np.testing.assert_allclose(run_lowered(lower(graph), x)["li"][1][-1], wanted, atol=1e-12)


def test_ever_more_paths_are_refused_by_name() -> None:
    """Sums of sums: every stage doubles the number of paths."""
    nodes: dict[str, Any] = {"start": affine([[1.0]])}
    edges = [("input", "start")]
    last = ["start"]
    for stage in range(20):
        pair = [f"{side}{stage}" for side in "ab"]
        nodes |= {name: affine([[1.0]]) for name in pair}
        edges += [(source, name) for source in last for name in pair]
        last = pair
    nodes["if"] = ones((1,))
    edges += [(name, "if") for name in last] + [("if", "output")]
    with pytest.raises(InputError, match="node 'if': more than 1000 paths through linear nodes"):
        lower(network(nodes, edges, [spikes_in(1)]))
