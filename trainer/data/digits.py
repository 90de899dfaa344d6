"""The handwritten digits that scikit-learn includes, read without importing scikit-learn.

Importing it takes longer than everything else that a small network needs together.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import MissingPackageError
from spikeport.network import Coding, Input
from spikeport.trainer.data.dataset import Dataset

TEST = 360
FILE = Path("datasets", "data", "digits.csv.gz")
"""64 pixels 0..16 and the digit in each line; within scikit-learn."""


def load_digits_split(seed: int = 0) -> Dataset:
    """scikit-learn's 1797 handwritten digits, 1x8x8, stratified into 1437 for training and 360 held
    out.

    Pixels 0..16 are presented as x = pixel / 16 at every step. `seed` determines the split, which
    is that of scikit-learn's `train_test_split`.

    Raises:
        BackendUnavailableError: scikit-learn is not installed.
    """
    pixels, labels = _read()
    x = (pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    train, test = stratified_split(labels, TEST, seed)
    input = Input("input", (1, 8, 8), Coding.GRADED, low=0, high=16, scale=16.0)
    return Dataset("digits", x[train], labels[train], x[test], labels[test], input, classes=10)


def stratified_split(
    labels: NDArray[np.int64], held_out: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the samples for training and of those held out, both in random order.

    They are the indices of scikit-learn's `train_test_split(test_size=held_out, stratify=labels,
    random_state=seed)`. Each class is divided in proportion.
    """
    random = np.random.RandomState(seed)
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    kept = _apportioned(sizes, len(labels) - held_out, random)
    others = _apportioned(sizes - kept, held_out, random)
    train, test = [], []
    for number, (few, more) in enumerate(zip(kept, others, strict=True)):
        members = random.permutation(np.flatnonzero(classes == number))
        train.append(members[:few])
        test.append(members[few : few + more])
    return random.permutation(np.concatenate(train)), random.permutation(np.concatenate(test))


def _apportioned(
    sizes: NDArray[np.int64], total: int, random: np.random.RandomState
) -> NDArray[np.int64]:
    """`total` seats in proportion to `sizes`, by largest remainders; ties are drawn."""
    exact = sizes / sizes.sum() * total
    seats: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    remainders = exact - seats
    for remainder in np.unique(remainders)[::-1]:
        left = total - int(seats.sum())
        if left == 0:
            break
        tied = np.flatnonzero(remainders == remainder)
        seats[random.choice(tied, size=min(left, len(tied)), replace=False)] += 1
    return seats


def _read() -> tuple[NDArray[Any], NDArray[np.int64]]:
    """All pixels, (1797, 64), and digits."""
    package = find_spec("sklearn")
    if package is None:
        raise MissingPackageError(
            "data set 'digits': needs scikit-learn, which is not installed: "
            "pip install '.[training]'"
        )
    for folder in package.submodule_search_locations or ():
        if (path := Path(folder) / FILE).is_file():
            rows = np.loadtxt(path, np.int64, delimiter=",")
            return rows[:, :-1], rows[:, -1]
    from sklearn.datasets import load_digits  # A version that keeps the file elsewhere

    pixels, labels = load_digits(return_X_y=True)
    return pixels, labels
