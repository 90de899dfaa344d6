"""Layers that a chip has only as several populations, and what else of a graph it has otherwise.

Lowered numbers, run in real arithmetic, fire as the float graph in every step.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import nir
import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork, Semantics
from spikeport.export.nir.semantics import Discretization, InputGain, StartValue, SynapseOrder
from spikeport.export.quantize.lower import lower
from spikeport.export.quantize.lowered import LoweredNetwork, Role
from spikeport.network import Coding, Input, ReadoutKind, Reset
from spikeport.simulators import run_float
from tests.helpers.lowered import run_lowered
from tests.helpers.quantize_networks import (
    DT,
    affine,
    conv,
    network,
)

STEPS = 12
RULES = st.builds(
    Semantics,
    discretization=st.sampled_from(Discretization),
    input_gain=st.sampled_from(InputGain),
    synapse_order=st.sampled_from(SynapseOrder),
    reset=st.sampled_from(Reset),
    strict=st.booleans(),
    start=st.sampled_from(StartValue),
    loop_delay=st.sampled_from([1, 1, 2]),
    loop_bias=st.booleans(),
)


def graded(shape: tuple[int, ...]) -> Input:
    return Input("input", shape, Coding.GRADED, -(2**20), 2**20, 2.0**16)


def few(rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float, how: str) -> Any:
    """Random parameters: one for all, one per channel, or one per neuron, of three values."""
    values = rng.uniform(low, high, 3)
    match how:
        case "all":
            return np.full(shape, values[0])
        case "channels":
            each = rng.choice(values, shape[:1])
            return np.broadcast_to(each.reshape(-1, *(1,) * (len(shape) - 1)), shape).copy()
    return rng.choice(values, shape)


def neuron(kind: str, how: str, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    def own(low: float, high: float) -> Any:
        return few(rng, shape, low, high, how)

    v = {"v_threshold": own(0.3, 1), "v_reset": own(-0.3, 0.2)}
    leak = own(-0.3, 0.3)
    match kind:
        case "Threshold":
            return nir.Threshold(own(-0.2, 1))
        case "IF":
            return nir.IF(r=own(0.5, 2) / DT, **v)
        case "I":
            return nir.I(r=own(0.5, 2) / DT)
        case "LI":
            return nir.LI(tau=own(2 * DT, 6 * DT), r=own(1, 4), v_leak=leak)
        case "LIF":
            return nir.LIF(tau=own(2 * DT, 6 * DT), r=own(1, 4), v_leak=leak, **v)
    times = {"tau_syn": own(2 * DT, 6 * DT), "tau_mem": own(2 * DT, 6 * DT)}
    rest = {"r": own(1, 4), "v_leak": leak, "w_in": own(1, 4)}
    return nir.CubaLI(**times, **rest) if kind == "CubaLI" else nir.CubaLIF(**times, **rest, **v)


def delay(how: str, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    return nir.Delay(DT * np.rint(few(rng, shape, 0, 3, how)))


HOW = st.sampled_from(["all", "channels", "neurons"])
KINDS = st.sampled_from(["IF", "LIF", "CubaLIF", "Threshold"])


@st.composite
def dense_networks(draw: st.DrawFn) -> FloatNetwork:
    """Two layers, maybe with loops, delays, a shortcut, and integrators or spikes as readout."""
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    rules = draw(RULES)
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    last, size = "input", 3
    for layer in "ab":
        width = draw(st.integers(2, 5))
        nodes[layer] = neuron(draw(KINDS), draw(HOW), (width,), rng)
        before, after = draw(st.booleans()), draw(st.booleans())
        filtered = isinstance(nodes[layer], nir.CubaLIF)  # else a bias behind a delay acts early
        bias = rng.normal(size=width) * (filtered or not after)
        path = [last, f"{layer}_fc", layer]
        nodes[f"{layer}_fc"] = affine(rng.normal(0.3, 1, (width, size)), bias)
        if before:
            nodes[f"{layer}_before"] = delay(draw(HOW), (size,), rng)
            path.insert(1, f"{layer}_before")
        if after:
            nodes[f"{layer}_after"] = delay(draw(HOW), (width,), rng)
            path.insert(-1, f"{layer}_after")
        edges += itertools.pairwise(path)
        if draw(st.booleans()):
            bias = rng.normal(size=width) * (filtered or rules.loop_bias)
            nodes[f"{layer}_loop"] = affine(rng.normal(size=(width, width)), bias)
            edges += [(layer, f"{layer}_loop"), (f"{layer}_loop", layer)]
        if layer == "b" and draw(st.booleans()):
            nodes["skip"] = affine(rng.normal(size=(width, 3)), 0.5)
            edges += [("input", "skip"), ("skip", "b")]
        last, size = layer, width
    end = draw(st.sampled_from(["spikes", "map", "I", "LI", "CubaLI"]))
    if end != "spikes":
        nodes["end_fc"] = affine(rng.normal(size=(4, size)), rng.normal(size=4))
        edges.append((last, "end_fc"))
        last = "end_fc"
    if end not in ("spikes", "map"):
        nodes["end"] = neuron(end, "all", (4,), rng)
        edges.append((last, "end"))
        last = "end"
    edges.append((last, "output"))
    made = network(nodes, edges, [graded((3,))], steps=STEPS)
    return replace(made, semantics=rules)


@st.composite
def spatial_networks(draw: st.DrawFn) -> FloatNetwork:
    """Convolutions, groups, pools, sums of spikes and of currents, with decays of any kind."""
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    channels, groups = 4, draw(st.sampled_from([1, 2, 4]))
    shape: tuple[int, ...] = (channels, 4, 4)
    nodes: dict[str, Any] = {
        "conv": conv(rng.normal(0.2, 1, (channels, 2, 3, 3)), rng.normal(size=channels), padding=1),
        "a": neuron(draw(KINDS), draw(HOW), shape, rng),
        "next": conv(
            rng.normal(size=(channels, channels // groups, 3, 3)), 0.2, padding=1, groups=groups
        ),
        "b": neuron(draw(KINDS), draw(HOW), shape, rng),
    }
    edges = [("input", "conv"), ("conv", "a"), ("a", "next"), ("next", "b")]
    if draw(st.booleans()):
        edges.append(("a", "b"))  # a sum of currents
    sources = ["b", "a"] if draw(st.booleans()) else ["b"]  # a sum of spikes
    side = 4
    if draw(st.booleans()):
        pool = draw(st.sampled_from([nir.SumPool2d, nir.AvgPool2d]))
        nodes["pool"] = pool(*(np.array([n, n]) for n in (2, 2, 0)))
        edges += [(source, "pool") for source in sources]
        sources, side = ["pool"], 2
    if draw(st.booleans()):
        nodes["last"] = conv(rng.normal(size=(2, channels, 2, 2)))
        shape = (2, side - 1, side - 1)
    else:
        nodes["flat"] = nir.Flatten({"input": None}, 0, -1)
        edges += [(source, "flat") for source in sources]
        sources, shape = ["flat"], (5,)
        nodes["last"] = affine(rng.normal(size=(5, channels * side * side)))
    edges += [(source, "last") for source in sources]
    nodes["c"] = neuron(draw(KINDS), draw(HOW), shape, rng)
    edges += [("last", "c"), ("c", "output")]
    made = network(nodes, edges, [graded((2, 4, 4))], steps=6)
    return replace(made, semantics=draw(RULES))


def fires_as_the_graph(graph: FloatNetwork, x: NDArray[np.float64]) -> LoweredNetwork:
    """Compare all spikes, all membranes before resets and the scores of the two."""
    lowered = lower(graph)
    assert not lowered.notes
    found = run_lowered(lowered, x)
    wanted = run_float(graph, x, record=("spikes", "v", "v_charged"))
    assert wanted.trace is not None
    sizes: dict[str, int] = {}
    for part in lowered.populations:
        spikes, charged = found[part.name]
        if part.role is Role.CONSTANT:
            assert spikes.all()
            continue
        if part.node not in {**wanted.trace.v, **wanted.trace.v_charged}:
            continue  # an integrator that is implicit in the graph
        index = slice(None) if part.index is None else part.index
        sizes[part.node] = sizes.get(part.node, 0) + part.size * (part.role is Role.NEURONS)
        if part.threshold is not None:
            fired = wanted.trace.spikes[part.node].reshape(*spikes.shape[:2], -1)
            np.testing.assert_array_equal(spikes, fired[..., index], part.name)
        if part.role is Role.NEURONS:
            traced = wanted.trace.v_charged or wanted.trace.v
            traced = traced if part.node in traced else wanted.trace.v
            before = traced[part.node].reshape(*spikes.shape[:2], -1)
            np.testing.assert_allclose(charged, before[..., index], atol=1e-9)
    shapes = graph.checked.shapes
    assert all(size == np.prod(shapes[node]) for node, size in sizes.items())
    (readout,) = lowered.readouts
    spikes, charged = found[readout.population]
    (scores,) = wanted.scores.values()
    if readout.kind is ReadoutKind.SPIKES:
        np.testing.assert_array_equal(spikes.sum(0), scores)
    elif isinstance(graph.graph.nodes[readout.population], nir.Output):
        np.testing.assert_allclose(charged[-1], scores * graph.steps, atol=1e-9)
    else:
        np.testing.assert_allclose(charged[-1], scores, atol=1e-9)
    return lowered


@settings(max_examples=300, deadline=None)
@given(dense_networks(), st.integers(0, 2**20))
def test_dense_layers_fire_as_the_graph(graph: FloatNetwork, seed: int) -> None:
    x = np.random.default_rng(seed).uniform(-1, 2, (3, 3))
    lowered = fires_as_the_graph(graph, x)
    event(f"{len(lowered.populations)} populations")


@settings(max_examples=150, deadline=None)
@given(spatial_networks(), st.integers(0, 2**20))
def test_feature_maps_fire_as_the_graph(graph: FloatNetwork, seed: int) -> None:
    x = np.random.default_rng(seed).uniform(-1, 2, (2, 2, 4, 4))
    try:
        lowered = fires_as_the_graph(graph, x)
    except InputError as error:  # a start for each neuron, in layer after layer
        if "with a population for each, the network would have" not in str(error):
            raise
        event("too many connections")
        return
    event(f"{len(lowered.populations)} populations")
