"""Data sets: the digits split, one's own .npz, and every way in which data can be wrong."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from spikeport.errors import InputError
from spikeport.network import Coding, Input
from spikeport.runs import encode_samples
from spikeport.trainer import Dataset, load_dataset, load_digits_split, load_npz
from spikeport.trainer.data import digits
from spikeport.trainer.data.digits import stratified_split
from tests.helpers.data_files import pixels, write_npz

FLAT = Input("input", (2,), Coding.GRADED, 0, 4, scale=4.0)


def test_digits_split_is_stratified_disjoint_and_seeded() -> None:
    data = load_digits_split()
    train_x, test_x = np.asarray(data.train_x), np.asarray(data.test_x)
    assert train_x.shape == (1437, 1, 8, 8)
    assert test_x.shape == (360, 1, 8, 8)
    assert data.input == Input("input", (1, 8, 8), Coding.GRADED, low=0, high=16, scale=16.0)
    per_class = np.bincount(data.train_y, minlength=10)
    held_out = np.bincount(data.test_y, minlength=10)
    assert np.abs(held_out / 360 - per_class / 1437).max() < 0.003
    seen = {sample.tobytes() for sample in train_x}
    assert not any(sample.tobytes() in seen for sample in test_x)
    assert load_digits_split().fingerprint == data.fingerprint
    assert load_digits_split(seed=1).fingerprint != data.fingerprint
    assert not train_x.flags.writeable


def test_digits_and_their_split_are_those_of_scikit_learn() -> None:
    pixels, labels = load_digits(return_X_y=True)
    x = (pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    for seed in range(4):
        data = load_digits_split(seed)
        expected = train_test_split(x, labels, test_size=360, stratify=labels, random_state=seed)
        found = data.train_x[:], data.test_x[:], data.train_y, data.test_y
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@given(
    st.lists(st.integers(2, 30), min_size=2, max_size=6),
    st.integers(0, 2**32 - 1),
    st.floats(0.0, 1.0),
)
def test_stratified_splits_are_those_of_scikit_learn(
    sizes: list[int], seed: int, share: float
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    held_out = len(sizes) + round(share * (len(labels) - 2 * len(sizes)))
    expected = train_test_split(
        np.arange(len(labels)), test_size=held_out, stratify=labels, random_state=seed
    )
    for ours, theirs in zip(stratified_split(labels, held_out, seed), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_digits_stored_elsewhere_in_scikit_learn_are_read_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = load_digits_split()
    monkeypatch.setattr(digits, "FILE", Path("elsewhere.csv.gz"))
    assert load_digits_split().fingerprint == expected.fingerprint


def test_digits_are_exactly_the_integers_a_chip_gets() -> None:
    data = load_digits_split()
    encoded = encode_samples([data.input], 8, data.test_x)["input"]
    np.testing.assert_array_equal(encoded, np.asarray(data.test_x) * 16)
    assert encoded.max() == 16


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (6,)])
def test_npz_images_of_every_layout(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write_npz(tmp_path, x_train=pixels(6, *shape), x_test=pixels(3, *shape))
    data = load_dataset(path)
    full = (1, *shape) if len(shape) == 2 else shape
    assert data.train_x[:].shape == (6, *full)
    assert data.input == Input("input", full, Coding.GRADED, 0, 255, scale=255.0)
    assert data.classes == 3
    assert data.name == "images"
    encoded = encode_samples([data.input], 1, data.train_x)["input"]
    np.testing.assert_array_equal(encoded.reshape(6, *shape), pixels(6, *shape))


def test_load_dataset_knows_digits() -> None:
    assert load_dataset("digits").name == "digits"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "images.npz: has no array 'y_test'"),
        ({"x_train": pixels(6, 4, 5) / 255}, "x_train has type float64, must be uint8"),
        ({"x_train": np.full((6, 4, 5), np.nan)}, "x_train contains NaN or infinity"),
        ({"x_train": pixels(6)}, r"x_train has shape \(6,\), must be"),
        ({"x_train": pixels(0, 4, 5), "y_train": np.zeros(0, int)}, "x_train .* it is empty"),
        ({"x_test": pixels(0, 4, 5), "y_test": np.zeros(0, int)}, "x_test .* it is empty"),
        ({"x_test": pixels(3, 4, 4)}, r"test_x has shape \(3, 1, 4, 4\), must be"),
        ({"y_train": np.array([0, 1])}, r"train_y has shape \(2,\), must be \(6,\)"),
        ({"y_train": np.zeros(6)}, "train_y has type float64, must be integers"),
        ({"y_test": np.array([0, 1, 3])}, "test_y has label 3, must lie in 0..2"),
        ({"y_train": np.array([0, -1, 2, 0, 1, 2])}, "train_y has label -1, must lie in 0..2"),
        ({"y_train": np.zeros(6, int)}, "1 classes, needs at least two"),
    ],
)
def test_wrong_npz_data_is_one_clear_error(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_npz(write_npz(tmp_path, **changes))


def test_missing_truncated_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.npz: does not exist"):
        load_npz(tmp_path / "none.npz")
    whole = write_npz(tmp_path)
    (tmp_path / "short.npz").write_bytes(whole.read_bytes()[:200])
    with pytest.raises(InputError, match=r"short\.npz: is not a readable \.npz file"):
        load_npz(tmp_path / "short.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InputError, match=r"text\.npz: is not a readable \.npz file"):
        load_npz(tmp_path / "text.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"one\.npy: is a single array"):
        load_npz(tmp_path / "one.npy")


def test_a_header_is_not_believed_beyond_what_the_file_holds(tmp_path: Path) -> None:
    path = write_npz(tmp_path)
    small, huge = (
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size}, 4, 5), }}"
        for size in ("6", "8000000000000")
    )
    with zipfile.ZipFile(path) as old:
        arrays = {name: old.read(name) for name in old.namelist()}
    header, data = arrays["x_train.npy"][:128], arrays["x_train.npy"][128:]
    assert small.encode() in header
    swollen = header.replace(small.encode(), huge.encode())[:127].ljust(127) + b"\n"
    with zipfile.ZipFile(path, "w") as new:
        for name, content in (arrays | {"x_train.npy": swollen + data}).items():
            new.writestr(name, content)
    with pytest.raises(InputError, match="'x_train' declares 160000000000000 bytes, more than"):
        load_npz(path)


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    path = write_npz(tmp_path, x_train=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="is not a readable"):
        load_npz(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_x": np.zeros((0, 2)), "train_y": np.zeros(0, int)}, r"train_x is empty \(N = 0\)"),
        ({"train_x": np.array([[0.0, np.nan]])}, "train_x contains NaN or infinity"),
        ({"test_x": np.array([[0.0, np.inf]])}, "test_x contains NaN or infinity"),
        ({"train_x": np.array([[0.0, 1.5]])}, r"train_x spans 0\.\.6 in units of 1/4"),
        ({"train_x": np.array([["a", "b"]])}, "train_x has type <U1, must be numbers"),
        ({"test_x": np.zeros((1, 3))}, r"test_x has shape \(1, 3\), must be \(N, 2\)"),
        ({"test_y": np.array([2])}, "test_y has label 2, must lie in 0..1"),
    ],
)
def test_wrong_data_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    one, label = np.array([[0.0, 1.0]]), np.array([1])
    good = Dataset("pairs", one, label, one, label, FLAT, 2)
    with pytest.raises(InputError, match=f"data set 'pairs': {message}"):
        dataclasses.replace(good, **changes)


def test_without_torch_data_load_and_training_says_what_is_missing(tmp_path: Path) -> None:
    script = """
import sys
sys.modules["torch"] = sys.modules["sklearn"] = None
from spikeport.errors import BackendUnavailableError
from spikeport.trainer import load_dataset
print(load_dataset(sys.argv[1]).classes)
try:
    load_dataset("digits")
except BackendUnavailableError as error:
    print(error)
try:
    from spikeport.trainer import train
except BackendUnavailableError as error:
    print(error)
"""
    command = [sys.executable, "-c", script, str(write_npz(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    install = "which is not installed: pip install '.[training]'"
    assert done.stdout.splitlines() == [
        "3",
        f"data set 'digits': needs scikit-learn, {install}",
        f"trainer: 'train' needs torch, {install}",
    ]
