"""Adaptive-threshold neurons: the equations, every simulator, every file, and who refuses them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport import check
from spikeport.backends.lava import run_many
from spikeport.backends.lava.environment import lava_python
from spikeport.backends.lava.schedule import obstacles
from spikeport.energy import estimate_energy, load_profile
from spikeport.errors import InputError
from spikeport.export import write_nir_file
from spikeport.network import (
    LOIHI,
    ATRLIFPopulation,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    load_network,
    save_network,
)
from spikeport.runs import (
    Probe,
    Trace,
    everything,
    load_state,
    merge_runs,
    parse_probe,
    save_state,
)
from spikeport.simulators import (
    Stream,
    check_neurons,
    run_native,
    run_reference,
    sample_probes,
)
from spikeport.traces import compare_files, compare_runs, read_trace
from spikeport.trainer.chip import QATNetwork
from spikeport.trainer.measure import evaluate_deployed
from spikeport.workflow import record_trace
from tests.helpers.command import call
from tests.helpers.effort import examples
from tests.helpers.lava import needs_lava
from tests.helpers.run_comparison import assert_equal_runs
from tests.helpers.strategies import networks, samples_for

DECAYS = ("decay_u", "decay_v", "decay_theta", "decay_r")
INT32 = st.integers(-(2**31), 2**31 - 1)
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def example(**changes: Any) -> DeployedNetwork:
    """Adaptive neurons between an input and LIF neurons, with a recurrent connection."""
    rng = np.random.default_rng(3)
    recurrent = 2 * rng.integers(-20, 20, (8, 8), np.int16)
    fields = {"theta_0": 60, "theta_step": 20, "decay_v": 300, "decay_theta": 200, "decay_r": 500}
    return DeployedNetwork(
        (Input("x", (6,)),),
        (
            ATRLIFPopulation("adaptive", (2, 4), **(fields | changes)),
            Population("out", (3,), vth=90, decay_v=200),
        ),
        (
            Dense("x", "adaptive", 2 * rng.integers(-20, 60, (8, 6), np.int16)),
            Dense("adaptive", "adaptive", recurrent, delay=2, name="again"),
            Dense("adaptive", "out", 2 * rng.integers(-20, 50, (3, 8), np.int16)),
        ),
        (Readout("out"),),
        steps=12,
    )


def spikes(network: DeployedNetwork, count: int = 3) -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    return (rng.random((network.steps, count, *network.inputs[0].shape)) < 0.4).astype(np.uint8)


def test_the_equations_by_hand() -> None:
    part = ATRLIFPopulation(
        "p", (1,), theta_0=10, theta_step=2, decay_v=2048, decay_theta=1024, decay_r=2048
    )
    state = tuple(register.initial for register in part.registers(LOIHI))
    assert state == (0, 0, 640, 0)
    # v = 64 a = 640, equal to theta: a spike. r = 2 * 640, theta = 640 + 128; v stays.
    state, spike = part.step(state, 10, 0, LOIHI)
    assert (state, spike) == ((640, 640, 768, 1280), True)
    # v = 320 + 640 = 960, r = 640, theta = 640 + 3/4 * 128: 960 - 640 < 736.
    state, spike = part.step(state, 10, 0, LOIHI)
    assert (state, spike) == ((640, 960, 736, 640), False)
    # v = 480 - 64, r = 320, theta = 640 + 3/4 * 96; decays round toward zero.
    state, spike = part.step(state, -1, 0, LOIHI)
    assert (state, spike) == ((-64, 416, 712, 320), False)
    assert part.step((0, -3, 640 + 3, -3), 0, 0, LOIHI)[0] == (0, -1, 642, -1)


def test_the_refractory_state_and_the_threshold_wrap_like_int32() -> None:
    part = ATRLIFPopulation("p", (1,), theta_0=0, theta_step=4095)
    top = 2**31 - 1
    # v - r = 8388607 - (-2^31) wraps below zero, so that no spike comes of it.
    assert part.step((0, 2**23 - 1, 5, -(2**31)), 0, 0, LOIHI) == (
        (0, 2**23 - 1, 5, -(2**31)),
        False,
    )
    # theta - base = -2^31 - 64 wraps before it decays.
    raised = ATRLIFPopulation("p", (1,), theta_0=1, decay_theta=2048)
    assert raised.step((0, 0, -(2**31), -(2**30) - 99), 0, 0, LOIHI)[0][2] == 2**30 + 32
    # r + 2 theta and theta + step wrap.
    state, spike = part.step((0, 10, -top, top), 0, 0, LOIHI)
    assert spike
    assert state == (0, 10, -top + (4095 << 6), top - 2 * top + 2**32 - 2**32)


@pytest.mark.parametrize(
    ("state", "received", "bias", "base", "moves"),
    [
        ((0, 0, 640, 0), 0, 0, 10, False),
        ((0, 0, 641, 0), 0, 0, 10, True),
        ((0, 0, 640, 1), 0, 0, 10, True),
        ((0, 1, 640, 0), 0, 0, 10, True),
        ((0, 0, 640, 0), 1, 0, 10, True),
        ((0, 0, 640, 0), 0, 1, 10, True),
        ((0, 0, 0, 0), 0, 0, 0, True),
    ],
)
def test_updates_are_steps_in_which_something_may_move(
    state: tuple[int, ...], received: int, bias: int, base: int, moves: bool
) -> None:
    part = ATRLIFPopulation("p", (1,), theta_0=base, theta_step=3)
    assert part.may_move(state, received, bias, LOIHI) is moves
    if not moves:
        assert part.step(state, received, bias, LOIHI) == (state, False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"theta_0": 4096}, r"population 'p': theta_0 is 4096, must lie in 0..4095"),
        ({"theta_step": -1}, r"population 'p': theta_step is -1, must lie in 0..4095"),
        ({"decay_theta": 4097}, r"population 'p': decay_theta is 4097, must lie in 0..4096"),
        ({"decay_r": 4097}, r"population 'p': decay_r is 4097, must lie in 0..4096"),
        ({"decay_r": 0.5}, r"population 'p': decay_r is 0.5, must be an integer"),
        ({"bias": 4096}, r"population 'p': bias mantissa 4096 must lie in -4096..4095"),
    ],
)
def test_a_field_out_of_range_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ATRLIFPopulation("p", (2,), **({"theta_0": 5} | fields))


def test_every_field_has_its_whole_range_and_no_more() -> None:
    for name, (low, high) in ATRLIFPopulation.ranges(LOIHI).items():
        for end in (low, high):
            fields: dict[str, Any] = {"theta_0": 5, name: end}
            assert getattr(ATRLIFPopulation("p", (2,), **fields), name) == end
        for beyond in (low - 1, high + 1):
            fields = {"theta_0": 5, name: beyond}
            with pytest.raises(InputError, match=f"{name} is {beyond}, must lie in {low}..{high}"):
                ATRLIFPopulation("p", (2,), **fields)


@settings(deadline=None, max_examples=30, suppress_health_check=SLOW)
@given(st.data())
def test_native_is_the_reference(data: st.DataObject) -> None:
    network = data.draw(networks(adaptive=True, max_steps=40))
    samples = data.draw(samples_for(network))
    record = everything(network)
    assert record == ("spikes", "u", "v", "theta", "r")
    expected = run_reference(network, samples, record=record)
    found = run_native(network, samples, record=record)
    assert_equal_runs(found, expected)
    assert found.trace is not None
    replayed = run_native(network, samples, recorded=found.trace.spikes)
    assert replayed.counts == expected.counts


@settings(deadline=None, max_examples=40, suppress_health_check=SLOW)
@given(
    st.data(),
    st.lists(st.tuples(INT32, st.integers(-(2**23) + 1, 2**23 - 1), INT32, INT32), min_size=1),
)
def test_the_compiled_step_is_the_specification_from_any_state(
    data: st.DataObject, states: list[tuple[int, ...]]
) -> None:
    decay, mantissa = st.integers(0, 4096), st.integers(0, 4095)
    fields: dict[str, Any] = {name: data.draw(decay) for name in DECAYS}
    part = ATRLIFPopulation(
        "p",
        (len(states),),
        theta_0=data.draw(mantissa),
        theta_step=data.draw(mantissa),
        bias=np.array(data.draw(st.integers(-4096, 4095))),
        bias_exponent=data.draw(st.integers(0, 7)),
        **fields,
    )
    low, high = -(2**22), 2**22
    network = DeployedNetwork(
        (Input("x", (1,), "graded", low, high),),  # type: ignore[arg-type]
        (part,),
        (Dense("x", "p", np.full((len(states), 1), 255), 7),),
        (Readout("p"),),
        steps=1,
    )
    sent = data.draw(st.integers(low, high))
    stream = Stream(network)
    columns = np.array(states, np.int64).T.astype(np.int32)[:, None]
    tables = {
        **stream.state.tables,
        **{v.name: {"p": values} for v, values in zip(part.STATE, columns, strict=True)},
    }
    stream = Stream(network, state=stream.state.with_tables(tables))
    run = stream.push(np.full((1, 1), sent), steps=1, record=everything(network))
    received = ((255 * sent << 7) + 2**31) % 2**32 - 2**31
    bias = int(part.bias_current[0])
    expected = [part.step(state, received, bias, LOIHI) for state in states]
    assert run.trace is not None
    for k, variable in enumerate(part.STATE):
        assert run.trace[variable.name]["p"].ravel().tolist() == [s[k] for s, _ in expected]
    assert run.trace.spikes["p"].ravel().tolist() == [spike for _, spike in expected]
    assert run.counts is not None
    assert run.counts.updates["p"] == sum(part.may_move(s, received, bias, LOIHI) for s in states)


@needs_lava
@settings(
    deadline=None,
    max_examples=examples(3),
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(st.data())
def test_lava_is_native(data: st.DataObject) -> None:
    cases: list[tuple[DeployedNetwork, dict[str, NDArray[Any]]]] = []
    while len(cases) < 12:
        network = data.draw(networks(adaptive=True, max_steps=40))
        if not list(obstacles(network)):
            cases.append((network, data.draw(samples_for(network))))
    record = ("spikes", "u", "v", "theta", "r")
    for (network, samples), run in zip(cases, run_many(cases, record=record), strict=True):
        assert_equal_runs(run, run_native(network, samples, record=record))


MODEL = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from worker.fixes import import_lava
import_lava()
from lava.proc.atrlif.models import PyATRLIFModelFixed
given = np.load(sys.argv[2])
model = PyATRLIFModelFixed.__new__(PyATRLIFModelFixed)
model.ds_offset, model.iv_bitwidth, model.max_iv_val = 1, 24, 2**23
model.decay_shift, model.decay_unity, model.theta_unity, model.act_unity = 12, 4096, 64, 64
model.i, model.v, model.theta, model.r = (x.copy() for x in given["states"])
for name, value in zip(("i", "v", "theta", "r"), given["deltas"]):
    setattr(model, "delta_" + name, value)
model.theta_0, model.theta_step = (np.int32(x) * 64 for x in given["thetas"])
model.effective_bias = given["bias"]
with np.errstate(over="ignore"):
    model.subthr_dynamics(given["received"])
    s = (model.v - model.r) >= model.theta
    model.post_spike(s)
np.savez(sys.argv[3], states=np.stack([model.i, model.v, model.theta, model.r]), spikes=s)
"""


@needs_lava
def test_the_step_is_that_of_lavas_own_model_from_any_state(tmp_path: Path) -> None:
    """What no network reaches: every wrap of int32, compared with Lava's methods themselves."""
    rng = np.random.default_rng(8)
    size = 4000
    extreme = rng.choice([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1], (4, size))
    states = np.where(
        rng.random((4, size)) < 0.3, extreme, rng.integers(-(2**31), 2**31, (4, size))
    )
    states[1] = np.clip(states[1], -(2**23) + 1, 2**23 - 1)
    received, bias = rng.integers(-(2**31), 2**31, size), rng.integers(-(2**19), 2**19, size)
    for decays in ((1, 0, 0, 0), (4096, 4096, 4096, 4096), (0, 7, 4095, 1), (900, 300, 2048, 11)):
        fields: dict[str, Any] = dict(zip(DECAYS, decays, strict=True))
        part = ATRLIFPopulation("p", (1,), 3000, 4095, **fields)
        deltas = np.array([decays[0] - 1, *decays[1:]]) / 4096
        given, made = tmp_path / "given.npz", tmp_path / "made.npz"
        np.savez(
            given,
            states=states.astype(np.int32),
            deltas=deltas,
            thetas=np.array([3000, 4095]),
            received=received.astype(np.int32),
            bias=bias.astype(np.int32),
        )
        folder = Path(__file__).parent.parent / "backends" / "lava"
        command = [str(lava_python()), "-c", MODEL, str(folder), str(given), str(made)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        expected = [
            part.step(tuple(state), a, b, LOIHI)
            for state, a, b in zip(states.T.tolist(), received.tolist(), bias.tolist(), strict=True)
        ]
        with np.load(made) as found:
            assert found["states"].T.tolist() == [list(state) for state, _ in expected]
            assert found["spikes"].tolist() == [spike for _, spike in expected]


@settings(deadline=None, max_examples=40, suppress_health_check=SLOW)
@given(st.data())
def test_a_stream_in_chunks_is_one_long_run(data: st.DataObject) -> None:
    network = data.draw(networks(adaptive=True, max_steps=20))
    x = {
        part.name: np.broadcast_to(values, (network.steps, *values.shape))
        if (values := samples[part.name]).ndim == 1 + len(part.shape)
        else values
        for samples in [data.draw(samples_for(network))]
        for part in network.inputs
    }
    record = everything(network)
    whole = run_reference(network, x, record=record)
    place = data.draw(st.integers(0, network.steps))
    stream = Stream(network, next(iter(x.values())).shape[1])
    traces = []
    for part in (slice(0, place), slice(place, network.steps)):
        if part.stop > part.start:
            run = stream.push({name: values[part] for name, values in x.items()}, record=record)
            traces.append(run.trace)
    assert whole.trace is not None
    for variable, table in whole.trace.tables.items():
        for name, values in table.items():
            parts = [trace[variable][name] for trace in traces if trace is not None]
            np.testing.assert_array_equal(np.concatenate(parts), values)


def test_a_variable_that_no_neuron_has_is_refused_by_name() -> None:
    trace, state = Trace(u={}), Stream(example(), 1).state
    assert trace["theta"] == trace["v_charged"] == {}
    for arrays, known in ((trace, "spikes, u, v, v_charged, "), (state, "u, v, rest, sent, ")):
        with pytest.raises(InputError, match=rf"^variable 'w' is unknown, must be one of {known}"):
            arrays["w"]


def test_a_stream_state_keeps_threshold_and_refractory_state(tmp_path: Path) -> None:
    network = example()
    x = spikes(network)
    stream = Stream(network, 3)
    stream.push(x[:5])
    state = stream.state
    assert state.further.keys() == {"theta", "r"}
    assert state["theta"].keys() == {"adaptive"}
    save_state(state, tmp_path / "s")
    back = load_state(tmp_path / "s", network)
    assert back.tables.keys() == state.tables.keys()
    for variable, table in state.tables.items():
        for name, values in table.items():
            np.testing.assert_array_equal(back[variable][name], values, strict=True)
    rest = Stream(network, state=back).push(x[5:], record="theta")
    whole = run_native(network, x, record="theta")
    assert rest.trace is not None
    assert whole.trace is not None
    np.testing.assert_array_equal(
        rest.trace["theta"]["adaptive"], whole.trace["theta"]["adaptive"][5:]
    )
    assert rest.trace["theta"]["adaptive"].std() > 0
    with pytest.raises(InputError, match="stream state: theta of 'adaptive' is missing"):
        Stream(network, state=state.with_tables({**state.tables, "theta": {}}))


def test_probes_and_trace_files_hold_every_state_variable(tmp_path: Path) -> None:
    network = example()
    x = spikes(network)
    run = run_native(network, x, record=everything(network))
    record_trace(tmp_path / "a.h5", network, x, chunk=2)
    header, trace = read_trace(tmp_path / "a.h5")
    assert ("theta", "adaptive") in header.recorded
    assert ("theta", "out") not in header.recorded
    assert_equal_runs(dataclasses.replace(run, trace=trace), run)
    record_trace(tmp_path / "b.h5", network, x, record=[parse_probe("adaptive:r,theta:1,3-5")])
    _, some = read_trace(tmp_path / "b.h5")
    assert run.trace is not None
    for variable in ("r", "theta"):
        expected = run.trace[variable]["adaptive"].reshape(12, 3, 8)[..., [1, 3, 4, 5]]
        np.testing.assert_array_equal(some[variable]["adaptive"], expected)
    whole = run_native(network, x, record=Probe("adaptive")).trace
    assert whole is not None
    assert [name for name, table in whole.tables.items() if table] == [
        "spikes",
        "u",
        "v",
        "theta",
        "r",
    ]
    parts = [run_native(network, x[:, i : i + 1], record=everything(network)) for i in range(3)]
    assert_equal_runs(merge_runs(parts), run)


def test_what_a_population_does_not_have_cannot_be_recorded() -> None:
    network = example()
    with pytest.raises(InputError, match="'out' has LIF neurons, of which only spikes, u, v can"):
        run_native(network, spikes(network), record=Probe("out", ("theta",)))
    plain = DeployedNetwork(
        network.inputs,
        (network.by_name["out"],),
        (Dense("x", "out", np.ones((3, 6), np.int16)),),
        network.readouts,
        steps=3,
    )
    with pytest.raises(
        InputError, match="no population of the network has theta, only spikes, u, v"
    ):
        run_native(plain, spikes(plain), record="theta")
    with pytest.raises(InputError, match="'rest' cannot be recorded, only spikes, u, v, theta, r"):
        run_native(plain, spikes(plain), record="rest")


def test_the_first_divergence_may_be_a_threshold(tmp_path: Path) -> None:
    network, x = example(), spikes(example())
    other = example(theta_step=21)
    record = everything(network)
    one = run_native(network, x, record=record)
    two = dataclasses.replace(run_native(other, x, record=record), network_hash=one.network_hash)
    found = compare_runs(one, two, network.order).first
    assert found is not None
    assert (found.population, found.variable) == ("adaptive", "theta")
    # A spike raised it by theta_step << 6 in that very step.
    assert found.values[1] - found.values[0] == 64
    for path, source in ((tmp_path / "1.h5", network), (tmp_path / "2.h5", network)):
        record_trace(path, source, x)
    totals = compare_files(tmp_path / "1.h5", tmp_path / "2.h5").totals
    assert {(t.population, t.variable) for t in totals} == {
        *(("adaptive", name) for name in record),
        *(("out", name) for name in ("spikes", "u", "v")),
    }


def test_neurons_of_a_large_network_are_checked_with_their_whole_state() -> None:
    network, x = example(), spikes(example())
    run = run_native(network, x, record=sample_probes(network, 2))
    found = check_neurons(network, x, run)
    assert found.equal
    assert {t.variable for t in found.totals if t.population == "adaptive"} == set(
        everything(network)
    )
    assert run.trace is not None
    damaged = {name: dict(table) for name, table in run.trace.tables.items()}
    damaged["theta"]["adaptive"] = damaged["theta"]["adaptive"] + 1
    changed = dataclasses.replace(run, trace=type(run.trace).of(damaged, run.trace.neurons))
    first = check_neurons(network, x, changed).first
    assert first is not None
    assert first.variable == "theta"


def test_network_files_and_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = example(v_init=7, bias=np.arange(8).reshape(2, 4), bias_exponent=3)
    save_network(network, tmp_path / "n.spikeport")
    again = load_network(tmp_path / "n.spikeport")
    assert again == network
    assert again.content_hash == network.content_hash != example().content_hash
    assert call(["inspect", str(tmp_path / "n.spikeport"), "--json"]) == 0
    kinds = {p["name"]: p["type"] for p in json.loads(capsys.readouterr().out)["populations"]}
    assert kinds == {"adaptive": "ATRLIFPopulation", "out": "Population"}
    assert call(["inspect", str(tmp_path / "n.spikeport")]) == 0
    out = capsys.readouterr().out
    for word in ("Populations of ATRLIF neurons", "Populations of LIF neurons", "theta 0", "0..7"):
        assert word in out, word


def test_updates_are_counted_and_priced() -> None:
    """A silent network of neurons at rest updates nothing; one raised threshold is updated."""
    network = example()
    quiet = np.zeros_like(spikes(network))
    counts = run_native(network, quiet).counts
    assert counts is not None
    assert counts.updates == {"adaptive": 0, "out": 0}
    x = quiet.copy()
    x[5, 0] = 1
    run = run_native(network, x)
    assert run.counts == run_reference(network, x).counts
    assert run.counts is not None
    assert 0 < run.counts.updates["adaptive"] <= 7 * 8
    report = estimate_energy(network, run.counts, load_profile("loihi1"))
    term = next(term for term in report.terms if term.name == "neuron updates")
    assert term.events is not None
    assert term.events.nominal == run.counts.total("updates")


def test_what_targets_say() -> None:
    by_name = {found.target: found for found in check(example(v_init=3))}
    lava, one, two = (by_name[name] for name in ("lava", "loihi1", "loihi2"))
    assert lava.runs
    constructs = {gap.construct for gap in lava.unsupported if gap.part == "population 'adaptive'"}
    assert constructs == {"state at a sample's start zeroed", "v_init 3"}
    assert not one.runs
    assert (
        "population 'adaptive': neurons ATRLIF (limit: LIF); use LIF neurons: the chip's cannot be "
        "programmed"
    ) in map(str, one.unsupported)
    assert two.runs
    assert any(gap.construct == "neurons ATRLIF" for gap in two.unsupported)


def test_training_torch_and_nir_refuse_them_by_name(tmp_path: Path) -> None:
    network = DeployedNetwork(
        (Input("x", (3,)),),
        (ATRLIFPopulation("adaptive", (2,), theta_0=5),),
        (Dense("x", "adaptive", np.ones((2, 3), np.int16)),),
        (Readout("adaptive"),),
        steps=3,
    )
    with pytest.raises(InputError, match="population 'adaptive': neurons are ATRLIF, must be LIF"):
        QATNetwork(network)
    refusal = "population 'adaptive' has ATRLIF neurons, in {} they must be LIF"
    with pytest.raises(InputError, match=refusal.format("torch")):
        evaluate_deployed(network, np.ones((1, 3), np.int64))
    with pytest.raises(InputError, match=refusal.format("a float view")):
        write_nir_file(network, tmp_path / "n.nir")
    assert not list(tmp_path.iterdir())
