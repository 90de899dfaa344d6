"""Labelled data sets: scikit-learn's digits, and images of one's own from an .npz file."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import BackendUnavailableError, InputError
from spikeport.network import Coding, Input
from spikeport.samples import batch_shape


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and held-out samples in float units, with how they become chip integers.

    Attributes:
        train_x, test_x: float32, shape (N, *input.shape), finite, read-only.
        train_y, test_y: int64 class of each sample, 0..classes - 1.
        input: coding, range and scale; x * scale must lie in low..high.

    Raises:
        InputError: empty, of wrong shape or type, NaN, out of range, or a label out of range.
    """

    name: str
    train_x: NDArray[np.float32]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]
    input: Input
    classes: int

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise InputError(f"data set '{self.name}': {self.classes} classes, needs at least two")
        for part in ("train", "test"):
            subject = f"data set '{self.name}': {part}"
            x = _samples(f"{subject}_x", getattr(self, f"{part}_x"), self.input)
            y = _labels(f"{subject}_y", getattr(self, f"{part}_y"), len(x), self.classes)
            object.__setattr__(self, f"{part}_x", x)
            object.__setattr__(self, f"{part}_y", y)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the training samples and labels, to tell data sets apart on resuming."""
        digest = hashlib.sha256(repr((self.train_x.shape, self.classes)).encode())
        digest.update(self.train_x.tobytes())
        digest.update(self.train_y.tobytes())
        return digest.hexdigest()


def load_dataset(name: str | PathLike[str]) -> Dataset:
    """scikit-learn's digits where `name` is "digits", else the .npz file of that path."""
    return load_digits_split() if name == "digits" else load_npz(name)


def load_digits_split(seed: int = 0) -> Dataset:
    """scikit-learn's 1797 handwritten digits, 1x8x8, stratified into 1437 and 360 held out.

    Pixels 0..16 are fed as x = pixel / 16 at every step. `seed` decides the split.

    Raises:
        BackendUnavailableError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ModuleNotFoundError as error:
        raise BackendUnavailableError(
            "data set 'digits': needs scikit-learn, which is not installed: "
            "pip install '.[training]'"
        ) from error

    pixels, labels = load_digits(return_X_y=True)
    x = (pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        x, labels, test_size=360, stratify=labels, random_state=seed
    )
    input = Input("input", (1, 8, 8), Coding.GRADED, low=0, high=16, scale=16.0)
    return Dataset("digits", train_x, train_y, test_x, test_y, input, classes=10)


def load_npz(path: str | PathLike[str]) -> Dataset:
    """Images of one's own: arrays x_train, y_train, x_test, y_test.

    Images are uint8 of shape (N, H, W), (N, C, H, W) or (N, F), fed as x = pixel / 255 at every
    step; labels are integers from 0.

    Raises:
        InputError: the file is missing, truncated or foreign, or its data break a rule.
    """
    path = Path(path)
    arrays = _read_npz(path)
    name = path.stem
    x_train, x_test = arrays["x_train"], arrays["x_test"]
    for key, x in (("x_train", x_train), ("x_test", x_test)):
        subject = f"data set '{name}': {key}"
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise InputError(f"{subject} holds NaN or infinity, must be uint8 pixels")
        if x.dtype != np.uint8:
            raise InputError(f"{subject} has type {x.dtype}, must be uint8 pixels (0..255)")
        if x.ndim not in (2, 3, 4):
            raise InputError(
                f"{subject} has shape {x.shape}, must be (N, H, W), (N, C, H, W) or (N, F)"
            )
        if not x.size:
            raise InputError(f"{subject} has shape {x.shape}: it is empty, needs samples")
    shape = (1, *x_train.shape[1:]) if x_train.ndim == 3 else x_train.shape[1:]
    input = Input("input", shape, Coding.GRADED, low=0, high=255, scale=255.0)
    train_y, test_y = arrays["y_train"], arrays["y_test"]
    classes = int(train_y.max()) + 1 if train_y.size and train_y.dtype.kind in "iu" else 2
    floats = [
        (x[:, None] if x.ndim == 3 else x).astype(np.float32) / np.float32(255)
        for x in (x_train, x_test)
    ]
    return Dataset(name, floats[0], train_y, floats[1], test_y, input, classes)


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    keys = ("x_train", "y_train", "x_test", "y_test")
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError(f"{path}: is a single array, must be an .npz file")
            missing = [key for key in keys if key not in file]
            if missing:
                raise InputError(f"{path}: has no array '{missing[0]}', needs {', '.join(keys)}")
            return {key: file[key] for key in keys}
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist") from None
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: is no readable .npz file: {error}") from error


def _samples(subject: str, value: Any, input: Input) -> NDArray[np.float32]:
    x = np.asarray(value)
    if x.dtype.kind not in "iufb":
        raise InputError(f"{subject} has type {x.dtype}, must be numbers")
    if x.shape[1:] != input.shape or x.ndim == 0:
        raise InputError(f"{subject} has shape {x.shape}, must be {batch_shape('N', input.shape)}")
    if not len(x):
        raise InputError(f"{subject} is empty (N = 0), needs at least one sample")
    if not np.isfinite(x).all():
        raise InputError(f"{subject} holds NaN or infinity, must be finite")
    low, high = float(x.min()) * input.scale, float(x.max()) * input.scale
    slack = 1e-3  # of one integer unit, for float32 rounding
    if low < input.low - slack or high > input.high + slack:
        raise InputError(
            f"{subject} spans {low:g}..{high:g} in units of 1/{input.scale:g}, must lie in "
            f"{input.low}..{input.high}"
        )
    frozen = np.array(x, np.float32, order="C")
    frozen.setflags(write=False)
    return frozen


def _labels(subject: str, value: Any, count: int, classes: int) -> NDArray[np.int64]:
    y = np.asarray(value)
    if y.dtype.kind not in "iu":
        raise InputError(f"{subject} has type {y.dtype}, must be integers")
    if y.shape != (count,):
        raise InputError(f"{subject} has shape {y.shape}, must be ({count},), one per sample")
    if y.min() < 0 or y.max() >= classes:
        worst = y.min() if y.min() < 0 else y.max()
        raise InputError(f"{subject} holds label {worst}, must lie in 0..{classes - 1}")
    frozen = np.array(y, np.int64)
    frozen.setflags(write=False)
    return frozen
