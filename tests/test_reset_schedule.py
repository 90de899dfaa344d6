"""Neurons that start afresh within a run: alike everywhere, and samples back to back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeport.backends import run as run_backend
from spikeport.errors import InputError
from spikeport.network import (
    ATRLIFPopulation,
    BiasInjection,
    Coding,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    ReadoutKind,
    Reset,
    save_network,
)
from spikeport.runs import ResetSchedule, encode_samples, everything, select
from spikeport.simulators import Stream, run_native, run_reference
from spikeport.traces import open_trace
from spikeport.trainer.data import load_dataset
from spikeport.workflow import record_trace, run_continuous, run_networks, write_nir
from tests.fuzz.kinds import float_network
from tests.helpers.command import Spikeport
from tests.helpers.effort import examples
from tests.helpers.lava import needs_lava
from tests.helpers.networks import ALL, digits_like
from tests.helpers.run_comparison import assert_equal_runs
from tests.helpers.strategies import networks, samples_for
from tests.helpers.streams import assert_one_long_run, chunk_of

SLOW = settings(
    deadline=None,
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def schedules(draw: st.DrawFn) -> ResetSchedule:
    interval = draw(st.integers(1, 7))
    return ResetSchedule(interval, draw(st.integers(0, interval - 1)))


@SLOW
@given(st.data(), schedules(), st.sampled_from([1, 500, 2**20]), st.booleans())
def test_native_and_streams_equal_the_reference(
    data: st.DataObject, resets: ResetSchedule, memory: int, adaptive: bool
) -> None:
    network = data.draw(networks(max_steps=12, adaptive=adaptive))
    samples = data.draw(samples_for(network))
    whole = run_reference(network, samples, record=everything(network), resets=resets)
    run = run_native(
        network, samples, record=everything(network), memory_bytes=memory, resets=resets
    )
    assert_equal_runs(run, whole)
    assert whole.trace is not None
    replayed = run_native(network, samples, recorded=whole.trace.spikes, resets=resets)
    assert replayed.counts == whole.counts
    stream = Stream(network, whole.samples, resets=resets, memory_bytes=memory)
    cut = data.draw(st.integers(0, network.steps))
    runs = [
        stream.push(chunk_of(network, samples, steps), steps=len(steps), record=ALL)
        for steps in (range(cut), range(cut, network.steps))
        if steps
    ]
    assert_one_long_run(runs, whole, network)


@SLOW
@given(st.data())
def test_without_delays_samples_back_to_back_are_separate_samples(data: st.DataObject) -> None:
    """A reset at the start of each sample, as netx has them, is what a run does for each sample."""
    network = data.draw(networks(feed_forward=True, max_steps=5))
    count = data.draw(st.integers(2, 4))
    (part,) = network.inputs
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    shape = (network.steps, count, *part.shape)
    samples = rng.integers(part.low, part.high, shape, endpoint=True)
    apart = run_native(network, samples, record=("spikes",))
    joined = samples.swapaxes(0, 1).reshape(-1, 1, *part.shape)
    long = network.replace(steps=network.steps * count)
    one = run_native(long, joined, record=("spikes",), resets=ResetSchedule(interval=network.steps))
    assert apart.trace is not None
    assert one.trace is not None
    for name, spikes in apart.trace.spikes.items():
        cut = one.trace.spikes[name].reshape(count, network.steps, *spikes.shape[2:])
        np.testing.assert_array_equal(cut.swapaxes(0, 1), spikes)


def looped() -> DeployedNetwork:
    """With everything that may cross a reset: loops, delays, v_init and refractory neurons."""
    rng = np.random.default_rng(4)

    def even(*shape: int) -> Any:
        return (2 * rng.integers(-40, 60, shape)).astype(np.int16)

    return DeployedNetwork(
        (Input("x", (9,)), Input("drive", (6,), Coding.BIAS, -200, 300)),
        (
            Population("a", (8,), 120, 900, 300, v_init=-500, refractory=2),
            Population("b", (6,), 90, 4096, 100, reset=Reset.SUBTRACT),
            ATRLIFPopulation("c", (5,), theta_0=40, theta_step=9),
        ),
        (
            Dense("x", "a", even(8, 9)),
            Dense("a", "a", even(8, 8), delay=1, name="loop"),
            Dense("a", "b", even(6, 8), delay=3),
            BiasInjection("drive", "b"),
            Dense("b", "c", even(5, 6)),
        ),
        (Readout("c", ReadoutKind.MEMBRANE),),
        13,
    )


@needs_lava
@pytest.mark.parametrize(
    "resets", [ResetSchedule(5), ResetSchedule(4, 3), ResetSchedule(20, 7), ResetSchedule(1)]
)
def test_lava_equals_native(resets: ResetSchedule) -> None:
    network, rng = looped(), np.random.default_rng(1)
    samples = {"x": rng.integers(0, 2, (13, 3, 9)), "drive": rng.integers(-200, 300, (3, 6))}
    native = run_native(network, samples, record=everything(network), resets=resets)
    lava = run_backend("lava", network, samples, record=everything(network), resets=resets)
    assert_equal_runs(lava, native)
    plain = run_native(network, samples)
    assert native.counts is not None
    assert native.counts.spikes != (plain.counts and plain.counts.spikes)


def test_what_a_reset_keeps() -> None:
    """Only the state of neurons; a spike on its way still arrives."""
    network = DeployedNetwork(
        (Input("x", (1,)),),
        (Population("a", (1,), 1, decay_u=0),),
        (Dense("x", "a", np.array([[1]], np.int16), delay=1),),
        (Readout("a", ReadoutKind.MEMBRANE),),
        5,
    )
    x = np.array([1, 1, 0, 0, 0]).reshape(5, 1, 1)
    run = run_native(network, x, record=("u", "v"), resets=ResetSchedule(5, 2))
    assert run.trace is not None
    assert run.trace.u["a"].ravel().tolist() == [0, 64, 64, 64, 64]
    assert run.trace.v["a"].ravel().tolist() == [0, 64, 64, 0, 64]


def test_wrong_schedules() -> None:
    with pytest.raises(InputError, match="reset interval is 0, must lie in 1"):
        ResetSchedule(0)
    with pytest.raises(InputError, match=r"reset offset is 4, must lie in 0\.\.3"):
        ResetSchedule(4, 4)
    with pytest.raises(
        InputError, match="backend 'float' has no reset schedules, must be one of native, "
    ):
        run_backend("float", float_network(), np.zeros((1, 1)), resets=ResetSchedule(2))


@SLOW
@given(st.data(), schedules())
def test_a_continuous_run_is_one_long_sample(data: st.DataObject, resets: ResetSchedule) -> None:
    network = data.draw(networks(max_steps=5, adaptive=data.draw(st.booleans())))
    samples = data.draw(samples_for(network))
    run = run_continuous(network, samples, resets, record=everything(network))
    count, steps = run.samples, run.steps
    stream = Stream(network, resets=resets)
    for sample in range(count):
        chunk = select(network.inputs, samples, slice(sample, sample + 1))
        done = stream.push(chunk, steps=steps, record=ALL)
        assert done.trace is not None
        assert run.trace is not None
        for name, values in done.scores.items():
            np.testing.assert_array_equal(run.scores[name][sample], values[0])
        for variable in ALL:
            for name, values in done.trace[variable].items():
                np.testing.assert_array_equal(run.trace[variable][name][:, sample], values[:, 0])


@needs_lava
def test_a_continuous_run_on_lava() -> None:
    network, rng = looped(), np.random.default_rng(2)
    samples = {"x": rng.integers(0, 2, (13, 4, 9)), "drive": rng.integers(-200, 300, (4, 6))}
    resets = ResetSchedule(13)
    ours = run_continuous(network, samples, resets, record=everything(network))
    theirs = run_continuous(network, samples, resets, record=everything(network), backend="lava")
    assert_equal_runs(theirs, ours)
    assert (ours.samples, ours.steps) == (4, 13)
    assert ours.network_hash == theirs.network_hash == network.content_hash
    apart = run_native(network, samples, record=("spikes",))
    assert apart.trace is not None
    assert ours.trace is not None
    different = [(ours.trace.spikes[n] != apart.trace.spikes[n]).any() for n in network.by_name]
    assert any(different)  # delayed spikes cross the resets


def test_the_command_line_runs_samples_back_to_back(tmp_path: Path, spikeport: Spikeport) -> None:
    path = tmp_path / "d.spikeport"
    network, _ = digits_like()
    save_network(network, path)
    options = ["-n", "5", "--reset-interval", str(network.steps)]
    code, out, err = spikeport("run", str(path), *options, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["samples"], found["steps"]) == (5, network.steps)
    assert found["resets"] == f"every {network.steps} steps, first before step 0"
    data = load_dataset("digits", network.steps)
    x = encode_samples(network.inputs, network.steps, data.test_x[:5], static=True)
    run = run_continuous(network, x, ResetSchedule(network.steps))
    assert found["predictions"] == run.predictions.tolist()
    assert run.counts is not None
    assert found["spikes"] == dict(run.counts.spikes)
    code, out, err = spikeport("compare", str(path), *options, "--reset-offset", "2")
    assert code == 0, err
    assert "identical" in out
    assert f"every {network.steps} steps, first before step 2" in out
    for wrong, message in (
        (["run", str(path), "--reset-offset", "2"], "--reset-offset 2: needs --reset-interval"),
        (["run", str(path), str(path), *options], "--reset-interval 6: needs a single network"),
        (["run", str(path), "--reset-interval", "0"], "reset interval is 0, must lie in"),
        (["compare", "a.h5", "b.h5", "--trace", *options], "6: of no use for trace files"),
    ):
        code, _, err = spikeport(*wrong)
        assert code == 2
        assert message in err.replace(f"-interval {network.steps}", "-interval 6")


def test_a_continuous_run_needs_a_deployed_network(tmp_path: Path, spikeport: Spikeport) -> None:
    write_nir(float_network(), tmp_path / "f.nir")
    code, _, err = spikeport("run", str(tmp_path / "f.nir"), "--reset-interval", "4")
    assert code == 2
    assert "is a float graph; use `spikeport quantize` to deploy it" in err


def test_a_trace_file_states_its_schedule(tmp_path: Path) -> None:
    network, x = digits_like()
    resets = ResetSchedule(2, 1)
    record_trace(tmp_path / "a.h5", network, x, resets=resets, chunk=2)
    run = run_native(network, x, resets=resets, record=("v",))
    assert run.trace is not None
    with open_trace(tmp_path / "a.h5") as file:
        assert file.header.provenance["resets"] == "every 2 steps, first before step 1"
        whole = file.read()
    for name, v in run.trace.v.items():
        np.testing.assert_array_equal(whole.v[name], v)
    record_trace(tmp_path / "b.h5", network, x)
    with open_trace(tmp_path / "b.h5") as file:
        assert "resets" not in file.header.provenance


def test_several_networks_take_a_schedule_but_not_in_shards() -> None:
    network, x = digits_like()
    resets = ResetSchedule(2, 1)
    (run,) = run_networks([(network, x)], resets=resets)
    assert_equal_runs(run, run_native(network, x, resets=resets))
    with pytest.raises(InputError, match=r"resets \(every 2 steps, first before step 1\): shards"):
        run_networks([(network, x)], resets=resets, dask="local")
