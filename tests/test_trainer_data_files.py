"""Published image files: read back byte for byte; damaged, hostile and missing ones."""

from __future__ import annotations

import contextlib
import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spikeport.errors import InputError
from spikeport.network import Coding, Input
from spikeport.runs import encode_samples
from spikeport.trainer import DataConfig, load_dataset
from spikeport.trainer.data.files import read_cifar, read_idx
from spikeport.trainer.data.folder import FolderImages, decode
from spikeport.trainer.data.pixels import PixelGrid, Pixels
from tests.helpers.data_files import idx_bytes, random_bytes, write_cifar, write_idx_set


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files_are_read_byte_for_byte(tmp_path: Path, name: str, packed: bool) -> None:
    images, labels = random_bytes(8, 5, 4), random_bytes(8, top=10)
    write_idx_set(tmp_path / name, images, labels, packed=packed)
    data = load_dataset(DataConfig(name, folder=str(tmp_path)))
    assert isinstance(data.train_x, Pixels)
    np.testing.assert_array_equal(data.train_x.codes[:, 0], images[:4])
    np.testing.assert_array_equal(data.test_y, labels[4:])
    assert data.input == Input("input", (1, 5, 4), Coding.GRADED, 0, 255, scale=255.0)
    assert (data.name, data.classes) == (name, 10)
    integers = encode_samples([data.input], 1, data.test_x)["input"]
    np.testing.assert_array_equal(integers[:, 0], images[4:])


@given(st.binary(max_size=40), st.integers(1, 3))
def test_no_bytes_break_the_idx_reader(tmp_path_factory: Any, data: bytes, dims: int) -> None:
    path = tmp_path_factory.mktemp("idx") / "file"
    for content in (data, bytes((0, 0, 8, dims)) + data):
        path.write_bytes(content)
        with contextlib.suppress(InputError):
            assert idx_bytes(read_idx(path, dims)) == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing, an IDX file of bytes in 3 dimensions begins with 00000803"),
        (idx_bytes(random_bytes(3)), "begins with 00000801"),
        (idx_bytes(random_bytes(2, 2, 2))[:10], "ends within its header of 16 bytes"),
        (idx_bytes(random_bytes(2, 2, 2))[:-1], "8 bytes, but contains only 7"),
        (idx_bytes(random_bytes(2, 2, 2)) + b"x", "8 bytes, but contains more"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 2**31), "the limit is 4294967296"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**10, 2**10, 2**10), "but contains only 0"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_idx_files(tmp_path: Path, content: bytes, message: str, packed: bool) -> None:
    path = tmp_path / ("file.gz" if packed else "file")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(InputError, match=message):
        read_idx(path, 3)


def test_damaged_compression_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    whole = gzip.compress(idx_bytes(random_bytes(50, 9, 9)))
    for content in (whole[:-30], b"not gzip", whole[:40] + b"\xff" * 20 + whole[60:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.gz: "):
            read_idx(path, 3)
    with pytest.raises(InputError, match="gone: cannot be read: No such file"):
        read_idx(tmp_path / "gone", 3)


def test_a_compressed_file_is_not_inflated_beyond_what_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(idx_bytes(random_bytes(1, 2, 2)) + bytes(2**27)))
    with pytest.raises(InputError, match=r"declares .* 4 bytes, but contains more"):
        read_idx(path, 3)


def test_cifar_files_are_read_byte_for_byte(tmp_path: Path) -> None:
    images, labels = random_bytes(12, 3, 32, 32), random_bytes(12, top=10)
    home = tmp_path / "cifar-10-batches-bin"
    for number in range(1, 6):
        chosen = slice(2 * number - 2, 2 * number)
        write_cifar(home / f"data_batch_{number}.bin", images[chosen], labels[chosen])
    write_cifar(home / "test_batch.bin", images[10:], labels[10:])
    data = load_dataset(DataConfig("cifar10", folder=str(tmp_path)))
    assert isinstance(data.train_x, Pixels)
    np.testing.assert_array_equal(data.train_x.codes, images[:10])
    np.testing.assert_array_equal(data.train_y, labels[:10])
    np.testing.assert_array_equal(np.asarray(data.test_x), images[10:] / np.float32(255))
    (home / "data_batch_3.bin").unlink()
    fewer = load_dataset(DataConfig("cifar10", folder=str(tmp_path), train_samples=3))
    np.testing.assert_array_equal(fewer.train_y, labels[:3])
    assert fewer.fingerprint != data.fingerprint
    with pytest.raises(InputError, match=r"data_batch_3\.bin: cannot be read: No such file"):
        load_dataset(DataConfig("cifar10", folder=str(tmp_path), train_samples=5))


def test_of_two_label_bytes_the_fine_one_counts(tmp_path: Path) -> None:
    images, fine = random_bytes(6, 3, 32, 32), random_bytes(6, top=100)
    home = tmp_path / "cifar-100-binary"
    write_cifar(home / "train.bin", images[:4], fine[:4] // 5, fine[:4])
    write_cifar(home / "test.bin", images[4:], fine[4:] // 5, fine[4:])
    data = load_dataset(DataConfig("cifar100", folder=str(tmp_path)))
    np.testing.assert_array_equal(data.train_y, fine[:4])
    np.testing.assert_array_equal(data.train_x[:], images[:4] / np.float32(255))
    assert data.classes == 100


def test_damaged_cifar_files(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for content, message in (
        (b"", "has 0 bytes, must be a whole number of records of 3073"),
        (bytes(3072), "has 3072 bytes, must be a whole number"),
        (bytes(3073) + bytes([10]) + bytes(3072), "record 1 has label 10, must lie in 0..9"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_cifar(path)


def test_what_is_missing_is_said_with_the_expected_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError) as raised:
        load_dataset(DataConfig("mnist", folder=str(tmp_path)))
    text = str(raised.value)
    assert f"{tmp_path}/mnist, {tmp_path}/MNIST/raw" in text
    assert "nothing is downloaded: put the published files there" in text
    monkeypatch.setenv("SPIKEPORT_DATA", str(tmp_path / "env"))
    with pytest.raises(InputError, match="env/data/cifar-10-batches-bin; nothing"):
        load_dataset("cifar10")
    with pytest.raises(InputError, match=r"'mnits': not a known name .* did you mean 'mnist'"):
        load_dataset("mnits")
    write_idx_set(tmp_path / "env/data/MNIST/raw", random_bytes(4, 3, 3), random_bytes(4, top=10))
    assert len(load_dataset("mnist").train_x) == 2


@pytest.mark.parametrize("levels", [2, 16, 255, 256])
def test_fewer_grey_levels_are_exactly_the_integers_of_the_chip(levels: int) -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(4, 1, 8, 8)
    grid = PixelGrid(levels)
    x = Pixels(codes, grid.table(1))
    integers = encode_samples([grid.input((1, 8, 8))], 1, x)["input"]
    np.testing.assert_array_equal(integers, np.rint(codes * ((levels - 1) / 255)))
    np.testing.assert_array_equal(x[:], integers.astype(np.float32) / np.float32(levels - 1))


CIFAR10 = PixelGrid(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))


def test_normalised_images_are_on_the_grid_of_the_chip() -> None:
    codes = random_bytes(2, 3, 6, 6)
    x, input = Pixels(codes, CIFAR10.table(3)), CIFAR10.input((3, 6, 6))
    mean, std = (np.array(v).reshape(3, 1, 1) for v in (CIFAR10.mean, CIFAR10.std))
    np.testing.assert_allclose(x[:], (codes / 255 - mean) / std, atol=0.5 / 64 + 1e-6)
    integers = encode_samples([input], 1, x)["input"]
    np.testing.assert_array_equal(integers / np.float32(64), x[:])
    assert input.low < 0 < input.high


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": 1}, "data: levels is 1"),
        ({"levels": 4, "mean": [0.5], "std": [0.5]}, "levels is 4, cannot be combined with mean"),
        ({"mean": [0.5]}, "mean has 1 and std 0 channels"),
        ({"mean": [0.5], "std": [0.0]}, "std is .*0.0.*, must be positive"),
        ({"mean": [float("nan")], "std": [1.0]}, "mean is .*nan.*, must be finite"),
        ({"mean": [0.5] * 3, "std": [0.5] * 3}, "have 3 channels, the images have 1"),
        ({"train_samples": 3}, "train_samples is 3, data set 'mnist' has 2 to train on"),
        ({"train_samples": -1}, "train_samples is -1"),
        ({"test": 1.0}, "data: test is 1.0, must lie between 0 and 1"),
        ({"coding": "bias"}, "coding is 'bias', must be 'graded' or 'spikes'"),
        ({"slicing": "space"}, "slicing is 'space', must be one of 'time', 'count'"),
    ],
)
def test_wrong_settings_are_one_clear_error(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_idx_set(tmp_path / "mnist", random_bytes(4, 3, 3), random_bytes(4, top=10))
    with pytest.raises(InputError, match=message):
        load_dataset(DataConfig("mnist", folder=str(tmp_path), **changes))


def write_images(root: Path) -> None:
    for part, names in (("train", ("cat", "dog")), ("val", ("dog",))):
        for name in names:
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(3):
                image = Image.fromarray(random_bytes(40 + number, 60, 3))
                image.save(folder / f"{number}.{'png' if number else 'JPEG'}")


def test_folders_of_images_are_read_when_needed(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    data = load_dataset(DataConfig(str(tmp_path), size=16))
    assert isinstance(data.train_x, FolderImages)
    assert data.train_x.files[:2] == ("train/cat/0.JPEG", "train/cat/1.png")
    assert data.train_y.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.test_y.tolist() == [1, 1, 1]
    x = data.train_x[1:3]
    assert x.shape == (2, 3, 16, 16)
    # The shorter side of 41 x 60 becomes 18, of which the middle 16 stay: a box of 36.4.
    with Image.open(tmp_path / "train/cat/1.png") as image:
        side = 41 * 16 / 18
        box = ((60 - side) / 2, (41 - side) / 2, (60 + side) / 2, (41 + side) / 2)
        expected = image.resize((16, 16), Image.Resampling.BILINEAR, box=box)
    np.testing.assert_array_equal(x[0] * 255, np.asarray(expected).transpose(2, 0, 1))
    fingerprint = data.fingerprint
    os.rename(tmp_path / "train/cat/0.JPEG", tmp_path / "train/cat/9.JPEG")
    assert load_dataset(DataConfig(str(tmp_path), size=16)).fingerprint != fingerprint


def test_file_names_that_are_not_utf8(tmp_path: Path) -> None:
    write_images(tmp_path)
    before = load_dataset(DataConfig(str(tmp_path), size=8)).fingerprint
    first = sorted((tmp_path / "train").rglob("*.*"))[0]
    first.rename(first.with_name(f"\udcff{first.suffix}"))
    assert load_dataset(DataConfig(str(tmp_path), size=8)).fingerprint != before


def test_random_parts_follow_from_seed_epoch_and_sample(tmp_path: Path) -> None:
    write_images(tmp_path)
    x = load_dataset(DataConfig(str(tmp_path), size=12)).train_x
    assert isinstance(x, FolderImages)
    all_, some = np.arange(6), np.array([4, 1])
    first = x.raw(all_, (0, 3))
    np.testing.assert_array_equal(x.raw(some, (0, 3)), first[some])
    assert not np.array_equal(x.raw(all_, (0, 4)), first)
    assert not np.array_equal(x.raw(all_, (1, 3)), first)
    assert not np.array_equal(x.raw(all_), first)


def test_random_parts_have_the_published_sizes() -> None:
    from spikeport.trainer.data.folder import _random_part

    image = Image.new("RGB", (240, 200))
    boxes = np.array([_random_part(image, np.random.default_rng(i)) for i in range(400)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 240).all()
    assert (boxes[:, 3] <= 200).all()
    area = width * height / 48000
    assert 0.07 < area.min() < 0.12
    assert area.max() > 0.85
    assert 0.72 < (width / height).min() < 0.8
    assert 1.25 < (width / height).max() < 1.37


def test_faults_of_image_folders(tmp_path: Path) -> None:
    write_images(tmp_path)
    with pytest.raises(InputError, match="images in folders need `size`"):
        load_dataset(str(tmp_path))
    broken = tmp_path / "train/cat/1.png"
    for content in (broken.read_bytes()[:200], b"text"):
        broken.write_bytes(content)
        with pytest.raises(InputError, match=r"cat/1\.png: is missing or not a readable image"):
            decode(broken, 8, None)
    (tmp_path / "val" / "cow").mkdir()
    with pytest.raises(InputError, match="val/cow: class is not one of those in train"):
        load_dataset(DataConfig(str(tmp_path), size=8))
    with pytest.raises(InputError, match=r"must contain folders train/CLASS and val/CLASS"):
        load_dataset(DataConfig(str(tmp_path / "train"), size=8))


SHARED = os.environ.get("SPIKEPORT_DATA")


@pytest.mark.data
@pytest.mark.skipif(SHARED is None, reason="SPIKEPORT_DATA names no data folder")
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_images_survive_their_published_format(tmp_path: Path, name: str) -> None:
    packed = load_dataset(name)
    assert packed.name == name
    assert isinstance(packed.train_x, Pixels)
    assert packed.train_x.shape == (60000, 1, 28, 28)
    assert isinstance(packed.test_x, Pixels)
    images, labels = packed.test_x.codes[:400, 0], packed.test_y[:400].astype(np.uint8)
    write_idx_set(tmp_path / name, images, labels, packed=True)
    data = load_dataset(DataConfig(name, folder=str(tmp_path)))
    np.testing.assert_array_equal(data.train_x[:], packed.test_x[:200])
    np.testing.assert_array_equal(data.test_y, packed.test_y[200:400])
