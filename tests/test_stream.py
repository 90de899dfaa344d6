"""A stream in chunks is one long run in every number, however it is cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.network import Coding, Dense, DeployedNetwork, Input, Population, Readout
from spikeport.runs import Probe, RecordSpec, Run, SampleSet, StreamState
from spikeport.runs.stream_state import VARIABLES
from spikeport.simulators import Stream, run_native, run_reference
from tests.helpers.effort import examples
from tests.helpers.networks import ALL, digits_like
from tests.helpers.run_comparison import assert_equal_runs
from tests.helpers.strategies import networks, samples_for
from tests.helpers.streams import assert_one_long_run, chunk_of, far_delays


def cuts(total: int, places: set[int]) -> list[range]:
    ends = sorted({place for place in places if 0 < place < total} | {0, total})
    return [range(first, stop) for first, stop in pairwise(ends)]


@settings(
    deadline=None,
    max_examples=examples(200),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data(), threads=st.sampled_from([1, 2]), memory=st.sampled_from([1, 500, 2**20]))
def test_any_cutting_is_one_long_run(data: st.DataObject, threads: int, memory: int) -> None:
    network = data.draw(networks())
    total = data.draw(st.integers(1, 12))
    long = network.replace(steps=total)
    samples = data.draw(samples_for(long))
    whole = run_reference(long, samples, record=ALL)
    stream = Stream(network, whole.samples, threads=threads, memory_bytes=memory)
    runs = []
    for steps in cuts(total, data.draw(st.sets(st.integers(1, 11)))):
        chunk = chunk_of(network, samples, steps)
        for part in network.inputs:  # what is static may as well be said step by step
            if chunk[part.name].ndim == 1 + len(part.shape) and data.draw(st.booleans()):
                chunk[part.name] = np.stack([chunk[part.name]] * len(steps))
        runs.append(stream.push(chunk, steps=len(steps), record=ALL))
    assert stream.state.step == total
    assert_one_long_run(runs, whole, network)


@settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data(), threads=st.sampled_from([1, 2]))
def test_steps_of_two_streams_and_runs_of_their_network_in_turn(
    data: st.DataObject, threads: int
) -> None:
    """Buffers are used again: nothing of the one is left for the other, recorded or not."""
    network = data.draw(networks(adaptive=data.draw(st.booleans())))
    total = data.draw(st.integers(1, 8))
    long = network.replace(steps=total)
    given = [data.draw(samples_for(long)) for _ in range(2)]
    wholes = [run_reference(long, samples, record=ALL) for samples in given]
    streams = [Stream(network, whole.samples, threads=threads) for whole in wholes]
    runs: list[list[Run]] = [[], []]
    between = SampleSet(
        {
            part.name: np.full((3, *part.shape), part.high if part.high else part.low)
            for part in network.inputs
        }
    )
    other = run_reference(network, between)
    for t in range(total):
        for i in (0, 1):
            chunk = chunk_of(network, given[i], range(t, t + 1))
            runs[i].append(streams[i].push(chunk, steps=1, record=ALL if i else ()))
        assert_equal_runs(run_native(network, between, threads=threads), other)
    for i, whole in enumerate(wholes):
        assert_one_long_run(runs[i], whole, network, traced=bool(i))
        assert whole.trace is not None
        for variable in ("u", "v"):
            for name, values in streams[i].state[variable].items():
                np.testing.assert_array_equal(values, whole.trace[variable][name][-1])


def test_binary_digits_that_arrive_in_a_later_chunk_are_counted_each() -> None:
    x = Input("x", (2,), Coding.BINARY, 0, 7)
    weight = np.full((1, 2), 2, np.int16)
    network = DeployedNetwork(
        (x,),
        (Population("a", (1,), vth=9),),
        (Dense("x", "a", weight, delay=1),),
        (Readout("a"),),
        1,
    )
    stream = Stream(network, 1)
    first, second = (stream.push(np.array([[[7, 3]]])), stream.push(np.array([[[0, 0]]])))
    found = [run.counts.messages["x_to_a"] for run in (first, second) if run.counts is not None]
    assert found == [0, 5]


@pytest.mark.parametrize(
    "places", [set(range(150)), {1, 2, 64, 65, 128}, {62}, set(range(0, 150, 7)), set()]
)
def test_delays_cross_chunks_shorter_and_longer_than_they_are(places: set[int]) -> None:
    network, samples = far_delays()
    whole = run_reference(network.replace(steps=150), samples, record=ALL)
    assert whole.counts is not None
    assert min(whole.counts.spikes.values()) > 100
    stream = Stream(network, 3)
    runs = [
        stream.push(chunk_of(network, samples, steps), record=ALL) for steps in cuts(150, places)
    ]
    assert_one_long_run(runs, whole, network)


@pytest.mark.parametrize("name", ["events", "sound"])
def test_static_and_timed_chunks_follow_each_other(name: str) -> None:
    """What a static chunk presented is still under way in the next one, and the reverse."""
    network, samples = far_delays()
    held = dict(samples)
    for steps in (range(20, 70), range(100, 103)):
        held[name] = np.array(held[name])
        held[name][steps] = held[name][steps.start]
    whole = run_reference(network.replace(steps=150), held, record=ALL)
    stream, runs = Stream(network, 3), []
    for steps in cuts(150, {20, 70, 100, 103}):
        chunk = chunk_of(network, held, steps)
        if steps.start in (20, 100):
            chunk[name] = held[name][steps.start]
        runs.append(stream.push(chunk, record=ALL))
    assert_one_long_run(runs, whole, network)


def test_a_state_is_a_value_to_go_on_from_again() -> None:
    network, samples = far_delays()
    stream = Stream(network, 3)
    stream.push(chunk_of(network, samples, range(70)))
    kept = stream.state
    first = stream.push(chunk_of(network, samples, range(70, 90)), record=ALL)
    assert (kept.step, stream.state.step) == (70, 90)
    again = Stream(network, state=kept).push(chunk_of(network, samples, range(70, 90)), record=ALL)
    assert again.counts == first.counts
    for name in network.by_name:
        np.testing.assert_array_equal(again.trace.v[name], first.trace.v[name])  # type: ignore[union-attr]
    for state in (Stream(network, 3).state, kept):
        for array in (state.u["early"], state.v["late"], state.sent["events"]):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 1


def test_a_chunk_that_fails_changes_nothing() -> None:
    network, samples = far_delays()
    stream = Stream(network, 3)
    stream.push(chunk_of(network, samples, range(5)))
    before = stream.state
    chunk = chunk_of(network, samples, range(5, 9))
    with pytest.raises(InputError, match=r"must lie in 0\.\.1"):
        stream.push(chunk | {"events": chunk["events"] + 1})
    with pytest.raises(InputError, match="'nobody' is not a population"):
        stream.push(chunk, record=(Probe("nobody"),))
    assert stream.state is before


def test_probes_narrow_the_trace_of_a_chunk() -> None:
    network, samples = far_delays()
    record: RecordSpec = (Probe("late", ("v",), (1, 6)),)
    run = Stream(network, 3).push(chunk_of(network, samples, range(9)), record=record)
    assert run.trace is not None
    assert {name: v.shape for name, v in run.trace.v.items()} == {"late": (9, 3, 2)}
    assert Stream(network, 3).push(chunk_of(network, samples, range(9))).trace is None


@pytest.mark.parametrize(
    ("change", "steps", "message"),
    [
        (lambda c: c, 5, "steps of the chunk differ: steps 5, input 'drive' 4, input 'events' 4"),
        (lambda c: c | {"sound": c["sound"][1:]}, None, "input 'events' 4, input 'sound' 3; must"),
        (lambda c: {n: a[:0] for n, a in c.items()}, None, "steps of the chunk is 0, must lie in"),
        (lambda c: {n: a[0] for n, a in c.items()}, 0, "steps of the chunk is 0, must lie in 1"),
        (lambda c: {n: a[:, :2] for n, a in c.items()}, None, "2 samples, the stream runs 3"),
        (lambda c: {"events": c["events"]}, None, "input 'drive' is missing"),
        (lambda c: c["events"], None, "got a single array, but the network has inputs"),
        (lambda c: c | {"other": c["sound"]}, None, "'other' is not an input of the network"),
        (
            lambda c: {n: a[0] for n, a in c.items()},
            None,
            r"input 'drive' has shape \(3, 12\), read as \(B, 12\) for every step; give "
            r"\(T, B, 12\) or specify the number of steps",
        ),
        (
            lambda c: {n: a[0, 0] for n, a in c.items()},
            None,
            r"input 'drive': samples have shape \(12,\), must be \(B, 12\) or \(T, B, 12\)",
        ),
    ],
)
def test_chunks_that_do_not_fit(change: Any, steps: int | None, message: str) -> None:
    network, samples = far_delays()
    chunk = chunk_of(network, samples, range(4))
    with pytest.raises(InputError, match=message):
        Stream(network, 3).push(change(chunk), steps=steps)


def test_a_stream_has_at_least_one_sample_and_a_state_of_its_network() -> None:
    network, _ = far_delays()
    with pytest.raises(InputError, match=r"stream: samples is 0, must lie in 1\.\."):
        Stream(network, 0)
    other = Stream(digits_like()[0]).state
    with pytest.raises(InputError, match="stream state: is of network"):
        Stream(network, state=other)


def with_array(state: StreamState, variable: str, name: str, array: Any) -> StreamState:
    tables = {key: dict(state[key]) for key in VARIABLES}
    tables[variable].pop(name, None)
    if array is not None:
        tables[variable][name] = array
    return state.with_tables(tables)


@pytest.mark.parametrize(
    ("variable", "name", "array", "message"),
    [
        ("u", "early", None, "u of 'early' is missing"),
        ("v", "nobody", np.zeros((3, 12), np.int32), "v of 'nobody' is unknown to the network"),
        ("sent", "drive", np.zeros((1, 3, 12), np.int32), "sent of 'drive' is unknown"),
        ("u", "early", np.zeros((2, 12), np.int32), r"int32 \(2, 12\), must be int32 \(3, 12\)"),
        ("u", "early", np.zeros((3, 12)), r"u of 'early' is float64 \(3, 12\), must be int32"),
        ("v", "late", np.full((3, 2, 2, 2), 2**23, np.int32), "v of 'late' spans 8388608"),
        ("sent", "late", np.full((1, 3, 2, 2, 2), 2, np.uint8), r"spans 2..2, must lie in 0\.\.1"),
        ("sent", "sound", np.full((61, 3, 6), 101, np.int32), r"101, must lie in -100\.\.100"),
        ("sent", "events", np.ones((62, 3, 2, 3, 3), np.uint8), "messages from before step 0"),
    ],
)
def test_invalid_states(variable: str, name: str, array: Any, message: str) -> None:
    network, samples = far_delays()
    stream = Stream(network, 3)
    stream.push(chunk_of(network, samples, range(10)))
    with pytest.raises(InputError, match=f"stream state: .*{message}"):
        Stream(network, state=with_array(stream.state, variable, name, array))
