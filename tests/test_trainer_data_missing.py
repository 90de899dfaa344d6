"""The error for a missing data set names what was found instead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.trainer import DataConfig, load_dataset
from spikeport.trainer.data.catalogue import CIFAR_SETS, IDX_SETS
from spikeport.trainer.data.missing import ALIASES, explain_missing
from spikeport.trainer.data.tonic import EVENT_SETS
from tests.helpers.data_files import random_bytes, write_idx_set


def refusal(name: str, root: Path) -> str:
    with pytest.raises(InputError) as raised:
        load_dataset(DataConfig(name, folder=str(root)), 4)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_every_set_has_names_to_look_for() -> None:
    assert set(ALIASES) == {*IDX_SETS, *CIFAR_SETS, *EVENT_SETS}


@pytest.mark.parametrize(
    ("name", "found", "said"),
    [
        ("cifar10", "cifar-10-batches-py/", ", the Python version: pickles are never read"),
        ("cifar10", "cifar-10-batches-py/", "binary version is needed (cifar-10-binary.tar.gz)"),
        ("cifar10", "cifar-10-python.tar.gz", ", the Python version"),
        ("cifar10", "cifar-10-batches-mat/", ", the Matlab version: the binary version is needed"),
        ("cifar10", "cifar-10-binary.tar.gz", ": unpack it"),
        ("cifar10", "CIFAR10/", ", which contains nothing"),
        ("cifar100", "cifar-100-python/", "(cifar-100-binary.tar.gz)"),
        ("mnist", "mnist.pkl.gz", ", a pickle: pickles are never read"),
        ("mnist", "MNIST/processed/", ", which contains processed"),
        ("mnist", "train-images-idx3-ubyte.gz", ": it belongs in a folder 'mnist'"),
        ("mnist", "MNIST.zip", ": unpack it"),
        ("fashion-mnist", "fashion-mnist.zip", ": unpack it"),
        ("nmnist", "N-MNIST.zip", ": unpack it"),
        ("nmnist", "nmnist/Train/", ", which contains Train"),
        ("dvs-gesture", "DVS Gesture dataset.7z", ": unpack it"),
        ("dvs-gesture", "ibmGestureTrain.tar.gz", ": unpack it"),
        ("cifar10-dvs", "CIFAR10DVS.zip", ": unpack it"),
        ("shd", "shd_train.h5.gz", ": unpack it"),
    ],
)
def test_what_was_found_instead_is_named(tmp_path: Path, name: str, found: str, said: str) -> None:
    path = tmp_path / found
    if found.endswith("/"):
        path.mkdir(parents=True)
    else:
        path.write_bytes(b"")
    top = tmp_path / Path(found).parts[0]
    text = refusal(name, tmp_path)
    assert f"; found {top}" in text
    assert said in text


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("cifar10", "cifar-100-binary"),
        ("cifar100", "cifar-10-batches-bin"),
        ("cifar10", "CIFAR10DVS"),
        ("mnist", "NMNIST"),
        ("mnist", "fashion-mnist"),
        ("nmnist", "mnist"),
        ("shd", "notes.txt"),
    ],
)
def test_other_sets_are_not_mistaken_for_it(tmp_path: Path, name: str, beside: str) -> None:
    (tmp_path / beside).mkdir()
    assert "; found" not in refusal(name, tmp_path)


def test_a_set_without_aliases_is_looked_for_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "New_Set.zip").write_bytes(b"")
    (tmp_path / "other").mkdir()
    found = f"; found {tmp_path / 'New_Set.zip'}: unpack it"
    assert explain_missing("new-set", [tmp_path]) == found
    assert refusal("newset", tmp_path).startswith("data set 'newset'")


def test_a_folder_that_is_missing_or_the_set_itself(tmp_path: Path) -> None:
    assert f"; no folder {tmp_path / 'none'}" in refusal("cifar10", tmp_path / "none")
    home = tmp_path / "cifar-10-batches-bin"
    home.mkdir()
    (home / "data_batch_1.bin").write_bytes(b"")
    text = refusal("cifar10", home)
    assert f"{home} looks like the data set itself: give its parent folder" in text


def test_idx_files_with_a_dot_and_without_a_part(tmp_path: Path) -> None:
    images, labels = random_bytes(8, 5, 4), random_bytes(8, top=10)
    write_idx_set(tmp_path / "MNIST/raw", images, labels)
    raw = tmp_path / "MNIST/raw"
    (raw / "t10k-images-idx3-ubyte").rename(raw / "t10k-images.idx3-ubyte")
    data = load_dataset(DataConfig("mnist", folder=str(tmp_path)))
    assert data.test_y.tolist() == labels[4:].tolist()
    (raw / "t10k-images.idx3-ubyte").rename(raw / "t10k.zip")
    text = refusal("mnist", tmp_path)
    assert "t10k-images-idx3-ubyte: does not exist, nor t10k-images-idx3-ubyte.gz" in text
    assert "raw contains t10k-labels-idx1-ubyte, t10k.zip, train-images-idx3-ubyte" in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.npy", "is a single array (.npy): put x_train, y_train, x_test and y_test in one .npz"),
        ("a.pkl", "is a pickle: pickles are never read"),
        ("a.pt", "is a pickle: pickles are never read"),
        ("a.tar.gz", "is an archive: unpack it"),
        ("a.zip", "is an archive: unpack it"),
        ("a.csv", "has an unknown suffix, must be an .npz file, a folder of images or"),
        ("a", "has an unknown suffix"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(b"")
    text = refusal(str(tmp_path / name), tmp_path)
    assert text.startswith(f"data set '{tmp_path / name}': {said}")


def test_a_single_array_instead_of_an_npz_file(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros(3))
    text = refusal(str(tmp_path / "images.npz"), tmp_path)
    assert "images.npz: does not exist; found" in text
    assert "images.npy, which is a single array (.npy)" in text
    np.savez(tmp_path / "images.npz", images=np.zeros(3), labels=np.zeros(3))
    text = refusal(str(tmp_path / "images.npz"), tmp_path)
    assert "has no array 'x_train'" in text
    assert "it contains images, labels" in text
