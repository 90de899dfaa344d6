"""`Dataset`: labelled samples for training and testing, and the rules they must satisfy.

Small data sets are float arrays. Others stay bytes in memory or files on disk and are converted to
float units batch by batch (`Stored`); indexing either kind gives the values that a network
receives.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from spikeport.checks import as_array
from spikeport.errors import DataSetError, LabelsError
from spikeport.network import Input
from spikeport.runs import batch_shape, check_range, check_scale
from spikeport.runs.sample_axes import guess

if TYPE_CHECKING:  # Data sets can be read without torch.
    import torch

Indices: TypeAlias = NDArray[np.integer[Any]]
Number: TypeAlias = np.uint8 | np.float32
"""Types in which samples are stored."""
Key: TypeAlias = tuple[int, int]
"""Seed and epoch, which together with the index of a sample determine its random changes."""


class SampleArray(Protocol):
    """Samples accessed by index like an array: `x[:256]` are the first 256.

    A slice or an integer array selects B samples and returns float32 (B, *shape), or (T, B, *shape)
    if a sample has separate values for each step. `np.asarray` returns all samples.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice | Indices, /) -> NDArray[np.float32]: ...

    def __array__(self, dtype: Any = ..., /) -> NDArray[Any]: ...


@runtime_checkable
class Stored(SampleArray, Protocol):
    """Samples stored in a smaller form than float32."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample, as in the network's input."""
        ...

    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value in float units."""
        ...

    def raw(self, index: Indices, key: Key | None = None) -> NDArray[Any]:
        """Selected samples as stored, (B, ...); `key` determines any random changes."""
        ...

    def floats(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Convert raw samples to the values that the network receives."""
        ...

    def take(self, index: slice | Indices) -> Stored:
        """A data set with only the selected samples."""
        ...

    def digest(self) -> bytes:
        """SHA-256 that identifies these samples."""
        ...


class Gathered:
    """Indexing for `Stored` samples, based on `raw` and `floats`."""

    __slots__ = ()

    def __getitem__(self: Stored, index: slice | Indices) -> NDArray[np.float32]:
        chosen = np.arange(len(self))[index] if isinstance(index, slice) else index
        return self.floats(self.raw(chosen))

    def __array__(
        self: Stored, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        return self[:].astype(np.float32 if dtype is None else dtype, copy=False)


class Split:
    """One half of a data set for a training loop of your own, as a torch map-style data set.

    `split[i]` is (x, y): a float32 tensor (*shape), or (T, *shape) if samples have separate values
    for each step, and its class. With a `torch.utils.data.DataLoader`, batches are (B, *shape),
    which a network takes, or (B, T, *shape), for which it needs `x.movedim(1, 0)`.
    """

    def __init__(self, x: SampleArray, y: NDArray[np.int64]) -> None:
        self._x, self._y = x, y

    def __len__(self) -> int:
        return len(self._y)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        import torch

        place = range(len(self))[index]
        values = self._x[place : place + 1]
        axis = values.ndim - len(getattr(self._x, "sample_shape", values.shape[1:])) - 1
        return torch.tensor(values.take(0, axis)), int(self._y[place])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and held-out samples in float units, and their mapping to chip integers.

    Attributes:
        train_x, test_x: an array of numbers, shape (N, *input.shape), finite, made float32 and
            read-only; or `Stored` samples.
        train_y, test_y: int64 class of each sample, 0..classes - 1.
        input: coding, range and scale; x * scale must lie in low..high.

    Raises:
        InputError: empty, wrong shape or type, NaN, out of range, or a label out of range.
    """

    name: str
    train_x: SampleArray
    train_y: NDArray[np.int64]
    test_x: SampleArray
    test_y: NDArray[np.int64]
    input: Input
    classes: int

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise DataSetError(
                f"data set '{self.name}': {self.classes} classes, needs at least two"
            )
        for part in ("train", "test"):
            subject = f"data set '{self.name}': {part}"
            x = _samples(f"{subject}_x", getattr(self, f"{part}_x"), self.input)
            y = _labels(f"{subject}_y", getattr(self, f"{part}_y"), len(x), self.classes)
            object.__setattr__(self, f"{part}_x", x)
            object.__setattr__(self, f"{part}_y", y)

    @property
    def train(self) -> Split:
        """The training samples as pairs of tensors and classes."""
        return Split(self.train_x, self.train_y)

    @property
    def test(self) -> Split:
        """The test samples as pairs of tensors and classes."""
        return Split(self.test_x, self.test_y)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the training samples and labels, to identify the data set on resuming."""
        x = self.train_x
        if isinstance(x, Stored):
            digest = hashlib.sha256(repr((len(x), self.classes)).encode() + x.digest())
        else:
            array = np.asarray(x)
            digest = hashlib.sha256(repr((array.shape, self.classes)).encode())
            digest.update(array.tobytes())
        digest.update(self.train_y.tobytes())
        return digest.hexdigest()


def hold_out(labels: NDArray[np.int64], fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Sorted indices to keep and to hold out; about `fraction` of each class is held out.

    Raises:
        InputError: `fraction` leaves one side without samples.
    """
    total = round(fraction * len(labels))
    if not 0 < total < len(labels):
        raise DataSetError(
            f"data set: holding out {fraction:g} of {len(labels)} samples leaves one side empty"
        )
    held = _drawn(labels, fraction, total, seed)
    return np.flatnonzero(~held), np.flatnonzero(held)


def share_of_classes(labels: NDArray[np.int64], count: int, seed: int) -> Indices:
    """Sorted indices of `count` samples, drawn by `seed` in proportion to class sizes.

    For a class with n of the N samples, floor or ceil of n count / N are chosen.
    """
    return np.flatnonzero(_drawn(labels, count / len(labels), count, seed))


def _drawn(labels: NDArray[np.int64], fraction: float, total: int, seed: int) -> NDArray[np.bool_]:
    """Mark `total` samples, `fraction` of each class rounded down or up."""
    classes, sizes = np.unique(labels, return_counts=True)
    counts = np.floor(fraction * sizes).astype(np.int64)
    rest = np.argsort(counts - fraction * sizes, kind="stable")[: total - counts.sum()]
    counts[rest] += 1
    drawn = np.zeros(len(labels), bool)
    for label, count in zip(classes.tolist(), counts.tolist(), strict=True):
        members = np.flatnonzero(labels == label)
        drawn[np.random.default_rng((seed, label)).permutation(members)[:count]] = True
    return drawn


def _samples(subject: str, value: Any, input: Input) -> SampleArray:
    if isinstance(value, Stored):
        return _stored(subject, value, input)
    x = as_array(subject, value)
    if x.dtype.kind not in "iufb":
        raise DataSetError(f"{subject} has type {x.dtype}, must be numbers")
    if x.shape[1:] != input.shape or x.ndim == 0:
        raise DataSetError(
            f"{subject} has shape {x.shape}, must be {batch_shape('N', input.shape)}"
            f"{guess(input.shape, x.shape)}"
        )
    if not len(x):
        raise DataSetError(f"{subject} is empty (N = 0), needs at least one sample")
    check_range(input, x, subject)
    check_scale(input, x, subject)
    frozen = np.array(x, np.float32, order="C")
    frozen.setflags(write=False)
    return frozen


def _stored(subject: str, x: Stored, input: Input) -> Stored:
    if x.sample_shape != input.shape:
        shape = (len(x), *x.sample_shape)
        raise DataSetError(f"{subject} has shape {shape}, must be {batch_shape('N', input.shape)}")
    if not len(x):
        raise DataSetError(f"{subject} is empty (N = 0), needs at least one sample")
    check_range(input, np.array(x.bounds()), subject)
    return x


def _labels(subject: str, value: Any, count: int, classes: int) -> NDArray[np.int64]:
    y = np.asarray(value)
    if y.dtype.kind not in "iu":
        raise DataSetError(f"{subject} has type {y.dtype}, must be integers")
    if y.shape != (count,):
        raise LabelsError(f"{subject} has shape {y.shape}, must be ({count},), one per sample")
    if y.min() < 0 or y.max() >= classes:
        worst = y.min() if y.min() < 0 else y.max()
        raise LabelsError(f"{subject} has label {worst}, must lie in 0..{classes - 1}")
    frozen = np.array(y, np.int64)
    frozen.setflags(write=False)
    return frozen
