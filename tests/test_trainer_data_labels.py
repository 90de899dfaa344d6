"""Labels and subsets of data sets: valid labels, and a share of each class to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spikeport.errors import InputError
from spikeport.trainer import DataConfig, load_dataset, load_npz
from spikeport.trainer.data.dataset import share_of_classes
from spikeport.trainer.data.labels import class_count
from tests.helpers.data_files import (
    pixels,
    random_bytes,
    write_cifar,
    write_events,
    write_idx_set,
    write_npz,
)

ODD_LABELS = [
    (np.array([0, -1, 1, 0, 1, 0]), "has label -1, must lie in 0..1 (sample 1)"),
    (np.array([-1, -1, -1, -1, -1, -1]), "has label -1, must lie in 0..0 (sample 0)"),
    (
        np.array([0, 1, 10**6, 0, 1, 0]),
        "has label 1000000 (sample 2), but only 3 of the labels 0..1000000",
    ),
    (np.array([0, 1, 2**63, 0, 1, 0], np.uint64), "has label 9223372036854775808 (sample 2)"),
    (
        np.array([0, 255, 0, 255, 0, 255]),
        "has label 255 (sample 1), but only 2 of the labels 0..255 occur",
    ),
    (np.array([100, 101, 102, 100, 101, 102]), "only 3 of the labels 0..102 occur"),
    (np.array([0, 0.5, 1, 0, 1, 0]), "float64"),
    (np.array([0, np.nan, 1, 0, 1, 0]), "float64"),
    (np.array(list("abcabc")), "<U1"),
    (np.array([True, False] * 3), "bool"),
    (np.eye(6, dtype=int), "shape (6, 6), must be (N,)"),
]


@pytest.mark.parametrize(("labels", "message"), ODD_LABELS)
def test_odd_labels_of_images(tmp_path: Path, labels: Any, message: str) -> None:
    path = write_npz(tmp_path, y_train=labels, y_test=np.array([0, 1, 0]))
    with pytest.raises(InputError) as raised:
        load_npz(path)
    text = str(raised.value)
    assert text.startswith("data set 'images': train_y ")
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize(("labels", "message"), ODD_LABELS)
def test_odd_labels_of_events(tmp_path: Path, labels: Any, message: str, test: bool) -> None:
    path = tmp_path / "own.npz"
    labels = np.concatenate([labels, labels[:4]]) if labels.ndim == 1 else labels
    write_events(path, test=test, train_labels=labels)
    with pytest.raises(InputError) as raised:
        load_dataset(path, 4)
    text = str(raised.value)
    assert "own.npz: train_labels " in text
    assert message.partition(", must be (N,)")[0].removeprefix("shape ") in text
    assert "\n" not in text


@given(st.lists(st.integers(-3, 40), min_size=1, max_size=40))
def test_labels_make_classes_or_one_error(labels: list[int]) -> None:
    try:
        count = class_count("y", np.array(labels))
    except InputError:
        assert min(labels) < 0 or max(labels) + 1 > 2 * len(set(labels))
    else:
        assert min(labels) >= 0
        assert count == max(labels) + 1
        assert count <= 2 * len(set(labels))


def test_classes_without_samples_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_npz(tmp_path, y_train=np.array([1, 2, 4, 1, 2, 4]), y_test=np.array([1, 1, 2]))
    assert load_dataset(path).classes == 5
    assert caplog.messages == [
        "data set 'images': 2 of 5 classes have no training samples: 0, 3",
        "data set 'images': 3 of 5 classes have no test samples: 0, 3, 4",
    ]
    caplog.clear()
    load_npz(path)
    assert len(caplog.messages) == 2
    caplog.clear()
    load_dataset(write_npz(tmp_path))
    assert caplog.messages == []
    load_dataset("digits", train_samples=8)
    (line,) = caplog.messages
    assert line.startswith("data set 'digits': 2 of 10 classes have no training samples: ")


@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=80),
    part=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
    sort=st.booleans(),
)
def test_a_share_of_each_class(labels: list[int], part: float, seed: int, sort: bool) -> None:
    y = np.array(sorted(labels) if sort else labels)
    count = max(1, round(part * len(y)))
    chosen = share_of_classes(y, count, seed)
    assert len(chosen) == count
    assert (np.diff(chosen) > 0).all()
    for label in set(labels):
        exact = count * labels.count(label) / len(y)
        assert abs(int((y[chosen] == label).sum()) - exact) < 1
    np.testing.assert_array_equal(share_of_classes(y, count, seed), chosen)
    if count == len(y):
        np.testing.assert_array_equal(chosen, np.arange(len(y)))


def write_sorted_folder(root: Path, each: int = 40) -> None:
    for part, count in (("train", each), ("val", 1)):
        for name in "abcd":
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                Image.new("L", (4, 4), 255).save(root / part / name / f"{number:02}.png")


def test_a_share_of_each_class_of_a_folder(tmp_path: Path) -> None:
    write_sorted_folder(tmp_path)
    config = DataConfig(str(tmp_path), size=4, train_samples=80)
    data, again = load_dataset(config), load_dataset(config)
    assert np.bincount(data.train_y).tolist() == [20] * 4
    assert data.fingerprint == again.fingerprint
    assert load_dataset(config, split_seed=1).fingerprint != data.fingerprint
    whole = load_dataset(config, train_samples=0)
    assert load_dataset(config, train_samples=160).fingerprint == whole.fingerprint
    assert len(data.test_x) == len(whole.test_x) == 4


def test_a_share_of_each_class_of_every_kind(tmp_path: Path) -> None:
    x, y = pixels(60, 4, 5), np.repeat([0, 1, 2], 20)
    path = write_npz(tmp_path, x_train=x, y_train=y)
    data = load_dataset(path, train_samples=15)
    assert np.bincount(data.train_y).tolist() == [5] * 3
    kept = (data.train_x[:] * 255).round().astype(np.uint8)[:, 0]
    places = [int(np.flatnonzero((x == one).all((1, 2)))[0]) for one in kept]
    assert y[places].tolist() == data.train_y.tolist()
    write_events(tmp_path / "own.npz", train_labels=np.repeat([0, 1], 5))
    events = load_dataset(tmp_path / "own.npz", 3, train_samples=4)
    assert events.train_y.tolist() == [0, 0, 1, 1]
    digits = load_dataset("digits", train_samples=100)
    assert np.bincount(digits.train_y).tolist() == [10] * 10
    assert digits.train_x[:].shape == (100, 1, 8, 8)
    with pytest.raises(InputError, match="train_samples is 1500, data set 'digits' has 1437"):
        load_dataset("digits", train_samples=1500)


def test_of_sets_published_in_random_order_the_first_are_taken(tmp_path: Path) -> None:
    images, labels = random_bytes(40, 3, 3), random_bytes(40, top=10)
    write_idx_set(tmp_path / "mnist", images, labels)
    mnist = load_dataset(DataConfig("mnist", folder=str(tmp_path), train_samples=7))
    assert mnist.train_y.tolist() == labels[:7].tolist()
    colour, y = random_bytes(6, 3, 32, 32), random_bytes(6, top=10)
    for number in (1, 2):
        path = tmp_path / f"cifar-10-batches-bin/data_batch_{number}.bin"
        write_cifar(path, colour[2 * number - 2 : 2 * number], y[2 * number - 2 : 2 * number])
    write_cifar(tmp_path / "cifar-10-batches-bin/test_batch.bin", colour[4:], y[4:])
    cifar = load_dataset(DataConfig("cifar10", folder=str(tmp_path), train_samples=4))
    assert cifar.train_y.tolist() == y[:4].tolist()
    with pytest.raises(InputError) as raised:
        load_dataset(DataConfig("cifar10", folder=str(tmp_path)))
    text = str(raised.value)
    assert "data_batch_3.bin: cannot be read: No such file" in text
    assert "contain 4 training samples; to use only these: --set data.train_samples=4" in text
    assert "--set data.train_samples=4" in text
