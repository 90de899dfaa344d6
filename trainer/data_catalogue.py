"""Every data set by its name, and where its files are looked for. Nothing is downloaded."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import BackendUnavailableError, InputError
from spikeport.network import Coding, Input
from spikeport.part_rules import integer
from spikeport.toml_table import nearest
from spikeport.trainer.data import Dataset, Stored
from spikeport.trainer.data_events import Binning, Slicing
from spikeport.trainer.data_files import read_cifar, read_idx
from spikeport.trainer.data_npz import holds_events, image_dataset, load_events, load_npz
from spikeport.trainer.data_pixels import PixelGrid
from spikeport.trainer.data_tonic import EVENT_SETS, load_event_set

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


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which data, from where, and what the network is shown of them.

    Attributes:
        name: one of NAMES, an .npz file, or a folder of images.
        folder: where data sets lie; by default what SPIKEPORT_DATA names, its subfolder `data`,
            or `data` here.
        test: share of the samples of each class that is held out as test samples, for sets
            without an official test part; digits always hold out 360.
        split_seed: decides which samples those are.
        train_samples: train on the first so many only (0 for all); files beyond are not needed.
        levels, mean, std: see `PixelGrid`.
        slicing, window_us, size, coding: see `Binning`; `size` is also the side of images that
            come from folders.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    name: str = "digits"
    folder: str = ""
    test: float = 0.2
    split_seed: int = 0
    train_samples: int = 0
    levels: int = 256
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    slicing: Slicing = Slicing.TIME
    window_us: int = 0
    size: int = 0
    coding: Coding = Coding.GRADED

    def __post_init__(self) -> None:
        if not (math.isfinite(self.test) and 0 < self.test < 1):
            raise InputError(f"data: test is {self.test}, must lie between 0 and 1")
        integer("data: split_seed", self.split_seed, 0, 2**32 - 1)
        integer("data: train_samples", self.train_samples, 0, 2**40)
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self.grid()
        self.binning(1)

    def grid(self) -> PixelGrid:
        """How images become float values."""
        return PixelGrid(self.levels, self.mean, self.std)

    def binning(self, steps: int) -> Binning:
        """How events become frames."""
        return Binning(steps, self.slicing, self.window_us, self.size, self.coding)


def load_dataset(
    source: str | PathLike[str] | DataConfig = "digits", steps: int | None = None
) -> Dataset:
    """A data set by its name, path or description.

    Args:
        steps: T, needed for event data.

    Raises:
        InputError: unknown name; files are missing (the message says where they should be) or
            damaged; a setting does not fit the data.
        BackendUnavailableError: a package that reads this data is not installed.
    """
    config = source if isinstance(source, DataConfig) else DataConfig(name=os.fspath(source))
    if config.name == "digits":
        return load_digits_split(config.split_seed)
    data = _load(config, steps)
    return _first(data, config.train_samples) if config.train_samples else data


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


def _load(config: DataConfig, steps: int | None) -> Dataset:
    name = config.name
    if name in IDX_SETS:
        return _idx_set(config)
    if name in CIFAR_SETS:
        return _cifar_set(config)
    if name in EVENT_SETS:
        home = _find(config, (EVENT_SETS[name].reader,))
        binning = config.binning(_needed(name, steps))
        return load_event_set(name, home.parent, binning, config.test, config.split_seed)
    path = _path(config)
    if path.suffix != ".npz":
        return _folder_set(path, config)
    if path.exists() and holds_events(path):
        binning = config.binning(_needed(name, steps))
        return load_events(path, binning, config.test, config.split_seed)
    return load_npz(path, config.grid())


def _idx_set(config: DataConfig) -> Dataset:
    home = _find(config, IDX_SETS[config.name])
    if home.suffix == ".npz":
        return dataclasses.replace(load_npz(home, config.grid()), name=config.name)
    parts = []
    for part in ("train", "t10k"):
        x = read_idx(_plain_or_gz(home / f"{part}-images-idx3-ubyte"), 3)
        y = read_idx(_plain_or_gz(home / f"{part}-labels-idx1-ubyte"), 1)
        parts.append((x, y))
    return image_dataset(config.name, parts[0], parts[1], 10, config.grid())


def _plain_or_gz(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.exists() and not path.exists() else path


def _cifar_set(config: DataConfig) -> Dataset:
    folder, batches, test = CIFAR_SETS[config.name]
    home = _find(config, (folder,))
    label_bytes, classes = (1, 10) if config.name == "cifar10" else (2, 100)
    images: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.int64]] = []
    for batch in batches:
        if config.train_samples and sum(map(len, labels)) >= config.train_samples:
            break
        x, y = read_cifar(home / batch, label_bytes=label_bytes, classes=classes)
        images.append(x)
        labels.append(y)
    train = np.concatenate(images), np.concatenate(labels)
    held_out = read_cifar(home / test, label_bytes=label_bytes, classes=classes)
    return image_dataset(config.name, train, held_out, classes, config.grid())


def _folder_set(path: Path, config: DataConfig) -> Dataset:
    try:
        from spikeport.trainer.data_folder import load_folder
    except ModuleNotFoundError as error:
        raise BackendUnavailableError(
            f"data set '{path}': needs Pillow, which is not installed: pip install '.[training]'"
        ) from error
    return load_folder(path, config.size, config.grid())


def _first(data: Dataset, count: int) -> Dataset:
    """`data` with its first `count` training samples only."""
    x = data.train_x
    if count > len(x):
        raise InputError(
            f"data: train_samples is {count}, data set '{data.name}' has {len(x)} to train on"
        )
    fewer = x.first(count) if isinstance(x, Stored) else x[:count]
    return dataclasses.replace(data, train_x=fewer, train_y=data.train_y[:count])


def _needed(name: str, steps: int | None) -> int:
    if steps is None:
        raise InputError(f"data set '{name}': events need a number of steps (T) to be counted into")
    return steps


def _roots(config: DataConfig) -> tuple[Path, ...]:
    if config.folder:
        return (Path(config.folder).expanduser(),)
    if named := os.environ.get(FOLDER_VARIABLE):
        return (Path(named), Path(named) / "data")
    return (Path("data"),)


def _find(config: DataConfig, candidates: Sequence[str]) -> Path:
    """The first of these files or folders that is there."""
    tried = [root / name for root in _roots(config) for name in candidates]
    for path in tried:
        if path.exists():
            return path
    raise InputError(
        f"data set '{config.name}': found at none of {', '.join(map(str, tried))}; nothing is "
        f"downloaded: put the published files there, or say where they are ({FOLDER_VARIABLE}, "
        "or `folder` in the recipe's [data])"
    )


def _path(config: DataConfig) -> Path:
    """A file or folder named by its path, alone or within where data sets lie."""
    for root in (Path(), *_roots(config)):
        if (path := root / config.name).exists():
            return path
    if config.name.endswith(".npz"):
        raise InputError(f"{config.name}: does not exist")
    raise InputError(
        f"data set '{config.name}': no such name ({', '.join(NAMES)}), .npz file or folder"
        f"{nearest(config.name, NAMES)}"
    )
