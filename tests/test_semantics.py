"""The rules of a step that NIR leaves open: values, simulation, files, quantization."""

from __future__ import annotations

import itertools
import math
import re
import tempfile
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import nir
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.export.nir import (
    PRESETS,
    Discretization,
    FloatNetwork,
    InputGain,
    IntegratorGain,
    ResetTiming,
    Rules,
    Semantics,
    StartValue,
    SynapseOrder,
    parse_rules,
    preset,
    read_nir_float,
)
from spikeport.export.nir.presets import departures, rules_text
from spikeport.export.nir.semantics import DEFAULTS, RULES
from spikeport.export.quantize.lower import lower
from spikeport.export.quantize.reset import subtracting_at_once
from spikeport.network import Coding, Input, Reset
from spikeport.runs import encode_samples
from spikeport.simulators import run_float, run_native
from spikeport.workflow import write_nir
from tests.helpers.quantize_networks import DT, affine, chain, leaky, quantized, spikes_in

BOOLS = st.booleans()
ANY = st.builds(
    Semantics,
    discretization=st.sampled_from(Discretization),
    input_gain=st.sampled_from(InputGain),
    integrator_gain=st.sampled_from(IntegratorGain),
    synapse_order=st.sampled_from(SynapseOrder),
    reset=st.sampled_from(Reset),
    reset_timing=st.sampled_from([ResetTiming.BEFORE_DECAY, ResetTiming.AFTER_DECAY]),
    strict=BOOLS,
    multiple_spikes=BOOLS,
    late_spikes=BOOLS,
    start=st.sampled_from(StartValue),
    loop_delay=st.integers(1, 4),
    loop_bias=BOOLS,
) | st.builds(
    Semantics,
    reset=st.sampled_from(Reset),
    reset_timing=st.just(ResetTiming.ONCE),
    strict=BOOLS,
    loop_bias=BOOLS,
)
NEURONS = ("IF", "LIF", "CubaLIF")
STEPS = 12


# Values


def test_the_defaults_are_the_ones_of_nir() -> None:
    assert Semantics() == DEFAULTS
    assert tuple(get_type_hints(Rules)) == RULES == tuple(field.name for field in fields(Semantics))


@given(ANY)
def test_rules_read_back_from_their_text(semantics: Semantics) -> None:
    texts = rules_text(semantics.as_dict()).split("; ")
    assert DEFAULTS.changed(**parse_rules("--semantics", texts)[1]) == semantics
    assert Semantics(**semantics.as_dict()) == semantics  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"discretization": "trapezoidal"}, "discretization is 'trapezoidal', must be one of"),
        ({"reset": None}, "reset is None"),
        ({"strict": "false"}, "strict is 'false', must be true or false"),
        ({"multiple_spikes": 1}, "multiple_spikes is 1, must be true or false"),
        ({"loop_delay": 0}, r"loop_delay is 0, must lie in 1\.\."),
        ({"loop_delay": 1.5}, "loop_delay is 1.5, must be an integer"),
        ({"reset_timing": "once", "multiple_spikes": True}, "needs single spikes"),
        ({"reset_timing": "once", "late_spikes": True}, "that are not late"),
    ],
)
def test_odd_rules_are_refused(rule: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Semantics(**rule)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["snntorh"], "--semantics 'snntorh': must be one of .*did you mean 'snntorch'"),
        (["norse", "spyx"], "--semantics spyx: only one framework can be given, also given is"),
        (["rest=zero"], "no such rule, must be one of .*did you mean 'reset'"),
        (["reset=zero", "reset=zero"], "reset is given twice"),
        (["reset=hard"], "--semantics reset is 'hard', must be one of 'zero', 'subtract'"),
        (["strict=1"], "--semantics strict is '1', must be one of 'true', 'false'"),
        (["loop_delay=one"], "--semantics loop_delay is 'one', must be an integer"),
    ],
)
def test_odd_texts_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_rules("--semantics", texts)


def test_a_preset_and_rules_are_told_apart() -> None:
    named, rules = parse_rules("--semantics", ["loop_delay=2", "sinabs", " strict = true "])
    assert named == "sinabs"
    assert rules == {"loop_delay": 2, "strict": True}
    with pytest.raises(InputError, match=r"semantics 'norsk': must be one of .*mean 'norse'"):
        preset("norsk")


# Simulation


def neuron(kind: str, rng: np.random.Generator, size: int) -> Any:
    """Neurons with random parameters, a power of two where a rule compares with one."""

    def between(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, size)

    v = {"v_threshold": between(0.3, 1), "v_reset": between(-0.2, 0.1)}
    if kind == "IF":
        return nir.IF(r=rng.choice([1.0, 0.5 / DT, 1.5], size), **v)
    v |= {"r": between(0.5, 3), "v_leak": between(-0.1, 0.2)}
    if kind == "LIF":
        return nir.LIF(tau=DT * between(1.5, 9), **v)
    tau = {"tau_syn": DT * between(1.5, 9), "tau_mem": DT * between(1.5, 9)}
    return nir.CubaLIF(**tau, **v, w_in=between(0.5, 3))


class Reference:
    """One neuron under `Semantics`, in scalars: the rules as their documentation states them."""

    def __init__(self, node: Any, index: int, rules: Semantics) -> None:
        given = {name: float(np.ravel(value)[index]) for name, value in vars(node).items()
                 if isinstance(value, np.ndarray)}  # fmt: skip
        self.rules, self.kind, self.given = rules, type(node).__name__, given
        self.i = self.pending = 0.0
        self.v = 0.0 if rules.start is StartValue.ZERO else given.get(rules.start.value, 0.0)
        # a membrane that starts above the threshold counts as one that has just crossed it
        self.pending = self.spikes(self.v) if rules.late_spikes or self.after else 0.0

    @property
    def after(self) -> bool:
        subtract = self.rules.reset is Reset.SUBTRACT
        return subtract and self.rules.reset_timing is ResetTiming.AFTER_DECAY

    def spikes(self, v: float) -> float:
        theta = self.given["v_threshold"]
        if self.rules.multiple_spikes:
            count = v / theta
            return max(math.ceil(count) - 1 if self.rules.strict else math.floor(count), 0)
        return float(v > theta if self.rules.strict else v >= theta)

    def lost(self, tau: float) -> float:
        exponential = self.rules.discretization is Discretization.EXPONENTIAL
        return 1 - math.exp(-DT / tau) if exponential else DT / tau

    def charged(self, v: float, x: float) -> float:
        g, gain = self.given, self.rules.input_gain
        if self.kind == "IF":
            r = g["r"]
            if gain is not InputGain.EQUATION:
                return v + x
            match self.rules.integrator_gain:
                case IntegratorGain.PER_STEP:
                    return v + r * x
                case IntegratorGain.PER_SECOND:
                    return v + r * DT * x
            return v + (1 if r == 1 else r * DT) * x
        if self.kind == "CubaLIF":
            lost = self.lost(g["tau_syn"])
            step = x if gain is InputGain.UNIT else lost * g["w_in"] * x
            first = self.rules.synapse_order is SynapseOrder.ADD_FIRST
            self.i = (1 - lost) * (self.i + step) if first else (1 - lost) * self.i + step
            x = self.i
        lost = self.lost(g["tau"] if self.kind == "LIF" else g["tau_mem"])
        if gain is InputGain.UNIT:
            return (1 - lost) * v + x + lost * g["v_leak"]
        r = 1.0 if gain is InputGain.NO_R and self.kind == "LIF" else g["r"]
        return (1 - lost) * v + lost * (r * x + g["v_leak"])

    def reset(self, v: float, count: float) -> float:
        if not count:
            return v
        subtract = self.rules.reset is Reset.SUBTRACT
        return v - count * self.given["v_threshold"] if subtract else self.given["v_reset"]

    def step(self, x: float) -> float:
        """The spikes that are sent in this step."""
        rules, theta = self.rules, self.given["v_threshold"]
        if rules.late_spikes or self.after:
            sent = self.pending
            if self.after:
                self.v = self.charged(self.v, x) - sent * theta
            else:
                self.v = self.charged(self.reset(self.v, sent), x)
            self.pending = self.spikes(self.v)
            return sent if rules.late_spikes else self.pending
        above = self.spikes(self.v)
        v = self.charged(self.v, x)
        once = rules.reset_timing is ResetTiming.ONCE and rules.reset is Reset.SUBTRACT
        sent = self.spikes(v - above * theta if once else v)
        self.v = self.reset(v, sent)
        return sent


def loop(node: Any, weight: np.ndarray, bias: np.ndarray, semantics: Semantics) -> FloatNetwork:
    size = len(weight)
    nodes = {
        "input": nir.Input({"input": np.array([size])}),
        "n": node,
        "w": nir.Affine(weight, bias),
        "output": nir.Output({"output": None}),
    }
    edges = [("input", "n"), ("n", "w"), ("w", "n"), ("n", "output")]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    inputs = (Input("input", (size,), Coding.GRADED, -(2**20), 2**20, 2.0**16),)
    return FloatNetwork(graph, DT, STEPS, inputs, semantics)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(NEURONS), ANY, st.integers(0, 2**20))
def test_every_rule_is_simulated_as_documented(kind: str, semantics: Semantics, seed: int) -> None:
    """A recurrent layer, against one neuron after another in scalars."""
    rng, size = np.random.default_rng(seed), 3
    node = neuron(kind, rng, size)
    weight, bias = rng.normal(size=(size, size)), rng.normal(size=size)
    x = rng.normal(0.5, 1.5, (STEPS, 1, size))
    try:
        run = run_float(loop(node, weight, bias, semantics), x, record=("spikes", "v"))
    except InputError as error:
        assume("does a loop amplify them?" not in str(error))
        raise
    assert run.trace is not None

    neurons = [Reference(node, index, semantics) for index in range(size)]
    past: list[np.ndarray] = []
    for step in range(STEPS):
        if semantics.late_spikes:  # the spikes of this step are known before its input
            fed = weight @ [one.pending for one in neurons] + bias
        elif len(past) >= semantics.loop_delay:
            fed = weight @ past[-semantics.loop_delay] + bias
        else:
            fed = bias if semantics.loop_bias else np.zeros(size)
        sent = [one.step(x[step, 0, i] + fed[i]) for i, one in enumerate(neurons)]
        past.append(np.array(sent))
        assert run.trace.spikes["n"][step, 0].tolist() == sent
        np.testing.assert_allclose(
            run.trace.v["n"][step, 0], [one.v for one in neurons], 1e-9, 1e-9
        )


def test_a_loop_of_several_maps_delivers_all_their_biases_at_rest() -> None:
    one = np.ones(1)
    nodes = {
        "input": nir.Input({"input": np.array([1])}),
        "n": nir.I(one),
        "a": nir.Affine(np.array([[0.5]]), 3 * one),
        "b": nir.Affine(np.array([[2.0]]), one),
        "output": nir.Output({"output": None}),
    }
    edges = [("input", "n"), ("n", "a"), ("a", "b"), ("b", "n"), ("n", "output")]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    network = FloatNetwork(graph, DT, 1, (Input("input", (1,)),), Semantics(loop_bias=True))
    assert run_float(network, np.zeros((1, 1))).scores["output"] == 2 * 3 + 1
    assert run_float(network.with_rules(loop_bias=False), np.zeros((1, 1))).scores["output"] == 0


@pytest.mark.parametrize(("strict", "counts"), [(False, [0, 0, 1, 3]), (True, [0, 0, 0, 2])])
def test_several_spikes_at_a_multiple_of_the_threshold(strict: bool, counts: list[int]) -> None:
    node = nir.IF(np.ones(4), np.ones(4))
    source = Input("input", (4,), Coding.GRADED, -8, 8, 1.0)
    network = chain({"n": node}, source, steps=1, multiple_spikes=True, strict=strict)
    run = run_float(network, np.array([[-2.0, 0.0, 1.0, 3.0]]))
    assert run.scores["output"].tolist() == [counts]


def test_spikes_that_a_loop_amplifies_without_bound_are_refused() -> None:
    semantics = Semantics(multiple_spikes=True)
    one = nir.IF(np.ones(1), np.ones(1))
    network = loop(one, np.full((1, 1), 1e4), np.zeros(1), semantics)
    with pytest.raises(InputError, match=r"'n': sends 1e\+\d+ spikes in one step, the limit is"):
        run_float(network, np.full((1, 1), 2.0))


def test_multiple_spikes_need_a_threshold_above_zero() -> None:
    node = nir.IF(np.ones(2), np.array([1.0, 0.0]))
    network = chain({"n": node}, spikes_in(2), multiple_spikes=True)
    with pytest.raises(InputError, match=r"'n' \(IF\): v_threshold is 0, must be above 0 if"):
        run_float(network, np.ones((1, 2)))


# Files


@settings(deadline=None, max_examples=15)
@given(ANY)
def test_every_rule_survives_a_file(semantics: Semantics) -> None:
    network = replace(chain({"n": leaky((2,), 0.5)}, spikes_in(2)), semantics=semantics)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nir"
        write_nir(network, path)
        assert read_nir_float(path, isolate=False).semantics == semantics
        changed = read_nir_float(path, isolate=False, semantics="norse", strict=False)
        assert changed.semantics == PRESETS["norse"].changed(strict=False)


def foreign(path: Path, *nodes: Any) -> Path:
    names = ["input", *(f"n{i}" for i in range(len(nodes))), "output"]
    size = np.array([len(nodes[0].r)])
    ends = nir.Input({"input": size}), nir.Output({"output": size})
    every = dict(zip(names, (ends[0], *nodes, ends[1]), strict=True))
    nir.write(path, nir.NIRGraph(every, list(itertools.pairwise(names))))
    return path


def cuba(size: int, w_in: float = 1.0) -> nir.CubaLIF:
    one = np.ones(size)
    return nir.CubaLIF(5e-4 * one, 1e-3 * one, one, 0 * one, one, w_in=w_in * one)


def leaking_synapses(size: int) -> nir.CubaLIF:
    node = cuba(size)
    node.v_leak = node.v_leak + 0.5
    return node


def lif(size: int, leak: float = 0.0, reset: float = 0.0) -> nir.LIF:
    one = np.ones(size)
    return nir.LIF(1e-3 * one, one, leak * one, one, reset * one)


def test_what_a_file_does_not_state_is_named_in_what_is_made_from_it(tmp_path: Path) -> None:
    path = foreign(tmp_path / "theirs.nir", lif(2))
    network = read_nir_float(path, dt_s=1e-4, steps=9, reset=Reset.SUBTRACT)
    found = network.provenance
    assert found["source"] == "theirs.nir"
    assert len(found["source_sha256"]) == 64
    assert found["stated"] == "dt_s=0.0001; steps=9; reset=subtract"
    assert parse_rules("", found["assumed"].split("; "))[1].keys() == {*RULES} - {"reset"}
    assert found["assumed_inputs"] == "0/1 spikes"
    made = quantized(network, np.ones((4, 2))).network
    assert found.items() <= made.provenance.items()
    write_nir(network, tmp_path / "ours.nir")
    assert read_nir_float(tmp_path / "ours.nir").provenance == found
    again = read_nir_float(tmp_path / "ours.nir", reset=Reset.ZERO, semantics="spyx", steps=3)
    assert again.provenance["stated_later"] == "semantics=spyx; steps=3; reset=zero"


def test_a_preset_is_named_with_its_rules(tmp_path: Path) -> None:
    path = foreign(tmp_path / "theirs.nir", lif(2))
    inputs = (Input("input", (2,), Coding.GRADED, 0, 255, 255.0),)
    network = read_nir_float(path, dt_s=1e-4, steps=9, semantics="sinabs", inputs=inputs)
    assert network.semantics == PRESETS["sinabs"]
    assert network.provenance["stated"] == "dt_s=0.0001; steps=9; inputs=given"
    named, _, rules = network.provenance["semantics"].partition(": ")
    assert named == "sinabs"
    assert DEFAULTS.changed(**parse_rules("", rules.split("; "))[1]) == PRESETS["sinabs"]
    assert not network.provenance.keys() & {"assumed", "assumed_inputs"}
    with pytest.raises(InputError, match="argument rset: no such rule, must be one of"):
        read_nir_float(path, dt_s=1e-4, steps=9, rset="zero")  # type: ignore[call-arg]


def test_spyx_resets_current_based_neurons_before_their_decay(tmp_path: Path) -> None:
    for nodes, timing in (
        ([lif(2)], ResetTiming.AFTER_DECAY),
        ([cuba(2)], ResetTiming.BEFORE_DECAY),
        ([cuba(2), lif(2)], ResetTiming.AFTER_DECAY),
    ):
        path = foreign(tmp_path / "a.nir", *nodes)
        network = read_nir_float(path, dt_s=1e-4, steps=2, semantics="spyx")
        assert network.semantics.reset_timing is timing
        told = departures("spyx", network.checked)
        assert bool(told) == (len(nodes) == 2)


@pytest.mark.parametrize(
    ("name", "node", "message"),
    [
        ("norse", lif(2, reset=0.5), r"'n0' \(LIF\): Norse resets to 0, v_reset is not"),
        ("rockpool", lif(2, leak=0.5), r"'n0' \(LIF\): v_leak is not 0, which rockpool does"),
        ("norse", leaking_synapses(2), r"'n0' \(CubaLIF\): Norse also lets its synaptic current"),
        ("sinabs", nir.IF(np.ones(2), np.ones(2)), "Sinabs keeps v above -v_threshold"),
    ],
)
def test_what_a_preset_does_not_reproduce_is_said(
    name: str, node: Any, message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = foreign(tmp_path / "a.nir", node)
    read_nir_float(path, dt_s=1e-4, steps=2)
    assert not caplog.messages
    read_nir_float(path, dt_s=1e-4, steps=2, semantics=name)
    (told,) = caplog.messages
    assert re.search(message, told)
    network = read_nir_float(path, dt_s=1e-4, steps=2, semantics=name)
    assert network.provenance["not_reproduced"] == told


@pytest.mark.parametrize("name", ["rockpool", "lava-dl"])
def test_a_recurrent_bias_that_a_framework_ignores_is_said(name: str) -> None:
    one = np.ones(3)
    for bias, count in ((one, 1), (0 * one, 0)):
        network = loop(nir.IF(one, one), np.eye(3), bias, PRESETS[name])
        told = departures(name, network.checked)
        assert told == (f"node 'w' (Affine): {name} ignores its bias",) * count


# Quantization


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"multiple_spikes": True}, "multiple_spikes is true, but on the chip a neuron sends at"),
        ({"late_spikes": True}, "late_spikes is true, but on the chip a neuron sends its spike in"),
        (
            {"reset": "subtract", "reset_timing": "once"},
            "node 'n': reset_timing is once, but the chip subtracts",
        ),
    ],
)
@pytest.mark.parametrize("neurons", [leaky((3,), 0.5), nir.IF(np.ones(3), np.ones(3))])
def test_rules_that_a_chip_does_not_have_are_refused(
    neurons: Any, rules: Any, message: str
) -> None:
    network = chain({"fc": affine(np.eye(3)), "n": neurons}, spikes_in(3))
    with pytest.raises(InputError, match=message):
        quantized(network.with_rules(**rules), np.ones((2, 3)))


DELAYED = Semantics(reset=Reset.SUBTRACT, reset_timing=ResetTiming.AFTER_DECAY)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(NEURONS), min_size=1, max_size=3),
    ANY.map(
        lambda one: one.changed(
            reset=Reset.SUBTRACT,
            reset_timing=ResetTiming.AFTER_DECAY,
            start=StartValue.ZERO,
            late_spikes=False,
        )
    ),
    st.integers(0, 2**20),
)
def test_a_delayed_subtraction_equals_one_at_once_and_a_connection(
    kinds: list[str], semantics: Semantics, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    nodes: dict[str, Any] = {}
    for place, kind in enumerate(kinds):
        nodes |= {
            f"w{place}": affine(rng.normal(0.3, 1, (4, 4))),
            f"n{place}": neuron(kind, rng, 4),
        }
    source = Input("input", (4,), Coding.GRADED, -(2**20), 2**20, 2.0**16)
    network = replace(chain(nodes, source, steps=STEPS), semantics=semantics)
    x = rng.normal(0.5, 1.5, (STEPS, 3, 4))
    changed = subtracting_at_once(network)
    assert changed.semantics.reset_timing is ResetTiming.BEFORE_DECAY
    loops = [n for n, node in changed.graph.nodes.items() if isinstance(node, nir.Scale)]
    assert len(loops) == kinds.count("LIF") + 2 * kinds.count("CubaLIF")
    assert ("rewritten" in changed.provenance) == bool(loops)
    ours, theirs = (run_float(one, x, record=("spikes",)).trace for one in (changed, network))
    assert ours is not None
    assert theirs is not None
    for name in (n for n in nodes if n[0] == "n"):
        assert np.array_equal(ours.spikes[name], theirs.spikes[name])


LATER = "reset_timing is after-decay, but the chip subtracts .* before the next"
ABOVE = "v starts above v_threshold .*, which reset_timing=after-decay subtracts in the first step"


@pytest.mark.parametrize(
    ("node", "rules", "message"),
    [
        (lambda: cuba(3, w_in=0.0), {}, LATER),
        (lambda: nir.LIF(*(1e-3 * np.ones(3), np.zeros(3), np.zeros(3), np.ones(3))), {}, LATER),
        (lambda: lif(3, leak=2.0), {"start": "v_leak"}, ABOVE),
        (lambda: lif(3, leak=1.0), {"start": "v_leak", "strict": False}, ABOVE),
        (lambda: nir.IF(np.ones(3), np.ones(3), np.full(3, 2.0)), {"start": "v_reset"}, ABOVE),
    ],
)
def test_a_delayed_subtraction_without_such_a_connection_is_refused(
    node: Any, rules: Any, message: str
) -> None:
    network = chain({"fc": affine(np.eye(3)), "n": node()}, spikes_in(3))
    network = replace(network, semantics=DELAYED.changed(**rules))
    assert subtracting_at_once(network) is network
    with pytest.raises(InputError, match=f"node 'n': {message}"):
        quantized(network, np.ones((2, 3)))


def test_integrators_subtract_later_with_loops_of_any_delay() -> None:
    """Without a decay, the order does not matter, and so no connection is needed."""
    network = chain({"fc": affine(np.eye(3)), "n": nir.IF(np.ones(3), np.ones(3))}, spikes_in(3))
    network = replace(network, semantics=DELAYED.changed(loop_delay=2))
    changed = subtracting_at_once(network)
    assert changed.semantics == network.semantics.changed(reset_timing=ResetTiming.BEFORE_DECAY)
    assert changed.graph is network.graph


def test_nodes_that_spike_without_a_membrane_have_nothing_to_reset() -> None:
    nodes = {"fc": affine(np.eye(3)), "n": leaky((3,), 0.5), "step": nir.Threshold(np.ones(3))}
    network = replace(chain(nodes, spikes_in(3), strict=False), semantics=DELAYED)
    (_, part), x = lower(network).populations, np.ones((2, 3))
    assert (part.name, part.keep_u, part.keep_v) == ("step", 0, 0)
    made = quantized(network, x).network
    run, wanted = run_native(made, x.astype(np.int64)), run_float(network, x)
    assert np.array_equal(run.spike_counts["step"], wanted.spike_counts["step"])


def test_a_delayed_subtraction_is_deployed() -> None:
    """On a grid that the chip has exactly, no spike differs."""
    node = leaky((4,), 0.5)
    node.v_threshold[:] = 2.0
    rng = np.random.default_rng(0)
    nodes = {"fc": affine(rng.integers(-2, 6, (4, 6)) / 2), "n": node}
    network = replace(chain(nodes, spikes_in(6), steps=40), semantics=DELAYED)
    x = (rng.random((40, 8, 6)) < 0.3).astype(float)
    made = quantized(network, x).network
    (loop,) = (c for c in made.weighted_connections if c.source == c.target)
    assert (loop.name, loop.delay) == ("n_to_n", 1)
    assert made.provenance["rewritten"].startswith("reset_timing=after-decay")
    run = run_native(made, encode_samples(made.inputs, made.steps, x), record=("spikes",))
    wanted = run_float(network, x, record=("spikes",))
    assert run.trace is not None
    assert wanted.trace is not None
    assert 0.1 < wanted.trace.spikes["n"].mean() < 0.9
    assert np.array_equal(run.trace.spikes["n"], wanted.trace.spikes["n"])
    other = network.with_rules(reset_timing=ResetTiming.BEFORE_DECAY)
    at_once = run_float(other, x, record=("spikes",))
    assert at_once.trace is not None
    assert not np.array_equal(at_once.trace.spikes["n"], wanted.trace.spikes["n"])


FOLDED = ANY.map(lambda one: one.changed(multiple_spikes=False, late_spikes=False)).filter(
    lambda one: one.reset_timing is not ResetTiming.ONCE
)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(NEURONS), FOLDED, st.integers(0, 2**20))
def test_lowered_numbers_give_the_same_spikes(kind: str, semantics: Semantics, seed: int) -> None:
    """The chip's step u <- keep_u u + a, v <- keep_v v + u + bias, in floats, as `run_float`."""
    if kind != "IF" and semantics.reset_timing is ResetTiming.AFTER_DECAY:
        semantics = semantics.changed(reset=Reset.ZERO)  # the others are rewritten first
    rng, size = np.random.default_rng(seed), 3
    node = neuron(kind, rng, size)
    for name in ("tau", "tau_syn", "tau_mem", "v_threshold", "v_leak"):
        if hasattr(node, name):
            setattr(node, name, np.full(size, getattr(node, name)[0]))
    node.v_reset = np.zeros(size)
    bias = 0 if kind == "CubaLIF" else rng.normal(size=size)
    nodes = {"fc": affine(rng.normal(size=(size, 2)), bias), "n": node}
    source = Input("input", (2,), Coding.GRADED, -(2**20), 2**20, 2.0**16)
    network = replace(chain(nodes, source, steps=STEPS), semantics=semantics)
    x = rng.normal(0.5, 1, (STEPS, 1, 2))
    run = run_float(network, x, record=("spikes",))
    assert run.trace is not None

    lowered = lower(network)
    (part,), (connection,) = lowered.populations, lowered.connections
    assert part.threshold is not None
    u, v = np.zeros(size), np.full(size, part.start)
    for step in range(STEPS):
        u = part.keep_u * u + connection.weight @ x[step, 0]
        v = part.keep_v * v + u + part.bias
        fired = v > part.threshold if lowered.strict else v >= part.threshold
        assert run.trace.spikes["n"][step, 0].tolist() == fired.tolist()
        v = np.where(fired, v - part.threshold if lowered.reset is Reset.SUBTRACT else 0, v)


@pytest.mark.parametrize("keep", [0.5, 1.0])
def test_a_start_value_becomes_that_of_the_chip(keep: float) -> None:
    node = leaky((2,), 0.5)
    node.v_leak = np.full(2, 0.75)
    network = chain({"fc": affine(np.eye(2)), "n": node}, spikes_in(2), start="v_leak")
    made = quantized(network, np.ones((2, 2))).network
    (part,) = made.populations
    assert part.v_init == round(64 * part.scale * 0.75)
    uneven = leaky((2,), 0.5)
    uneven.v_leak = np.array([0.0, 0.75])
    network = chain({"fc": affine(np.eye(2)), "n": uneven}, spikes_in(2), start="v_leak")
    made = quantized(network, np.ones((2, 2))).network
    starts = [made.by_name[name].v_init / 64 / made.by_name[name].scale for name in ("n_1", "n_2")]
    assert starts == pytest.approx([0, 0.75], abs=1 / 64)


@pytest.mark.parametrize("loop_delay", [1, 3])
def test_a_loop_delay_becomes_the_delay_of_a_connection(loop_delay: int) -> None:
    rng = np.random.default_rng(0)
    node = nir.IF(np.ones(3), np.ones(3))
    semantics = Semantics(loop_delay=loop_delay, loop_bias=True)
    lowered = lower(loop(node, rng.normal(size=(3, 3)), np.ones(3), semantics))
    delays = {one.source: one.delay for one in lowered.connections}
    assert delays == {"input": 0, "n": loop_delay}
    assert not lowered.notes
    other = lower(loop(node, rng.normal(size=(3, 3)), np.ones(3), DEFAULTS))
    assert "its bias acts from the first step on" in other.notes[0]
