"""`DataConfig`: which data set to load, and how to present it to a network."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, ClassVar

from spikeport.checks import choice, integer
from spikeport.errors import DataSetError, MissingPackageError
from spikeport.network import Coding
from spikeport.trainer.data.events import Binning, Slicing
from spikeport.trainer.data.layout import Layout
from spikeport.trainer.data.pixels import PixelGrid


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which data set to load, from where, and how to present it to a network.

    A setting that the data set does not use is an error, unless it has its default value.

    Attributes:
        name: a name such as `digits` or `mnist`, an .npz file, or a folder of images.
        folder: the folder that contains data sets; by default that of SPIKEPORT_DATA, its subfolder
            `data`, or `./data`.
        test: share of the samples of each class that is held out as test samples, for data sets
            without an official test split; digits always hold out 360.
        split_seed: seed for drawing the test samples and `train_samples`.
        train_samples: number of training samples to use (0 for all), drawn by `split_seed` in
            proportion to class sizes. MNIST, Fashion-MNIST and CIFAR are published in random order:
            the first samples are used, and files that hold only later ones are not needed.
        levels, mean, std: see `PixelGrid`.
        full_scale: the pixel value of white (1.0), 1 for images of 0 and 1; 0 means 255, or 65535
            for 16-bit image files.
        layout: axes of images in .npz files (see `Layout`).
        slicing, window_us, size, coding: see `Binning`; `size` is also the side of images from
            folders.
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
    full_scale: int = 0
    layout: Layout = Layout.AUTO

    def __post_init__(self) -> None:
        if not (math.isfinite(self.test) and 0 < self.test < 1):
            raise DataSetError(f"data: test is {self.test}, must lie between 0 and 1")
        integer("data: split_seed", self.split_seed, 0, 2**32 - 1)
        integer("data: train_samples", self.train_samples, 0, 2**40)
        integer("data: full_scale", self.full_scale, 0, 2**16 - 1)
        object.__setattr__(self, "layout", choice("data: layout", Layout, self.layout))
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self.grid()
        self.binning(1)

    def grid(self) -> PixelGrid:
        """Mapping from grey levels to float values, on a full scale of 255."""
        return PixelGrid(self.levels, self.mean, self.std)

    def byte_grid(self) -> PixelGrid:
        """Mapping from bytes to float values, on the configured full scale."""
        return dataclasses.replace(self.grid(), full_scale=self.full_scale)

    def binning(self, steps: int) -> Binning:
        """Mapping from events to frames."""
        return Binning(steps, self.slicing, self.window_us, self.size, self.coding)

    def check_used(self, used: Collection[str]) -> None:
        """Refuse settings that this data set does not use.

        Raises:
            InputError: one of them has a value other than its default.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in ("name", "folder", *used) and value != field.default:
                shown = list(value) if isinstance(value, tuple) else value
                raise DataSetError(
                    f"data: {field.name} is {shown}, but data set '{self.name}' does not use it; "
                    f"it uses {', '.join(sorted(used)) or 'none of these settings'}"
                )


def data_config(
    source: str | PathLike[str] | DataConfig, changes: Mapping[str, Any] | None = None
) -> DataConfig:
    """The description of a data set given by name, by path or as a `DataConfig`.

    Args:
        changes: settings that override those of `source`.

    Raises:
        InputError: an unknown setting (the nearest known one is named), a value of the wrong type
            or out of its range.
        BackendUnavailableError: pydantic, which checks changes, is not installed.
    """
    config = source if isinstance(source, DataConfig) else DataConfig(name=os.fspath(source))
    if not changes:
        return config
    try:
        from spikeport.trainer.settings import read_settings
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"data set '{config.name}': settings need {error.name}, which is not installed: "
            "pip install '.[training]'"
        ) from error
    return read_settings(
        DataConfig, dataclasses.asdict(config), f"data set '{config.name}'", changes
    )
