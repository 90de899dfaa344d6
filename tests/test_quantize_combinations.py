"""Rules, decays and thresholds of each neuron, start values, composed maps and targets, at once.

On grids that the chip has exactly, native spikes are those of the float graph; everything else is
refused by name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.export.nir import (
    FloatNetwork,
    InputGain,
    ResetTiming,
    Rules,
    Semantics,
    StartValue,
    SynapseOrder,
)
from spikeport.export.quantize import QuantizeConfig
from spikeport.network import Reset
from spikeport.simulators import run_float, run_native
from spikeport.simulators.float_counts import float_counts, in_populations
from tests.helpers.quantize_networks import DT, affine, chain, leaky, network, quantized, spikes_in

STEPS = 5
SIZE = 3
RULES = st.builds(
    Semantics,
    input_gain=st.sampled_from(InputGain),
    synapse_order=st.sampled_from(SynapseOrder),
    reset=st.sampled_from(Reset),
    reset_timing=st.sampled_from([ResetTiming.BEFORE_DECAY, ResetTiming.AFTER_DECAY]),
    strict=st.booleans(),
    start=st.sampled_from(StartValue),
    loop_delay=st.sampled_from([1, 1, 2]),
    loop_bias=st.just(True),
)
REFUSED = (
    "starts above v_threshold",
    "must be above v_reset",
    "reset_timing is after-decay",
    "below one weight unit",
    "for netx",
    "netx has",
    "netx adds",
    "netx cannot",
    "netx runs",
    "netx and Lava",
)


@st.composite
def neurons(draw: st.DrawFn, rng: np.random.Generator) -> Any:
    """Neurons whose numbers are powers of two, some with parameters of their own."""
    threshold = 2.0 ** (rng.integers(0, 3, SIZE) if draw(st.booleans()) else np.full(SIZE, 1))
    part = draw(st.sampled_from([0.0, 0.0, 0.5, 1.0, 1.5]))
    rest = part * (threshold if draw(st.booleans()) else np.full(SIZE, 2.0))
    tau, ones = np.full(SIZE, 2 * DT), np.ones(SIZE)
    if draw(st.booleans()):  # half or all of the membrane is lost
        tau = DT * 2.0 ** rng.integers(0, 2, SIZE)
    reset = rest * draw(st.sampled_from([0, 0, 0, 1]))
    r = 2.0 ** rng.integers(0, 2, SIZE)
    match draw(st.sampled_from(["IF", "LIF", "CubaLIF"])):
        case "IF":
            return nir.IF(ones, threshold, reset)
        case "LIF":
            return nir.LIF(tau, r, rest, threshold, reset)
    return nir.CubaLIF(np.full(SIZE, 2 * DT), tau, r, rest, threshold, reset, 2 * ones)


@st.composite
def networks(draw: st.DrawFn) -> FloatNetwork:
    """Up to two maps in a row, neurons, up to two maps, neurons; some feed themselves."""
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    nodes: dict[str, Any] = {}
    edges, last = [], "input"
    for layer in "ab":
        for place in range(draw(st.integers(1, 2))):
            weight = 4.0 * rng.integers(-1, 3, (SIZE, SIZE))
            bias = 4.0 * rng.integers(0, 2, SIZE) * draw(st.booleans())
            name = f"{layer}{place}"
            nodes[name] = affine(weight, bias)
            edges.append((last, name))
            last = name
        nodes[layer] = draw(neurons(rng))
        edges.append((last, layer))
        if draw(st.booleans()):
            nodes[f"{layer}_loop"] = affine(4.0 * rng.integers(-1, 2, (SIZE, SIZE)))
            edges += [(layer, f"{layer}_loop"), (f"{layer}_loop", layer)]
        last = layer
    edges.append((last, "output"))
    made = network(nodes, edges, [spikes_in(SIZE)], steps=STEPS)
    return replace(made, semantics=draw(RULES))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(networks(), st.sampled_from([None, None, "netx"]), st.integers(0, 2**20))
def test_what_is_deployed_without_loss_fires_as_the_graph_and_the_rest_is_refused(
    graph: FloatNetwork, target: str | None, seed: int
) -> None:
    x = np.random.default_rng(seed).integers(0, 2, (4, SIZE)).astype(np.float64)
    try:
        made = quantized(graph, x, QuantizeConfig(target=target))
    except InputError as error:
        refused = [reason for reason in REFUSED if reason in str(error)]
        if not refused:
            raise
        event(refused[0])
        return
    if not all(part.lossless for part in made.report.populations):
        event("rounded")
        return
    event("without loss")
    wanted = run_float(graph, x, record=("spikes", "v"))
    found = run_native(made.network, x.astype(np.int64), record=("spikes",))
    assert wanted.trace is not None
    assert found.trace is not None
    named = in_populations(graph, wanted).trace
    assert named is not None
    assert named.spikes.keys() == found.trace.spikes.keys()
    for name, spikes in found.trace.spikes.items():
        np.testing.assert_array_equal(spikes, named.spikes[name], name)
    event(f"{len(named.spikes)} populations")
    counts = float_counts(graph, x, wanted)
    assert found.counts is not None
    assert found.counts.synaptic_events == counts.synaptic_events


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_start_value_is_an_update_and_brings_membranes_closer_to_the_threshold(
    start: float, caplog: pytest.LogCaptureFixture
) -> None:
    ones = np.ones(SIZE)
    node = nir.IF(ones, 4 * ones, start * ones)
    rules: Rules = {"start": StartValue.V_RESET, "reset": Reset.SUBTRACT, "strict": True}
    nodes, edges = {"fc": affine(np.eye(SIZE)), "n": node}, [("input", "fc"), ("fc", "n")]
    graph = network(nodes, [*edges, ("n", "output")], [spikes_in(SIZE)], steps=3, **rules)
    x = np.eye(SIZE)[None].repeat(3, 0)
    x[0] = 0
    made = quantized(graph, x)
    assert made.report.populations[0].lossless
    counts = float_counts(graph, x, run_float(graph, x, record=("spikes", "v")))
    found = run_native(made.network, x.astype(np.int64)).counts
    assert found is not None
    assert found.updates == counts.updates == {"n": 3 * 9 if start else 2 * 3}
    bound = "no input can bring it above 75 %" in caplog.text
    assert bound == (not start)


def test_membranes_just_below_the_threshold_stay_silent_where_biases_are_coarse() -> None:
    """With biases of whole weight units, as netx has them, ties can only fire a unit too early."""
    nodes = {"fc": affine([[1.0, 127.0]]), "n": leaky((1,), 0.5, threshold=2.0)}
    graph = chain(nodes, spikes_in(2), steps=STEPS)
    x = np.array([[1.0, 0.0]])  # v is 1, 1.5, 1.75 and so on
    for target in (None, "netx"):
        made = quantized(graph, x, QuantizeConfig(target=target))
        (report,) = made.report.populations
        assert report.activity is not None
        assert (report.activity.ties, report.activity.spikes) == (0, 0)
        assert (report.vth, report.lossless) == (2 * report.scale, target is None)
