"""Images in .npz files: channel layout and full scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeport.errors import InputError
from spikeport.network import Coding, Input
from spikeport.runs import encode_samples
from spikeport.trainer import DataConfig, load_dataset, load_npz
from spikeport.trainer.data.layout import Layout, channels_first
from spikeport.trainer.data.pixels import PixelGrid, Pixels
from tests.helpers.data_files import random_bytes, write_idx_set, write_npz


def images(*shape: int, top: int = 255) -> Any:
    x = np.random.default_rng(0).integers(0, top + 1, shape).astype(np.uint8)
    x.flat[0] = top
    return x


def save(folder: Path, x: Any, y: Any = None, **changes: Any) -> Path:
    y = np.arange(len(x)) % 2 if y is None else y
    return write_npz(folder, x_train=x, y_train=y, x_test=x, y_test=y, **changes)


SIDES = st.integers(5, 40)


@given(st.sampled_from([1, 3, 4]), SIDES, SIDES)
def test_channels_are_found_on_either_side(channels: int, height: int, width: int) -> None:
    x = images(2, channels, height, width)
    np.testing.assert_array_equal(channels_first("x", x, Layout.AUTO), x)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    found = channels_first("x", last, Layout.AUTO)
    np.testing.assert_array_equal(found, x)
    assert found.flags.c_contiguous


@given(st.tuples(*[st.integers(1, 40)] * 3))
def test_no_shape_is_read_as_both(shape: tuple[int, int, int]) -> None:
    """A shape and its reverse are never both channels-last, and a stated layout always holds."""
    x = np.zeros((1, *shape), np.uint8)
    read = {}
    for key, y in (("x", x), ("reversed", x.transpose(0, 3, 2, 1))):
        try:
            read[key] = channels_first("x", y, Layout.AUTO).shape == y.shape
        except InputError:
            continue
    assert read.get("x", True) or read.get("reversed", True)
    assert channels_first("x", x, Layout.CHANNELS_FIRST).shape == x.shape
    assert channels_first("x", x, Layout.CHANNELS_LAST).shape[1:] == (shape[2], *shape[:2])


@pytest.mark.parametrize(
    ("shape", "as_read"),
    [
        ((28, 28, 1), (1, 28, 28)),
        ((16, 16, 3), (3, 16, 16)),
        ((64, 64, 13), (13, 64, 64)),
        ((24, 28, 4), (4, 24, 28)),
        ((1, 28, 28), (1, 28, 28)),
        ((13, 64, 64), (13, 64, 64)),
        ((512, 7, 7), (512, 7, 7)),
        ((2, 34, 34), (2, 34, 34)),
        ((1, 4, 4), (1, 4, 4)),
    ],
)
def test_the_layout_of_a_file(
    tmp_path: Path,
    shape: tuple[int, ...],
    as_read: tuple[int, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = load_dataset(save(tmp_path, images(4, *shape)))
    assert data.input.shape == as_read
    assert data.train_x[:].shape == (4, *as_read)
    assert len(caplog.messages) == (2 if shape != as_read else 0)
    for line in caplog.messages:
        assert f"has shape (4, {', '.join(map(str, shape))}): read as channels-last" in line


@pytest.mark.parametrize("shape", [(3, 32, 3), (16, 16, 16), (64, 4, 4), (60, 80, 13), (1, 28, 1)])
def test_an_ambiguous_layout_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = save(tmp_path, images(4, *shape))
    with pytest.raises(InputError, match=r"images': x_train has shape .* set layout = 'chann"):
        load_dataset(path)
    assert load_dataset(path, layout="channels_first").input.shape == shape
    last = load_dataset(path, layout="channels_last")
    assert last.input.shape == (shape[2], *shape[:2])
    assert load_npz(path, layout=Layout.CHANNELS_LAST).fingerprint == last.fingerprint


def test_channels_last_pixels_stay_in_their_places(tmp_path: Path) -> None:
    x = images(4, 9, 7, 3)
    data = load_dataset(save(tmp_path, x))
    integers = encode_samples([data.input], 1, data.train_x)["input"]
    np.testing.assert_array_equal(integers.transpose(0, 2, 3, 1), x)


@given(
    white=st.integers(1, 255),
    levels=st.sampled_from([2, 16, 255, 256]),
    codes=st.lists(st.integers(0, 255), min_size=1, max_size=20),
)
def test_white_is_one_and_integers_are_exact(white: int, levels: int, codes: list[int]) -> None:
    grid = PixelGrid(levels, full_scale=white)
    p = np.minimum(np.array([[*codes, white]], np.uint8), white)
    x = Pixels(p, grid.table(p.shape[1]))
    top = min(levels - 1, white)
    integers = encode_samples([grid.input(p.shape[1:])], 1, x)["input"]
    np.testing.assert_array_equal(integers, np.rint(p * (top / white)))
    assert x[:].max() == 1
    if white < levels:
        np.testing.assert_array_equal(integers, p)


def test_a_full_scale_of_255_changes_nothing() -> None:
    for levels, mean, std in ((256, (), ()), (16, (), ()), (256, (0.3,), (0.2,))):
        grid, stated = PixelGrid(levels, mean, std), PixelGrid(levels, mean, std, 255)
        np.testing.assert_array_equal(grid.table(1), stated.table(1))
        assert grid.input((1, 2, 2)) == stated.input((1, 2, 2))


@pytest.mark.parametrize("top", [1, 16, 100, 127])
def test_dark_bytes_are_warned_about(
    tmp_path: Path, top: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(tmp_path, images(6, 5, 5, top=top))
    dim = load_dataset(path)
    assert dim.train_x[:].max() == np.float32(top / 255)
    assert [line.split(":")[1].strip() for line in caplog.messages] == ["train_x", "test_x"]
    assert f"the brightest value is {top} of 255" in caplog.text
    assert f"--set data.full_scale={top}" in caplog.text
    caplog.clear()
    data = load_dataset(path, full_scale=top)
    assert caplog.messages == []
    assert data.train_x[:].max() == 1
    assert data.input == Input("input", (1, 5, 5), Coding.GRADED, 0, top, scale=float(top))
    assert data.fingerprint != dim.fingerprint
    assert load_npz(path, PixelGrid(full_scale=top)).fingerprint == data.fingerprint
    load_dataset(path, full_scale=255)  # stated, so no warning
    assert caplog.messages == []


def test_a_test_part_on_another_scale_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_npz(tmp_path, x_test=images(3, 4, 5, top=1))
    load_dataset(path)
    (line,) = caplog.messages
    assert line.startswith("data set 'images': test_x: the brightest value is 1 of 255")
    with pytest.raises(
        InputError, match=r"train_x has the value .* must be at most 1, its full_scale"
    ):
        load_dataset(path, full_scale=1)


def test_bright_and_black_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_dataset(save(tmp_path, images(6, 5, 5, top=128)))
    assert caplog.messages == []
    load_dataset(save(tmp_path, np.zeros((6, 5, 5), np.uint8)))
    assert "train_x: every pixel is 0" in caplog.text
    assert "full_scale" not in caplog.text


def test_idx_files_of_zeros_and_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_idx_set(tmp_path / "mnist", random_bytes(20, 3, 3, top=2), random_bytes(20, top=10))
    config = DataConfig("mnist", folder=str(tmp_path))
    load_dataset(config)
    assert "data set 'mnist': train_x: the brightest value is 1 of 255" in caplog.text
    assert load_dataset(config, full_scale=1).train_x[:].max() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"full_scale": 256}, "full_scale of bytes is 256, must lie in 0..255"),
        ({"full_scale": -1}, "full_scale is -1, must lie in 0..65535"),
        ({"full_scale": 1.5}, "'full_scale' is 1.5: input should be a valid integer"),
        ({"full_scal": 1}, "unknown key 'full_scal'; did you mean 'full_scale'"),
        ({"layout": "last"}, "'layout' is 'last', must be one of 'auto', 'channels_first'"),
        ({"window_us": 5}, "window_us is 5, but data set '.*' does not use it; it uses full_scale"),
        ({"size": 5}, "size is 5, but data set '.*' does not use it"),
        ({"test": 0.5}, "test is 0.5, but data set '.*' does not use it"),
        ({"levels": "many"}, "'levels' is 'many': input should be a valid integer"),
    ],
)
def test_wrong_settings_of_images(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = save(tmp_path, images(6, 5, 5))
    with pytest.raises(InputError, match=message):
        load_dataset(path, **changes)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("digits", {"levels": 4}),
        ("digits", {"test": 0.5}),
        ("mnist", {"window_us": 5}),
        ("mnist", {"split_seed": 1}),
        ("cifar10", {"coding": "spikes"}),
        ("nmnist", {"full_scale": 1}),
        ("shd", {"test": 0.5}),
    ],
)
def test_a_setting_without_an_effect_is_refused(name: str, setting: dict[str, Any]) -> None:
    (key,) = setting
    with pytest.raises(InputError, match=f"data: {key} is .*'{name}' does not use it"):
        load_dataset(name, 4, **setting)


def test_settings_in_python_are_those_of_recipes(tmp_path: Path) -> None:
    path = save(tmp_path, images(10, 5, 5))
    config = DataConfig(str(path), levels=16, train_samples=4, split_seed=3)
    data = load_dataset(path, levels=16, train_samples=4, split_seed=3)
    assert data.fingerprint == load_dataset(config).fingerprint
    assert load_dataset(config, train_samples=0).fingerprint != data.fingerprint
