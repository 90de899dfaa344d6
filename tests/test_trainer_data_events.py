"""Events: counted into frames, from files of one's own and through tonic's readers."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeport.errors import BackendUnavailableError, InputError
from spikeport.network import Coding, Input
from spikeport.runs import encode_samples
from spikeport.trainer import DataConfig, load_dataset
from spikeport.trainer.data.dataset import SampleArray, hold_out
from spikeport.trainer.data.events import Binning, Recording, Slicing, bin_recordings
from spikeport.trainer.data.frames import Frames
from tests.helpers.data_files import SENSOR, recording, write_events


def frame_of(events: Recording, i: int, binning: Binning) -> int:
    t = [int(value) for value in events.t]
    if binning.window_us:
        return (t[i] - t[0]) // binning.window_us
    if binning.slicing is Slicing.COUNT:
        return i * binning.steps // len(t)
    return (t[i] - t[0]) * binning.steps // (t[-1] - t[0] + 1)


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 60),
    steps=st.integers(1, 7),
    slicing=st.sampled_from(Slicing),
    window=st.sampled_from([0, 0, 30, 5000]),
    size=st.sampled_from([0, 2, 3, 8]),
    coding=st.sampled_from([Coding.GRADED, Coding.SPIKES]),
)
def test_every_event_is_counted_once_in_its_place(
    seed: int, count: int, steps: int, slicing: Slicing, window: int, size: int, coding: Coding
) -> None:
    binning = Binning(steps, slicing, window, size, coding)
    events = recording(seed, count)
    assert events.y is not None
    assert events.p is not None
    height, width = (size or 4), (size or 6)
    expected = np.zeros((steps, 2, height, width), int)
    for i in range(count):
        frame = frame_of(events, i, binning)
        if frame < steps:
            y, x = int(events.y[i]) * height // 4, int(events.x[i]) * width // 6
            expected[frame, int(events.p[i]), y, x] += 1
    found = bin_recordings("set", [events], 1, SENSOR, binning)
    cap = 1 if coding is Coding.SPIKES else 255
    np.testing.assert_array_equal(found.values[0], np.minimum(expected, cap))
    np.testing.assert_array_equal(found[:], found.values.swapaxes(0, 1))


def test_many_events_in_one_place_are_capped_not_wrapped() -> None:
    same = np.zeros(300, np.uint8)
    events = Recording(same, same, same, same.astype(np.uint32))
    found = bin_recordings("set", [events], 1, SENSOR, Binning(1))
    assert found.values.max() == 255


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.array([0, 6])}, "set: recording 0: x is 6, must lie in 0..5"),
        ({"p": np.array([-1, 0])}, "set: recording 0: p is -1, must lie in 0..1"),
        ({"t": np.array([5, 4])}, "set: recording 0: event 1 is earlier than the previous one"),
    ],
)
def test_wrong_events_are_refused(change: dict[str, Any], message: str) -> None:
    two = np.array([0, 1])
    events = Recording(**{**dict.fromkeys("xypt", two), **change})
    with pytest.raises(InputError, match=message):
        bin_recordings("set", [events], 1, SENSOR, Binning(2))


@given(
    seed=st.integers(0, 2**32 - 1),
    shift=st.sampled_from([-(2**40), -1, 0, 5, 1_732_000_000_000_000]),
    window=st.sampled_from([0, 30, 5000]),
    slicing=st.sampled_from(Slicing),
)
def test_time_counts_from_the_first_event(
    seed: int, shift: int, window: int, slicing: Slicing
) -> None:
    """Neither the clock nor the type of its values changes the frames."""
    events, binning = recording(seed, 40), Binning(5, slicing, window)
    t = events.t.astype(np.int64) + shift
    moved = Recording(events.x, events.y, events.p, t.astype(np.uint64) if shift >= 0 else t)
    expected = bin_recordings("set", [events], 1, SENSOR, binning)
    found = bin_recordings("set", [moved], 1, SENSOR, binning)
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.values.any()


def test_unix_microseconds_keep_every_event(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "own.npz"
    whole = write_events(path)
    for part in ("train", "test"):
        whole[f"{part}_t"] = whole[f"{part}_t"].astype(np.int64) + 1_732_000_000_000_000
    np.savez(path, **whole)
    data = load_dataset(path, 5, window_us=200)
    assert counts(data.train_x).sum() == len(whole["train_t"])
    assert caplog.messages == []


def test_what_falls_outside_of_the_window_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "own.npz"
    whole = write_events(path)
    data = load_dataset(path, 2, window_us=100)
    lines = [line for line in caplog.messages if "are dropped" in line]
    for part, kept, line in zip(("train", "test"), (data.train_x, data.test_x), lines, strict=True):
        total = len(whole[f"{part}_t"])
        late = total - int(counts(kept).sum())
        assert 0 < late < total
        assert f"own.npz: {part}: {late} of {total} events" in line
        assert "T x window_us = 2 x 100 us" in line


def test_recordings_without_events(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "own.npz"
    offsets = np.array([0, 0, 0, *[245] * 8])
    write_events(path, train_offsets=offsets, train_t=np.arange(245))
    load_dataset(path, 5, slicing="count")
    assert "own.npz: train: 9 of 10 recordings contain no event" in caplog.text
    none: dict[str, Any] = {f"train_{name}": np.zeros(0, np.uint8) for name in "xypt"}
    write_events(path, **none, train_offsets=np.zeros(11, int))
    with pytest.raises(InputError, match="train: none of 10 recordings contains an event"):
        load_dataset(path, 5)


def test_times_in_another_unit_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    events = recording(0, 60)
    bin_recordings("set", [events], 1, SENSOR, Binning(10, window_us=100))
    assert caplog.messages == []
    in_ms = Recording(events.x, events.y, events.p, events.t // 1000)
    bin_recordings("set", [in_ms], 1, SENSOR, Binning(10, window_us=100))
    assert "set: the last 9 of 10 frames are empty in every recording" in caplog.text
    caplog.clear()
    in_s = Recording(events.x, events.y, events.p, np.zeros(60, np.uint32))
    bin_recordings("set", [in_s], 1, SENSOR, Binning(10))
    assert "the last 9 of 10 frames are empty" in caplog.text


def test_what_a_frame_cannot_count_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    same = np.zeros(300, np.uint8)
    events = Recording(same, same, same, same.astype(np.uint32))
    bin_recordings("set", [events], 1, SENSOR, Binning(1))
    assert caplog.messages == [
        "set: 45 of 300 events are dropped: a pixel counts at most 255 per frame"
    ]
    caplog.clear()
    bin_recordings("set", [events], 1, SENSOR, Binning(1, coding=Coding.SPIKES))
    assert caplog.messages == []


@pytest.mark.parametrize("t", [[0, 2**50], [-(2**62), 2**62], [0, 2**62]])
def test_recordings_of_years_are_refused(t: list[int]) -> None:
    two = np.array([0, 1])
    events = Recording(two, two, two, np.array(t))
    with pytest.raises(InputError, match="set: recording 0: its 2 events span"):
        bin_recordings("set", [events], 1, SENSOR, Binning(2**16))


def test_frames_beyond_memory_are_refused_before_any_is_made() -> None:
    with pytest.raises(InputError, match="use a smaller `size` or fewer steps"):
        bin_recordings("set", [], 10**6, (2, 1000, 1000), Binning(10))


def test_events_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    write_events(path)
    data = load_dataset(path, 5)
    assert data.input == Input("input", SENSOR, Coding.GRADED, 0, 255, scale=1.0)
    assert isinstance(data.train_x, Frames)
    assert data.train_x.values.shape == (10, 5, *SENSOR)
    expected = bin_recordings("", [recording(12, 22)], 1, SENSOR, Binning(5))
    np.testing.assert_array_equal(data.train_x.values[2], expected.values[0])
    x = data.test_x[:3]
    assert x.shape == (5, 3, *SENSOR)
    np.testing.assert_array_equal(encode_samples([data.input], 5, x)["input"], x)
    spikes = load_dataset(DataConfig(str(path), coding=Coding.SPIKES), 5)
    assert spikes.input == Input("input", SENSOR, Coding.SPIKES, 0, 1, scale=1.0)
    assert data.fingerprint != spikes.fingerprint
    with pytest.raises(InputError, match=r"needs the number of steps \(T\) to count events into"):
        load_dataset(path)


def test_without_a_test_part_a_share_of_each_class_is_held_out(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    write_events(path, test=False, sensor=None)
    data = load_dataset(DataConfig(str(path), test=0.4), 3)
    assert data.train_y.tolist().count(0) == data.train_y.tolist().count(1) == 3
    assert data.test_y.tolist().count(0) == data.test_y.tolist().count(1) == 2
    assert data.input.shape == SENSOR
    other = load_dataset(DataConfig(str(path), test=0.4, split_seed=1), 3)
    assert other.fingerprint != data.fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_t": None}, "has no array 'train_t'"),
        ({"train_x": np.zeros(3, int)}, r"arrays train_x/y/p/t differ in length"),
        ({"train_x": np.zeros(245)}, r"train_x is float64 \(245,\), must be flat integers"),
        ({"train_offsets": np.arange(10)}, "train_offsets has 10 entries for 10 labels"),
        ({"train_offsets": np.arange(11)}, "train_offsets must rise from 0 to 245"),
        ({"sensor": np.array([1, 2])}, r"sensor is \[1 2\], must be"),
        ({"sensor": np.array([2, 4, 5])}, "train: recording 0: x is 5, must lie in 0..4"),
    ],
)
def test_wrong_event_files(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "own.npz"
    write_events(path, **changes)
    with pytest.raises(InputError, match=message):
        load_dataset(path, 4)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=60), st.integers(0, 9))
def test_holding_out_splits_without_loss(labels: list[int], seed: int) -> None:
    y = np.array(labels)
    try:
        kept, held = hold_out(y, 0.25, seed)
    except InputError:
        assert len(y) < 3
        return
    assert sorted([*kept, *held]) == list(range(len(y)))
    assert len(held) == round(0.25 * len(y))
    for label in set(labels):
        share = (y[held] == label).sum() - 0.25 * labels.count(label)
        assert abs(share) < 1 + 1e-9


def missing_tonic(name: str) -> str:
    return f"needs {name}, which is not installed: pip install '.\\[events\\]'"


def bin_file(path: Path, events: list[tuple[int, int, int, int]]) -> None:
    """N-MNIST's own format: x, y, then polarity and 23 bits of microseconds, big-endian."""
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = (bytes((x, y)) + (p << 23 | t).to_bytes(3, "big") for x, y, p, t in events)
    path.write_bytes(b"".join(packed))


NMNIST = [(1, 2, 0, 10), (33, 0, 1, 500), (1, 2, 1, 70000), (5, 33, 0, 300000)]


def write_nmnist(root: Path) -> None:
    for part in ("Train", "Test"):
        for label in (3, 0):
            bin_file(root / f"NMNIST/{part}/{label}/00007.bin", NMNIST[: 2 + bool(label)])


def test_nmnist_through_tonic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tonic")
    monkeypatch.setattr("tonic.dataset.Dataset.download", lambda self: pytest.fail("downloads"))
    write_nmnist(tmp_path)
    config = DataConfig("nmnist", folder=str(tmp_path), window_us=100000)
    data = load_dataset(config, 4)
    assert data.train_y.tolist() == [0, 3]
    assert data.input == Input("input", (2, 34, 34), Coding.GRADED, 0, 255, scale=1.0)
    frames = data.train_x[:]
    assert frames.shape == (4, 2, 2, 34, 34)
    assert frames.sum() == 5
    for t, sample, p, y, x in (
        *((0, 0, 0, 2, 1), (0, 0, 1, 0, 33)),
        *((0, 1, 0, 2, 1), (0, 1, 1, 0, 33), (0, 1, 1, 2, 1)),
    ):
        assert frames[t, sample, p, y, x] == 1
    for hidden in ("NMNIST/Train/0/._00007.bin", "NMNIST/Test/__MACOSX/0/00007.bin"):
        bin_file(tmp_path / hidden, NMNIST)
    again = load_dataset(config, 4)
    assert (again.fingerprint, again.test_y.tolist()) == (data.fingerprint, [0, 3])
    (tmp_path / "NMNIST/Train/0/00007.bin").write_bytes(b"1234567")
    with pytest.raises(InputError, match=r"00007\.bin: cannot be read"):
        load_dataset(config, 4)


def test_dvs_gesture_through_tonic(tmp_path: Path) -> None:
    pytest.importorskip("tonic")
    events = np.array([[3, 4, 1, 10], [127, 0, 0, 20], [3, 4, 1, 39]])  # x, y, p, t in ms
    for part in ("Train", "Test"):
        folder = tmp_path / f"DVSGesture/ibmGesture{part}/user01_fluorescent"
        folder.mkdir(parents=True)
        for label in (2, 10):
            np.save(folder / f"{label}.npy", events)
    data = load_dataset(DataConfig("dvs-gesture", folder=str(tmp_path), size=64), 3)
    assert sorted(data.train_y.tolist()) == [2, 10]
    assert data.classes == 11
    frames = data.train_x[:1]
    assert frames.shape == (3, 1, 2, 64, 64)
    assert np.argwhere(frames).tolist() == [[0, 0, 1, 2, 1], [1, 0, 0, 0, 63], [2, 0, 1, 2, 1]]


STREAM = """<dv version="2.0"><node name="outInfo" path="/outInfo/">
<node name="0" path="/outInfo/0/"><attr key="typeIdentifier" type="string">EVTS</attr>
<attr key="compression" type="string">NONE</attr><node name="info" path="/outInfo/0/info/">
<attr key="sizeX" type="int">128</attr><attr key="sizeY" type="int">128</attr>
</node></node></node></dv>"""


def aedat4_file(path: Path, events: list[tuple[int, int, int, int]]) -> None:
    """An AEDAT4 file of one packet of (t, x, y, on): two FlatBuffers, laid out by hand."""
    text = STREAM.encode()
    head = struct.pack("<I4sHHHHH6x", 24, b"IOHE", 10, 24, 4, 8, 16)  # root, vtable of 3 fields
    head += struct.pack("<iiqII", 16, 0, -1, 8, 0)  # table: no compression, no index, text
    head += struct.pack("<I", len(text)) + text + bytes(4 - len(text) % 4)
    body = struct.pack("<I4sHHH2x", 16, b"EVTS", 6, 8, 4) + struct.pack("<iI4x", 8, 8)
    body += struct.pack("<I", len(events))
    body += b"".join(struct.pack("<qhhB3x", *event) for event in events)
    packet = struct.pack("<I", len(body)) + body
    path.write_bytes(
        b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(head)) + head
        + struct.pack("<ii", 0, len(packet)) + packet
    )  # fmt: skip


def test_cifar10_dvs_through_tonic(tmp_path: Path) -> None:
    pytest.importorskip("tonic")
    pytest.importorskip("aedat")
    for name in ("airplane", "truck"):
        folder = tmp_path / f"CIFAR10DVS/{name}"
        folder.mkdir(parents=True)
        for number in range(5):
            aedat4_file(folder / f"{number}.aedat4", [(10, 3, 4, 1), (20, 127, 0, 0)])
    config = DataConfig("cifar10-dvs", folder=str(tmp_path), test=0.2, size=48, slicing="count")  # type: ignore[arg-type]
    data = load_dataset(config, 2)
    assert data.input.shape == (2, 48, 48)
    assert data.train_y.tolist() == [0] * 4 + [9] * 4
    assert data.test_y.tolist() == [0, 9]
    frames = data.train_x[:1]
    assert np.argwhere(frames).tolist() == [[0, 0, 1, 1, 1], [1, 0, 0, 0, 47]]
    (tmp_path / "CIFAR10DVS/truck/0.aedat4").write_bytes(b"#!AER-DAT4.0\r\n")
    with pytest.raises(InputError, match=r"truck/0\.aedat4: cannot be read"):
        load_dataset(config, 2)


def test_shd_through_tonic(tmp_path: Path) -> None:
    pytest.importorskip("tonic")
    (tmp_path / "SHD").mkdir()
    for part in ("train", "test"):
        with h5py.File(tmp_path / f"SHD/shd_{part}.h5", "w") as file:
            for name, dtype, rows in (
                ("times", np.float16, [[0.1, 0.5], [0.25]]),
                ("units", np.uint16, [[0, 699], [350]]),
            ):
                data = file.create_dataset(f"spikes/{name}", 2, h5py.vlen_dtype(dtype))
                for row, values in enumerate(rows):
                    data[row] = np.array(values, dtype)
            file["labels"] = np.array([4, 19])
            file["extra/keys"] = np.array([b"zero"])
            file["extra/speaker"] = np.array([1, 2])
    config = DataConfig("shd", folder=str(tmp_path), size=70, window_us=200000)
    data = load_dataset(config, 3)
    assert data.input.shape == (70,)
    assert data.train_y.tolist() == [4, 19]
    assert np.argwhere(data.train_x[:]).tolist() == [[0, 0, 0], [0, 1, 35], [2, 0, 69]]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("nmnist", "NMNIST"),
        ("dvs-gesture", "DVSGesture"),
        ("cifar10-dvs", "CIFAR10DVS"),
        ("shd", "SHD"),
    ],
)
def test_missing_event_sets_are_said_with_their_place(
    tmp_path: Path, name: str, place: str
) -> None:
    config = DataConfig(name, folder=str(tmp_path))
    with pytest.raises(InputError, match=f"{place}; nothing is downloaded"):
        load_dataset(config, 4)
    (tmp_path / place).mkdir()
    with pytest.raises(InputError, match=f"no file {tmp_path}/{place}/.*; nothing is downloaded"):
        load_dataset(config, 4)


def test_without_tonic_event_sets_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_nmnist(tmp_path)
    monkeypatch.setitem(sys.modules, "tonic", None)
    monkeypatch.setitem(sys.modules, "tonic.datasets", None)
    with pytest.raises(BackendUnavailableError, match=missing_tonic("tonic")):
        load_dataset(DataConfig("nmnist", folder=str(tmp_path)), 4)


SHARED = os.environ.get("SPIKEPORT_DATA")


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(SHARED is None, reason="SPIKEPORT_DATA names no data folder")
def test_real_recordings_are_split_and_counted_whole() -> None:
    name = "nmnist_train_1000.npz"
    data = load_dataset(DataConfig(name, test=0.2), 10)
    assert (len(data.train_x), len(data.test_x)) == (800, 200)
    assert data.input.shape == (2, 34, 34)
    assert isinstance(data.train_x, Frames)
    with np.load(Path(str(SHARED)) / "data" / name) as file:
        total, offsets = len(file["train_t"]), file["train_offsets"]
        x, y, p, t = (file[f"train_{axis}"] for axis in "xypt")
    counted = sum(int(counts(part).sum()) for part in (data.train_x, data.test_x))
    assert total - counted < 100  # of 4.1 million, those above 255 in one place
    windows = load_dataset(DataConfig(name, test=0.2, window_us=1000), 300)
    first = slice(int(offsets[0]), int(offsets[1]))
    expected = np.zeros((300, 2, 34, 34), int)
    since = t[first] - t[first][0]
    kept = since < 300000
    cells = (axis[kept] for axis in (since // 1000, p[first], y[first], x[first]))
    np.add.at(expected, tuple(cells), 1)
    every = np.concatenate([counts(windows.train_x), counts(windows.test_x)])
    assert sum(np.array_equal(sample, expected) for sample in every) == 1


def counts(x: SampleArray) -> Any:
    assert isinstance(x, Frames)
    return x.values
