"""A stream in chunks is one long run in every number, however it is cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.network import (
    BiasInjection,
    Coding,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    ReadoutKind,
    Reset,
)
from spikeport.runs import RECORDABLE, EventCounts, Probe, RecordSpec, Run, StreamState
from spikeport.runs.stream_state import VARIABLES
from spikeport.simulators import Stream, run_reference
from tests.strategies import networks, samples_for
from tests.test_native import ALL, digits_like

Arrays = Mapping[str, NDArray[Any]]


def cuts(total: int, places: set[int]) -> list[range]:
    ends = sorted({place for place in places if 0 < place < total} | {0, total})
    return [range(first, stop) for first, stop in pairwise(ends)]


def chunk_of(network: DeployedNetwork, samples: Arrays, steps: range) -> dict[str, Any]:
    """The values of `steps`: (B, *shape) where they are static."""
    return {
        part.name: samples[part.name]
        if samples[part.name].ndim == 1 + len(part.shape)
        else samples[part.name][steps.start : steps.stop]
        for part in network.inputs
    }


def assert_one_long_run(runs: list[Run], whole: Run, network: DeployedNetwork) -> None:
    assert [run.network_hash for run in runs] == [network.content_hash] * len(runs)
    assert sum(run.steps for run in runs) == whole.steps
    for readout in network.readouts:
        scores = [run.scores[readout.population] for run in runs]
        got = sum(scores) if readout.kind is ReadoutKind.SPIKES else scores[-1]
        np.testing.assert_array_equal(got, whole.scores[readout.population])
    for name, fired in whole.spike_counts.items():
        np.testing.assert_array_equal(sum(run.spike_counts[name] for run in runs), fired)
    assert whole.counts is not None
    for field in dataclasses.fields(EventCounts):
        expected = getattr(whole.counts, field.name)
        parts = [getattr(run.counts, field.name) for run in runs]
        if field.name == "samples":
            assert set(parts) == {expected}
        elif field.name == "steps":
            assert sum(parts) == expected
        else:
            assert {n: sum(part[n] for part in parts) for n in expected} == expected, field.name
    assert whole.trace is not None
    for variable in RECORDABLE:
        for name, values in getattr(whole.trace, variable).items():
            parts = [getattr(run.trace, variable)[name] for run in runs]
            np.testing.assert_array_equal(np.concatenate(parts), values)


@settings(
    deadline=None,
    max_examples=200,
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


def far_delays() -> tuple[DeployedNetwork, dict[str, NDArray[Any]]]:
    """Delays up to 62 from spikes, graded values and a population to itself and others."""
    rng = np.random.default_rng(8)

    def even(*shape: int) -> NDArray[np.int16]:
        return rng.integers(-60, 60, shape, np.int16) * np.int16(2)

    network = DeployedNetwork(
        inputs=(
            Input("events", (2, 3, 3)),
            Input("sound", (6,), Coding.GRADED, -100, 100),
            Input("drive", (12,), Coding.BIAS, -200, 200),
        ),
        populations=(
            Population("early", (12,), vth=300, decay_u=2048, decay_v=300, v_init=-500),
            Population("late", (2, 2, 2), vth=200, decay_v=100, reset=Reset.SUBTRACT),
        ),
        connections=(
            Dense("events", "early", even(12, 18), delay=62, name="after_62"),
            Dense("events", "early", even(12, 18), delay=3, name="after_3"),
            Dense("sound", "early", even(12, 6), delay=61, exponent=-5, name="after_61"),
            Dense("sound", "late", even(8, 6), exponent=-4, name="at_once"),
            Dense("early", "early", even(12, 12), delay=62, name="loop"),
            Dense("early", "late", even(8, 12), delay=40, name="forward"),
            Dense("late", "early", even(12, 8), delay=1, name="back"),
            BiasInjection("drive", "early"),
        ),
        readouts=(Readout("late"), Readout("early", ReadoutKind.MEMBRANE)),
        steps=4,
    )
    total, count = 150, 3
    events = rng.random((total, count, 2, 3, 3)) < 0.1
    samples: dict[str, NDArray[Any]] = {
        "events": events.astype(np.uint8),
        "sound": rng.integers(-100, 101, (total, count, 6)),
        "drive": rng.integers(-200, 201, (total, count, 12)),
    }
    return network, samples


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
    with pytest.raises(InputError, match="'nobody' is no population"):
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
        (lambda c: c["events"], None, "one array given, the network has inputs"),
        (lambda c: c | {"other": c["sound"]}, None, "'other' is no input of the network"),
        (
            lambda c: {n: a[0] for n, a in c.items()},
            None,
            r"input 'drive' has shape \(3, 12\), read as \(B, 12\) for every step; give "
            r"\(T, B, 12\) or say how many steps",
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
def test_states_that_are_none(variable: str, name: str, array: Any, message: str) -> None:
    network, samples = far_delays()
    stream = Stream(network, 3)
    stream.push(chunk_of(network, samples, range(10)))
    with pytest.raises(InputError, match=f"stream state: .*{message}"):
        Stream(network, state=with_array(stream.state, variable, name, array))
