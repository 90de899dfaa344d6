"""A stream that was ended resumes from its file as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeport.errors import InputError, OutputError
from spikeport.network import save_network
from spikeport.runs import StreamState, load_state, save_state
from spikeport.runs.stream_file import FORMAT
from spikeport.runs.stream_state import VARIABLES
from spikeport.simulators import Stream, run_reference
from spikeport.storage import read_tensors, write_tensors
from tests.helpers.networks import ALL, digits_like
from tests.helpers.strategies import networks, samples_for
from tests.helpers.streams import assert_one_long_run, chunk_of, far_delays


def assert_same(a: StreamState, b: StreamState) -> None:
    assert (a.network_hash, a.samples, a.step) == (b.network_hash, b.samples, b.step)
    for variable in VARIABLES:
        one, other = a[variable], b[variable]
        assert one.keys() == other.keys()
        for name, array in one.items():
            assert array.dtype == other[name].dtype
            np.testing.assert_array_equal(array, other[name])


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_stream_resumes_from_its_file(data: st.DataObject, tmp_path: Path) -> None:
    network = data.draw(networks()).replace(steps=8)
    samples = data.draw(samples_for(network))
    whole = run_reference(network, samples, record=ALL)
    cut = data.draw(st.integers(1, 7))
    stream = Stream(network, whole.samples)
    first = stream.push(chunk_of(network, samples, range(cut)), steps=cut, record=ALL)
    save_state(stream.state, tmp_path / "state")
    state = load_state(tmp_path / "state", network)
    assert_same(state, stream.state)
    assert not any(array.flags.writeable for array in state.v.values())
    rest = chunk_of(network, samples, range(cut, 8))
    second = Stream(network, state=state).push(rest, steps=8 - cut, record=ALL)
    assert_one_long_run([first, second], whole, network)


CHILD = """
import sys
import numpy as np
from spikeport.network.file import load_network
from spikeport.simulators.stream import Stream
from spikeport.runs.stream_file import save_state
folder = sys.argv[1]
network = load_network(f"{folder}/network.spikeport")
samples = dict(np.load(f"{folder}/samples.npz"))
stream = Stream(network, 3, threads=1)
for step in range(150):
    stream.push({name: values[step : step + 1] for name, values in samples.items()})
    save_state(stream.state, f"{folder}/state")
"""


def test_a_killed_stream_resumes(tmp_path: Path) -> None:
    network, samples = far_delays()
    path = tmp_path / "state"
    save_network(network, tmp_path / "network.spikeport")
    events, sound, drive = (samples[name] for name in ("events", "sound", "drive"))
    np.savez(tmp_path / "samples.npz", events=events, sound=sound, drive=drive)
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)])
    try:
        limit = time.monotonic() + 60
        while time.monotonic() < limit and child.poll() is None:
            if path.exists() and load_state(path, network).step > 70:
                break
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    state = load_state(path, network)
    assert 70 < state.step <= 150
    stream = Stream(network, state=state)
    if state.step < 150:
        stream.push(chunk_of(network, samples, range(state.step, 150)))
    unbroken = Stream(network, 3)
    unbroken.push(samples)
    assert_same(stream.state, unbroken.state)


def saved(path: Path) -> tuple[Any, StreamState]:
    network, samples = far_delays()
    stream = Stream(network, 3)
    stream.push(chunk_of(network, samples, range(70)))
    save_state(stream.state, path)
    return network, stream.state


def test_every_truncation_of_a_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.state"
    network, _ = saved(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 397):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.state: not a Spikeport stream state file"):
            load_state(path, network)


def test_any_damage_to_a_state_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.state"
    network, state = saved(path)
    whole = path.read_bytes()

    @settings(deadline=None, max_examples=200)
    @given(
        changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=20),
        within=st.sampled_from([1000, len(whole)]),
    )
    def check(changes: list[tuple[float, int]], within: int) -> None:
        data = bytearray(whole)
        for place, value in changes:
            data[int(place * (within - 1))] = value
        path.write_bytes(bytes(data))
        with suppress(InputError):  # Anything else, another state included, fails the test.
            assert_same(load_state(path, network), state)

    check()


def test_foreign_states_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.state"
    network, state = saved(path)
    with pytest.raises(InputError, match=r"a\.state: stream state: is of network"):
        load_state(path, digits_like()[0])
    save_state(dataclasses.replace(state, step=3), path)
    with pytest.raises(InputError, match=r"a\.state: stream state: sent of .* before step 0"):
        load_state(path, network)
    save_state(dataclasses.replace(state, u={**state.u, "x": state.u["late"]}), path)
    with pytest.raises(InputError, match=r"a\.state: stream state: u of 'x' is unknown"):
        load_state(path, network)
    save_state(state, path)
    header, arrays = read_tensors(path, FORMAT)
    more = {"state": {**header["state"], "more": 1}, "content_hash": header["content_hash"]}
    write_tensors(path, FORMAT, more, arrays)
    with pytest.raises(InputError, match=r"bad header .*state has .*'more'"):
        load_state(path, network)
    save_network(network, path)
    with pytest.raises(InputError, match="is a safetensors file, but not a Spikeport stream state"):
        load_state(path, network)
    with pytest.raises(InputError, match="no such file"):
        load_state(tmp_path / "nothing", network)


@pytest.mark.parametrize(
    ("header", "arrays", "message"),
    [
        ({"version": 2}, {}, "format version 2, this Spikeport reads 1"),
        ({}, {}, "bad header"),
        ({"state": 3}, {}, "bad header"),
        ({"state": {"network_hash": "", "samples": 1, "step": 0}}, {"w.x": 1}, "bad header"),
        ({"state": {"network_hash": "", "samples": 1, "step": 0}}, {"u.x": 1}, "it was changed"),
    ],
)
def test_headers_that_say_something_else(
    header: dict[str, Any], arrays: dict[str, int], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.state"
    text = json.dumps({"format": "spikeport.stream", "version": 1, **header})
    tensors = {name: np.full(3, value) for name, value in arrays.items()}
    path.write_bytes(safetensors.numpy.save(tensors, metadata={"spikeport": text}))
    with pytest.raises(InputError, match=message):
        load_state(path, far_delays()[0])


def test_a_state_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.state"
    network, state = saved(path)
    with pytest.raises(OutputError, match="cannot be written"):
        save_state(state, tmp_path / "missing" / "a.state")
    assert_same(load_state(path, network), state)
