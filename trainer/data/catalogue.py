"""All data sets by name, and where their files are expected. Nothing is downloaded."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import DataSetError, MissingPackageError
from spikeport.storage import nearest
from spikeport.trainer.data.config import DataConfig, data_config
from spikeport.trainer.data.dataset import Dataset, Stored, share_of_classes
from spikeport.trainer.data.digits import load_digits_split
from spikeport.trainer.data.files import read_cifar, read_idx
from spikeport.trainer.data.labels import warn_of_empty_classes
from spikeport.trainer.data.layout import Layout
from spikeport.trainer.data.missing import describe_file, describe_folder, explain_missing
from spikeport.trainer.data.npz import (
    holds_events,
    image_dataset,
    load_events,
    load_images,
    stored_names,
)
from spikeport.trainer.data.tonic import EVENT_SETS, load_event_set

FOLDER_VARIABLE = "SPIKEPORT_DATA"
IDX_SETS = {
    "mnist": ("mnist", "MNIST/raw", "mnist.npz"),
    "fashion-mnist": ("fashion-mnist", "FashionMNIST/raw", "fashion_mnist.npz"),
}
"""Folders of IDX files, and a file of the same arrays, in the order in which they are tried."""
CIFAR_SETS = {
    "cifar10": (
        "cifar-10-batches-bin",
        [f"data_batch_{i}.bin" for i in range(1, 6)],
        "test_batch.bin",
    ),
    "cifar100": ("cifar-100-binary", ["train.bin"], "test.bin"),
}
NAMES = ("digits", *IDX_SETS, *CIFAR_SETS, *EVENT_SETS)


PIXELS = ("levels", "mean", "std", "full_scale")
EVENTS = ("slicing", "window_us", "size", "coding")
SUBSET = ("train_samples", "split_seed")
"""Settings, grouped by the kinds of data that use them."""


def load_dataset(
    source: str | PathLike[str] | DataConfig = "digits",
    steps: int | None = None,
    **changes: Any,
) -> Dataset:
    """Load a data set given by name, path or description.

    Anything dropped, guessed or suspicious is logged as a warning: ignored files, events outside
    the window, classes without samples, channels-last images, pixels far below full scale.

    Args:
        source: a name such as "digits" or "mnist", an .npz file, a folder of images, or a
            `DataConfig`.
        steps: T, needed for event data.
        changes: settings of `DataConfig` by name, such as full_scale=1.

    Returns:
        Training and test samples with their classes, and the input that a network for them has.

    Raises:
        InputError: unknown name; files are missing (the message says where they should be) or
            damaged; a setting does not fit the data.
        BackendUnavailableError: a package needed to read this data is not installed.
    """
    config = data_config(source, changes)
    data = _load(config, steps)
    if config.train_samples:
        data = _subset(data, config)
    warn_of_empty_classes(data)
    return data


def _load(config: DataConfig, steps: int | None) -> Dataset:
    name = config.name
    if name == "digits":
        config.check_used(SUBSET)
        return load_digits_split(config.split_seed)
    if name in IDX_SETS:
        config.check_used((*PIXELS, "train_samples"))
        return _idx_set(config)
    if name in CIFAR_SETS:
        config.check_used((*PIXELS, "train_samples"))
        return _cifar_set(config)
    if name in EVENT_SETS:
        split = () if EVENT_SETS[name].test else ("test",)
        config.check_used((*EVENTS, *SUBSET, *split))
        home = _find(config, (EVENT_SETS[name].reader,))
        binning = config.binning(_needed(name, steps))
        return load_event_set(name, home.parent, binning, config.test, config.split_seed)
    path = _path(config)
    if path.is_dir():
        config.check_used((*PIXELS, *SUBSET, "size"))
        return _folder_set(path, config)
    if path.suffix != ".npz":
        raise DataSetError(f"data set '{path}': {describe_file(path)}")
    if holds_events(path):
        split = () if "test_offsets" in stored_names(path) else ("test",)
        config.check_used((*EVENTS, *SUBSET, *split))
        binning = config.binning(_needed(name, steps))
        return load_events(path, binning, config.test, config.split_seed)
    config.check_used((*PIXELS, *SUBSET, "layout"))
    return load_images(path, config.byte_grid(), config.layout)


def _idx_set(config: DataConfig) -> Dataset:
    home = _find(config, IDX_SETS[config.name])
    if home.suffix == ".npz":
        data = load_images(home, config.byte_grid(), Layout.AUTO)
        return dataclasses.replace(data, name=config.name)
    parts = []
    for part in ("train", "t10k"):
        x = read_idx(_idx_file(home, f"{part}-images", 3), 3)
        y = read_idx(_idx_file(home, f"{part}-labels", 1), 1)
        parts.append((x, y))
    return image_dataset(config.name, parts[0], parts[1], 10, config.byte_grid())


def _idx_file(home: Path, stem: str, dimensions: int) -> Path:
    """The file, plain or compressed, under its published name or with a dot as on some mirrors."""
    names = (f"{stem}-idx{dimensions}-ubyte", f"{stem}.idx{dimensions}-ubyte")
    tried = [home / f"{name}{end}" for name in names for end in ("", ".gz")]
    for path in tried:
        if path.is_file():
            return path
    raise DataSetError(
        f"{tried[0]}: does not exist, nor {tried[1].name}; {home} contains {describe_folder(home)}"
    )


def _cifar_set(config: DataConfig) -> Dataset:
    folder, batches, test = CIFAR_SETS[config.name]
    home = _find(config, (folder,))
    label_bytes, classes = (1, 10) if config.name == "cifar10" else (2, 100)
    images: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.int64]] = []
    for batch in batches:
        count = sum(map(len, labels))
        if config.train_samples and count >= config.train_samples:
            break
        if count and not (home / batch).exists():
            raise DataSetError(
                f"{home / batch}: cannot be read: No such file or directory; the preceding files "
                f"contain {count} training samples; to use only these: "
                f"--set data.train_samples={count}"
            )
        x, y = read_cifar(home / batch, label_bytes=label_bytes, classes=classes)
        images.append(x)
        labels.append(y)
    train = np.concatenate(images), np.concatenate(labels)
    held_out = read_cifar(home / test, label_bytes=label_bytes, classes=classes)
    return image_dataset(config.name, train, held_out, classes, config.byte_grid())


def _folder_set(path: Path, config: DataConfig) -> Dataset:
    try:
        from spikeport.trainer.data.folder import load_folder
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"data set '{path}': needs Pillow, which is not installed: pip install '.[training]'"
        ) from error
    return load_folder(path, config.size, config.grid(), config.full_scale)


def _subset(data: Dataset, config: DataConfig) -> Dataset:
    """`data` with only `train_samples` of its training samples."""
    x, count = data.train_x, config.train_samples
    if count > len(x):
        raise DataSetError(
            f"data: train_samples is {count}, data set '{data.name}' has {len(x)} to train on"
        )
    chosen: Any = slice(count)
    if config.name not in (*IDX_SETS, *CIFAR_SETS):
        chosen = share_of_classes(data.train_y, count, config.split_seed)
    fewer = x.take(chosen) if isinstance(x, Stored) else x[chosen]
    return dataclasses.replace(data, train_x=fewer, train_y=data.train_y[chosen])


def _needed(name: str, steps: int | None) -> int:
    if steps is None:
        raise DataSetError(f"data set '{name}': needs the number of steps (T) to count events into")
    return steps


def _roots(config: DataConfig) -> tuple[Path, ...]:
    if config.folder:
        return (Path(config.folder).expanduser(),)
    if named := os.environ.get(FOLDER_VARIABLE):
        return (Path(named), Path(named) / "data")
    return (Path("data"),)


def _find(config: DataConfig, candidates: Sequence[str]) -> Path:
    """The first of these files or folders that exists."""
    roots = _roots(config)
    tried = [root / name for root in roots for name in candidates]
    for path in tried:
        if path.exists():
            return path
    raise DataSetError(
        f"data set '{config.name}': found at none of {', '.join(map(str, tried))}; nothing is "
        f"downloaded: put the published files there, or specify their folder ({FOLDER_VARIABLE}, "
        f"or `folder` in the recipe's [data]){explain_missing(config.name, roots)}"
    )


def _path(config: DataConfig) -> Path:
    """A file or folder given by its path, alone or within the folders of data sets."""
    for root in (Path(), *_roots(config)):
        if (path := root / config.name).exists():
            return path
    if config.name.endswith(".npz"):
        other = Path(config.name).with_suffix(".npy")
        hint = f"; found {other}, which {describe_file(other)}" if other.exists() else ""
        raise DataSetError(f"{config.name}: does not exist{hint}")
    raise DataSetError(
        f"data set '{config.name}': not a known name ({', '.join(NAMES)}), .npz file or folder"
        f"{nearest(config.name, NAMES)}"
    )
