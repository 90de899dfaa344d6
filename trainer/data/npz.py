"""Your own data in .npz files: images or events.

Images: `x_train`, `y_train`, `x_test`, `y_test`; uint8 of shape (N, H, W), (N, C, H, W) or (N, F)
and integer labels from 0. (N, H, W, C) is accepted too (see `Layout`).

Events: flat arrays over all recordings of a split, `train_x`, `train_y` (positions), `train_p`
(0 OFF, 1 ON), `train_t` (microseconds), with `train_offsets` (recording i is
offsets[i]:offsets[i + 1]) and `train_labels`; likewise with `test_`, otherwise a share of each
class is held out. One-dimensional sensors have neither `_y` nor `_p`. `sensor`, (C, H, W) or (N,),
is optional; by default it follows from the largest positions.
"""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from spikeport.checks import MAX_SIDE, integer
from spikeport.errors import DataSetError, InputError
from spikeport.network import Shape
from spikeport.storage import check_bytes
from spikeport.storage.limits import BYTES_PER_EVENT, COUNTING_BYTES, FREE_FRAME_BYTES
from spikeport.trainer.data.dataset import Dataset, hold_out
from spikeport.trainer.data.events import Binning, Recording, bin_recordings
from spikeport.trainer.data.frames import Frames
from spikeport.trainer.data.labels import class_count, warn_of_empty_classes
from spikeport.trainer.data.layout import Layout, channels_first
from spikeport.trainer.data.pixels import PixelGrid, Pixels

MAX_BYTES = 8 * 2**30
FAULTS = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(ArithmeticError, IndexError, AttributeError, SyntaxError, tokenize.TokenError),
)
"""Exceptions for archives that are damaged, encrypted or compressed by an unknown method."""
HEADERS = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0}
IMAGES = ("x_train", "y_train", "x_test", "y_test")


def load_npz(
    path: str | PathLike[str], grid: PixelGrid | None = None, layout: Layout = Layout.AUTO
) -> Dataset:
    """Load your own images, presented at every step on `grid` (by default pixel / 255).

    Warnings are logged for classes without samples, for images read as channels-last, and for bytes
    below half of full scale if `grid` does not state the full scale.

    Raises:
        InputError: the file is missing, truncated or of another kind, or its data break a rule.
    """
    data = load_images(Path(path), grid or PixelGrid(), layout)
    warn_of_empty_classes(data)
    return data


def load_images(path: Path, grid: PixelGrid, layout: Layout) -> Dataset:
    """Like `load_npz`, without warnings about classes that have no samples."""
    arrays = read_npz(path, IMAGES)
    parts = [_pixels(path.stem, key, arrays[key], layout) for key in ("x_train", "x_test")]
    train_y, test_y = arrays["y_train"], arrays["y_test"]
    classes = class_count(f"data set '{path.stem}': train_y", train_y)
    return image_dataset(path.stem, (parts[0], train_y), (parts[1], test_y), classes, grid)


def image_dataset(
    name: str,
    train: tuple[NDArray[np.uint8], NDArray[Any]],
    test: tuple[NDArray[np.uint8], NDArray[Any]],
    classes: int,
    grid: PixelGrid,
) -> Dataset:
    """A data set of images (N, C, H, W), (N, H, W) or (N, F), stored as bytes, and their labels."""
    codes = [x[:, None] if x.ndim == 3 else x for x, _ in (train, test)]
    for part, x in zip(("train_x", "test_x"), codes, strict=True):
        grid.check_brightest(f"data set '{name}': {part}", int(x.max(initial=0)))
        x.setflags(write=False)
    shape = codes[0].shape[1:]
    table = grid.table(shape[0])
    first, second = (Pixels(x, table) for x in codes)
    return Dataset(name, first, train[1], second, test[1], grid.input(shape), classes)


def load_events(
    path: str | PathLike[str], binning: Binning, test: float = 0.2, seed: int = 0
) -> Dataset:
    """Load your own event recordings as frames of event counts.

    Args:
        test: share of each class to hold out if the file has no test split.
        seed: for selecting the held-out samples.

    Raises:
        InputError: the file is missing, truncated or of another kind, or its data break a rule.
    """
    path = Path(path)
    with_test = "test_offsets" in stored_names(path)
    sensor = _sensor(path, ("train", "test") if with_test else ("train",))
    frames, labels = _binned(path, "train", sensor, binning)
    classes = class_count(f"{path}: train_labels", labels)
    if with_test:
        held, held_labels = _binned(path, "test", sensor, binning)
    else:
        kept, chosen = hold_out(labels, test, seed)
        held, held_labels = frames.take(chosen), labels[chosen]
        frames, labels = frames.take(kept), labels[kept]
    return Dataset(path.stem, frames, labels, held, held_labels, binning.input(sensor), classes)


def holds_events(path: Path) -> bool:
    """Whether an .npz file contains events."""
    return "train_offsets" in stored_names(path)


def stored_names(path: Path) -> tuple[str, ...]:
    """Names of the arrays in an .npz file."""
    with _opened(path) as file:
        return tuple(file.files)


def read_npz(path: Path, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read the named arrays; none may be pickled, and each must have its declared size.

    Raises:
        InputError: the file is missing or damaged, an array is missing, or it exceeds MAX_BYTES.
    """
    with _opened(path) as file:
        missing = [key for key in keys if key not in file]
        if missing:
            raise DataSetError(
                f"{path}: has no array '{missing[0]}', needs {', '.join(keys)}; "
                f"it contains {', '.join(file.files) or 'no array'}"
            )
        assert file.zip is not None  # it is open
        size = sum(file.zip.getinfo(f"{key}.npy").file_size for key in keys)
        if size > MAX_BYTES:
            raise DataSetError(f"{path}: declares {size} bytes, the limit is {MAX_BYTES}")
        check_bytes(f"{path}:", size, path.stat().st_size)
        return {key: _array(path, file, key) for key in keys}


def _array(path: Path, file: NpzFile, key: str) -> NDArray[Any]:
    """One array; its declared size is trusted only up to the number of bytes in the archive."""
    assert file.zip is not None  # it is open
    with file.zip.open(f"{key}.npy") as member:
        major, _ = npy.read_magic(member)
        shape, _, dtype = HEADERS[major](member)
    declared = prod(shape) * dtype.itemsize
    if min(shape, default=1) < 0 or declared > file.zip.getinfo(f"{key}.npy").file_size:
        raise DataSetError(f"{path}: '{key}' declares {declared} bytes, more than it contains")
    array: NDArray[Any] = file[key]
    return array


@contextmanager
def _opened(path: Path) -> Iterator[NpzFile]:
    """Open an .npz file; any error while reading it within the block becomes one that names it."""
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, NpzFile):
                raise DataSetError(f"{path}: is a single array, must be an .npz file")
            yield file
    except FileNotFoundError:
        raise DataSetError(f"{path}: does not exist") from None
    except InputError:
        raise
    except MemoryError as error:
        raise DataSetError(f"{path}: reading it needs more memory than is available") from error
    except FAULTS as error:
        raise DataSetError(f"{path}: is not a readable .npz file: {error}") from error


def _pixels(name: str, key: str, x: NDArray[Any], layout: Layout) -> NDArray[np.uint8]:
    subject = f"data set '{name}': {key}"
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise DataSetError(f"{subject} contains NaN or infinity, must be uint8 pixels")
    if x.dtype != np.uint8:
        raise DataSetError(f"{subject} has type {x.dtype}, must be uint8 pixels (0..255)")
    if x.ndim not in (2, 3, 4):
        raise DataSetError(
            f"{subject} has shape {x.shape}, must be (N, H, W), (N, C, H, W) or (N, F)"
        )
    if not x.size:
        raise DataSetError(f"{subject} has shape {x.shape}: it is empty, needs samples")
    return channels_first(subject, x, layout)


def _flat(path: Path, key: str, x: NDArray[Any]) -> NDArray[Any]:
    if x.dtype.kind not in "iub" or x.ndim != 1:
        raise DataSetError(f"{path}: {key} is {x.dtype} {x.shape}, must be flat integers")
    return x


def _sensor(path: Path, parts: Sequence[str]) -> Shape:
    names = stored_names(path)
    if "sensor" in names:
        given = read_npz(path, ["sensor"])["sensor"]
        if given.dtype.kind not in "iu" or given.shape not in ((1,), (3,)):
            raise DataSetError(f"{path}: sensor is {str(given)[:80]}, must be (C, H, W) or (N,)")
        return tuple(integer(f"{path}: sensor: size", size, 1, MAX_SIDE) for size in given)
    axes = [axis for axis in "pyx" if f"{parts[0]}_{axis}" in names]
    keys = [f"{part}_{axis}" for part in parts for axis in axes]
    arrays = {key: _flat(path, key, x) for key, x in read_npz(path, keys).items()}
    largest = {key: int(x.max(initial=0)) for key, x in arrays.items()}
    for key, most in largest.items():
        integer(f"{path}: {key}: largest position", most, 0, MAX_SIDE - 1)
    return tuple(max(largest[f"{part}_{axis}"] for part in parts) + 1 for axis in axes)


def _binned(path: Path, part: str, sensor: Shape, binning: Binning) -> tuple[Frames, NDArray[Any]]:
    axes = ("x",) if len(sensor) == 1 else ("x", "y", "p")
    keys = [f"{part}_{name}" for name in (*axes, "t", "offsets", "labels")]
    arrays = {key.removeprefix(f"{part}_"): x for key, x in read_npz(path, keys).items()}
    for name, x in arrays.items():
        _flat(path, f"{part}_{name}", x)
    events, offsets, labels = len(arrays["t"]), arrays["offsets"].astype(np.int64), arrays["labels"]
    if any(len(arrays[axis]) != events for axis in axes):
        raise DataSetError(f"{path}: the arrays {part}_{'/'.join(axes)}/t differ in length")
    if len(offsets) != len(labels) + 1 or not len(labels):
        raise DataSetError(
            f"{path}: {part}_offsets has {len(offsets)} entries for {len(labels)} labels, needs "
            "one more than labels, and at least one label"
        )
    if offsets[0] != 0 or offsets[-1] != events or (np.diff(offsets) < 0).any():
        raise DataSetError(
            f"{path}: {part}_offsets must rise from 0 to {events}, the number of events"
        )

    cells = binning.steps * prod(binning.shape(sensor))
    frames = (len(labels) + COUNTING_BYTES) * cells
    if frames > (limit := max(FREE_FRAME_BYTES, BYTES_PER_EVENT * events)):
        raise DataSetError(
            f"{path}: {part}: {len(labels)} recordings of {binning.steps} frames of "
            f"{binning.shape(sensor)} take {frames} bytes, the limit for {events} events is "
            f"{limit}; use a smaller `size` or fewer steps"
        )

    def recordings() -> Iterator[Recording]:
        for first, last in pairwise(offsets.tolist()):
            cut = {name: arrays[name][first:last] for name in (*axes, "t")}
            yield Recording(cut["x"], cut.get("y"), cut.get("p"), cut["t"])

    return bin_recordings(f"{path}: {part}", recordings(), len(labels), sensor, binning), labels
