"""Layers that a chip has only as several populations, and what else of a graph it has otherwise.

Lowered numbers, run in real arithmetic, fire as the float graph in every step.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.nir import FloatNetwork, ResetTiming, Semantics
from spikeport.export.nir.deployed import float_view
from spikeport.export.nir.semantics import Discretization, InputGain, StartValue, SynapseOrder
from spikeport.export.quantize import QuantizeConfig
from spikeport.export.quantize.lower import lower
from spikeport.export.quantize.lowered import LoweredNetwork, Role
from spikeport.network import Coding, Input, ReadoutKind, Reset
from spikeport.simulators import run_float, run_native
from spikeport.simulators.float_counts import float_counts
from tests.helpers.lowered import run_lowered
from tests.helpers.quantize_networks import (
    DT,
    affine,
    chain,
    conv,
    leaky,
    network,
    quantized,
    spikes_in,
)

STEPS = 12
RULES = st.builds(
    Semantics,
    discretization=st.sampled_from(Discretization),
    input_gain=st.sampled_from(InputGain),
    synapse_order=st.sampled_from(SynapseOrder),
    reset=st.sampled_from(Reset),
    reset_timing=st.sampled_from([ResetTiming.BEFORE_DECAY, ResetTiming.AFTER_DECAY]),
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


@st.composite
def networks_along_one_axis(draw: st.DrawFn) -> FloatNetwork:
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    groups, stride = draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 2]))
    shape = (4, 8 // stride)
    nodes: dict[str, Any] = {
        "conv": conv(rng.normal(0.2, 1, (4, 2, 3)), 0.3, padding=1, stride=stride),
        "a": neuron(draw(KINDS), draw(HOW), shape, rng),
        "wait": delay(draw(HOW), shape, rng),
        "next": conv(rng.normal(size=(4, 4 // groups, 3)), padding=1, groups=groups),
        "b": neuron(draw(KINDS), draw(HOW), shape, rng),
    }
    made = chain(nodes, graded((2, 8)), steps=8)
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


REFUSED = (
    "with a population for each, the network would have",  # a start for each neuron
    "v starts above v_threshold",
)


def fires_or_is_refused(graph: FloatNetwork, x: NDArray[np.float64]) -> None:
    try:
        lowered = fires_as_the_graph(graph, x)
    except InputError as error:
        (reason,) = (reason for reason in REFUSED if reason in str(error))
        event(reason)
    else:
        event(f"{len(lowered.populations)} populations")


@settings(max_examples=300, deadline=None)
@given(dense_networks(), st.integers(0, 2**20))
def test_dense_layers_fire_as_the_graph(graph: FloatNetwork, seed: int) -> None:
    fires_or_is_refused(graph, np.random.default_rng(seed).uniform(-1, 2, (3, 3)))


@settings(max_examples=150, deadline=None)
@given(spatial_networks(), st.integers(0, 2**20))
def test_feature_maps_fire_as_the_graph(graph: FloatNetwork, seed: int) -> None:
    fires_or_is_refused(graph, np.random.default_rng(seed).uniform(-1, 2, (2, 2, 4, 4)))


@settings(max_examples=60, deadline=None)
@given(networks_along_one_axis(), st.integers(0, 2**20))
def test_feature_maps_along_one_axis_fire_as_the_graph(graph: FloatNetwork, seed: int) -> None:
    fires_or_is_refused(graph, np.random.default_rng(seed).uniform(-1, 2, (2, 2, 8)))


def cuba(size: int, bias: float = 0.0, **fields: Any) -> dict[str, Any]:
    """One input, a map with a bias, and neurons that keep half of u and three quarters of v."""
    given = {"tau_syn": 2 * DT, "tau_mem": 4 * DT, "r": 4, "v_leak": 0, "v_threshold": 1, "w_in": 2}
    arrays = {name: np.full(size, float(value)) for name, value in given.items()} | fields
    return {"fc": affine(np.ones((size, 1)), bias), "n": nir.CubaLIF(**arrays)}


def test_the_neurons_of_a_node_stay_in_order_and_its_names_are_free() -> None:
    nodes = cuba(5, tau_mem=DT * np.array([4.0, 2.0, 4.0, 8.0, 2.0]))
    nodes["n_1"] = nir.IF(np.ones(5), np.ones(5))
    graph = chain(nodes, spikes_in(1))
    *parts, last = lower(graph).populations
    assert [part.name for part in parts] == ["n_1_", "n_2", "n_3"]
    indices = [None if part.index is None else part.index.tolist() for part in parts]
    assert indices == [[3], [0, 2], [1, 4]]  # the slowest first
    assert (last.name, last.index) == ("n_1", None)
    into = {c.source: c.weight for c in lower(graph).incoming("n_1")}
    np.testing.assert_array_equal(into["n_2"], np.eye(5)[:, [0, 2]])


def test_decays_are_compared_as_the_integers_of_the_chip() -> None:
    """tau of 100 and 100.5 steps are both 41 of 4096, 102 steps are 40."""
    node = nir.LIF(DT * np.array([100, 100.5, 102.0]), *np.ones((1, 3)), np.zeros(3), np.ones(3))
    made = quantized(chain({"fc": affine(np.eye(3)), "n": node}, spikes_in(3)), np.ones((2, 3)))
    parts = {part.name: part for part in made.report.populations}
    assert [(p.neurons, p.decay_v_int) for p in parts.values()] == [(1, 40), (2, 41), (3, 4095)]
    assert parts["n_2"].decay_v == pytest.approx(1 / 100.5)  # further from 41/4096 than 1/100
    assert parts["n_2"].decay_v_error == pytest.approx(41 / 4096 - 1 / 100.5)
    assert made.report.rewrites[0] == "'n' became 2 populations, 'n_1' to 'n_2', one for each decay"


@pytest.mark.parametrize("spikes", [False, True])
def test_readouts_deliver_neurons_in_the_order_of_the_graph(spikes: bool) -> None:
    tau = DT * np.array([4.0, 2.0, 4.0])
    node: Any = nir.LI(tau, tau / DT, np.zeros(3))
    if spikes:
        node = nir.LIF(tau, tau / DT, np.zeros(3), np.full(3, 2.5))
    graph = chain({"fc": affine(4 * np.eye(3)), "n": node}, spikes_in(3), steps=4)
    if not spikes:
        with pytest.raises(InputError, match="'n': its membrane is read by 'output', which the c"):
            lower(graph)
        return
    x = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    made = quantized(graph, x).network
    scores = run_native(made, x.astype(np.int64)).scores
    assert scores.keys() == {"output"}
    np.testing.assert_array_equal(scores["output"], 4 * x)


def test_biases_reach_the_chip_through_the_filter_from_the_first_step_on() -> None:
    graph = chain(cuba(3, 0.25), spikes_in(1), steps=8)
    x = np.array([[0.0], [1.0]])
    made = quantized(graph, x)
    assert all(part.lossless for part in made.report.populations)
    assert all("constant" not in warning for warning in made.report.warnings), made.report.warnings
    wanted = run_float(graph, x, record=("v_charged",)).trace
    found = run_native(made.network, x.astype(np.int64), record=("spikes", "u", "v"))
    assert wanted is not None
    assert found.trace is not None
    part = made.network.by_name["n"]
    u = found.trace.u["n"] / (64 * part.scale)
    np.testing.assert_allclose(
        u[:, 0, 0], 0.25 * 4 * 0.25 * 2 * 0.5 * (2 - 2.0 ** -np.arange(8)), atol=2e-3
    )
    assert found.spike_counts["constant"].tolist() == [16]
    counts = float_counts(graph, x, run_float(graph, x, record=("spikes", "v")))
    assert found.counts is not None
    assert counts.synaptic_events == found.counts.synaptic_events
    assert counts.updates["constant"] == found.counts.updates["constant"] == 16
    view = float_view(made.network)
    again = run_float(view, x, record=("spikes",))
    assert again.spike_counts["constant"].tolist() == [16]
    assert np.array_equal(again.spike_counts["n"], found.spike_counts["n"])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**20), st.floats(0.01, 3), st.integers(2, 60))
def test_biases_smaller_than_a_weight_unit_are_not_lost(seed: int, size: float, tau: int) -> None:
    """An error in u adds up through both leaks, so the remainder of rounding is added to v."""
    rng = np.random.default_rng(seed)
    bias = rng.normal(0, size, 6)
    times = np.full(6, tau * DT), np.full(6, 2 * tau * DT)
    node = nir.CubaLI(*times, np.full(6, 2.0 * tau), np.zeros(6), np.full(6, float(tau)))
    nodes = {"fc": affine(rng.normal(0, 1, (6, 4)), bias / tau), "n": node}
    graph = chain(nodes, spikes_in(4), steps=100)
    x = np.zeros((1, 4))
    made = quantized(graph, np.eye(4))
    wanted = run_float(graph, x).scores["output"]
    got = run_native(made.network, x.astype(np.int64)).scores["n"]
    unit = 1 / (64 * made.network.by_name["n"].scale)
    truncated = 2 * tau * (tau + 1) * unit  # less than a unit of u and of v in every step
    assert np.abs(got * unit - wanted).max() < 0.02 * np.abs(wanted).max() + truncated


def test_large_biases_do_not_take_the_bits_of_the_weights() -> None:
    graph = chain(cuba(2, 50.0) | {}, spikes_in(1))
    made = quantized(graph, np.ones((1, 1)))
    fc, bias = (made.network.weighted_into("n")[n] for n in (1, 0))
    assert (fc.name, bias.name) == ("fc", "constant_to_n")
    assert fc.exponent == 0 < bias.exponent
    assert fc.weight.max() > 64
    report = {part.name: part for part in made.report.connections}["constant_to_n"]
    assert report.max_error < 0.01 * 50
    assert report.clipped == 0


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({"n": cuba(1)["n"]}, "in 'n' it enters through the synaptic filter tau_syn; declare it"),
        (
            {"d": nir.Delay(np.full(1, DT)), "n": leaky((1,), 0.5)},
            "coding 'bias' acts at once, but a Delay node leads to 'n'",
        ),
        (
            {"n": nir.LIF(DT * np.array([2.0, 4]), np.ones(2), np.zeros(2), np.ones(2))},
            "make it 2 populations, which an input of coding 'bias' cannot feed",
        ),
    ],
)
def test_inputs_that_write_biases_do_not_reach_what_they_cannot_write(
    nodes: dict[str, Any], message: str
) -> None:
    size = len(nodes["n"].r)
    source = Input("input", (size,), Coding.BIAS, 0, 100, 100.0)
    with pytest.raises(InputError, match=message):
        lower(chain(nodes, source))


def test_more_connections_than_a_file_may_hold_are_refused() -> None:
    tau = DT * np.linspace(2, 200, 200)
    node = nir.LIF(tau, np.ones(200), np.zeros(200), np.ones(200))
    nodes = {"fc": affine(np.ones((200, 1))), "n": node, "w": nir.Linear(np.ones((200, 200)))}
    edges = [("input", "fc"), ("fc", "n"), ("n", "w"), ("w", "n"), ("n", "output")]
    with pytest.raises(InputError, match=r"^node 'n': its neurons have \d+ different decays or st"):
        lower(network(nodes, edges, [spikes_in(1)]))


def test_large_feature_maps_need_one_decay_for_each_channel() -> None:
    tau = np.full((4, 64, 64), 2 * DT)
    tau[0, 0, 0] = 4 * DT
    node = nir.LIF(tau, tau / DT, 0 * tau, np.ones_like(tau))
    nodes = {"conv": conv(np.ones((4, 4, 3, 3)), padding=1), "n": node}
    message = "connection 'conv': decays or starts differ between the positions of a channel, which"
    with pytest.raises(InputError, match=f"{message} makes it a matrix of 16384 x 16384 weights"):
        lower(chain(nodes, spikes_in((4, 64, 64))))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (cuba(2, 0.5), "node 'n': a bias enters through its synaptic filter, but netx adds biases"),
        (cuba(2, tau_mem=DT * np.array([4.0, 2])), "node 'n': its neurons have 2 different decays"),
    ],
)
def test_netx_has_one_layer_for_each_node(nodes: dict[str, Any], message: str) -> None:
    """The message names what the user wrote, not the populations that were made of it."""
    with pytest.raises(InputError, match=f"^{message}.*; use "):
        quantized(chain(nodes, spikes_in(1)), np.ones((1, 1)), QuantizeConfig(target="netx"))


@pytest.mark.parametrize(("how", "groups"), [("channels", 2), ("across", 1)])
def test_groups_of_a_convolution_stay_where_its_parts_have_as_many_channels_of_each(
    how: str, groups: int
) -> None:
    tau = DT * np.array([2.0, 4, 2, 4] if how == "channels" else [2.0, 2, 2, 4])
    taus = np.broadcast_to(tau[:, None, None], (4, 3, 3)).copy()
    ones = np.ones((4, 3, 3))
    node = nir.LIF(taus, ones, 0 * ones, ones)
    nodes = {"one": conv(np.ones((4, 2, 1, 1)), groups=2), "n": node}
    lowered = lower(chain(nodes, spikes_in((4, 3, 3))))
    first = next(c for c in lowered.connections if c.target == "n_1")
    assert first.groups == groups


@pytest.mark.parametrize("reset", [-0.5, 0.25])
def test_neurons_reset_to_any_value_below_their_threshold(reset: float) -> None:
    node = leaky((3,), 0.5, threshold=1.0)
    node.v_reset = np.array([reset, 0.0, reset / 2])
    node.v_leak = np.full(3, 0.5)
    graph = chain({"fc": affine(0.5 * np.eye(3)), "n": node}, spikes_in(3), start="v_reset")
    x = np.ones((1, 3))
    made = quantized(graph, x)
    wanted = run_float(graph, x, record=("spikes",)).trace
    found = run_native(made.network, x.astype(np.int64), record=("spikes",)).trace
    assert wanted is not None
    assert found is not None
    assert wanted.spikes["n"].any()
    assert np.array_equal(found.spikes["n"], wanted.spikes["n"])
    assert "the membrane of 'n' is counted from" in made.report.rewrites[1]
    low = leaky((1,), 0.5)
    low.v_reset = np.array([1.0])
    with pytest.raises(InputError, match="v_threshold is 1, must be above v_reset 1"):
        lower(chain({"fc": affine([[1.0]]), "n": low}, spikes_in(1)))
