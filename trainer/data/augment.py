"""Random changes of training samples: crops, flips, AutoAugment, Cutout, shifts of events.

They are applied to bytes, before normalisation, in the order of the fields of `Augment`. The
randomness of a sample depends only on the seed, the epoch and its index, so a batch is the same
however it is split over processes, fetched by threads or resumed.

Sources: crop and flip, He et al., arXiv 1512.03385; Cutout, DeVries & Taylor, arXiv 1708.04552;
the order and the flip and roll of events, Yu et al., arXiv 2410.11488 and their code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeport.checks import integer
from spikeport.errors import DataSetError
from spikeport.network import Shape
from spikeport.trainer.data.autoaugment import auto_augment
from spikeport.trainer.data.dataset import Key

DRAWS = 12
"""Random numbers per sample: crop 0-1, flip 2, roll 3-4, AutoAugment 5-9, Cutout 10-11."""


@dataclass(frozen=True, slots=True)
class Augment:
    """Which random changes to apply; none by default.

    Attributes:
        resized_crop: for images from folders, use a random part instead of the centre.
        crop_padding: crop the original size at random from the image padded by this many black
            pixels on each side.
        flip: mirror horizontally with probability 1/2.
        roll: shift cyclically by up to this many pixels, vertically and horizontally.
        auto_augment: the policy found for CIFAR-10 (see `autoaugment`).
        cutout: side of a square, centred anywhere in the image, that is set to black.
    """

    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    resized_crop: bool = False
    crop_padding: int = 0
    flip: bool = False
    roll: int = 0
    auto_augment: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        for name in ("crop_padding", "roll", "cutout"):
            integer(f"augment: {name}", getattr(self, name), 0, 2**12)

    @property
    def changes(self) -> bool:
        """Whether any change is enabled, except `resized_crop`, which is applied while reading."""
        return self != Augment(resized_crop=self.resized_crop)

    def check(self, sample: Shape) -> None:
        """Refuse changes that cannot be applied to samples of this shape.

        Raises:
            InputError: samples are not images, or not in colour for AutoAugment.
        """
        if self.changes and len(sample) != 3:
            raise DataSetError(f"augment: samples have shape {sample}, images (C, H, W) are needed")
        if self.auto_augment and sample[0] != 3:
            raise DataSetError(
                f"augment: auto_augment is for colour images, samples have shape {sample}"
            )


def draws(key: Key, count: int) -> NDArray[np.float32]:
    """The random numbers in [0, 1) of an epoch, (count, DRAWS), one row per sample."""
    return np.random.default_rng((*key, 1)).random((count, DRAWS), np.float32)


def augment(config: Augment, raw: NDArray[Any], u: NDArray[np.float32]) -> NDArray[Any]:
    """Apply the random changes to samples.

    Args:
        raw: (B, ..., H, W); not modified. All leading axes of a sample (T, C) change in the same
            way.
        u: the rows of `draws` for these samples.
    """
    if config.crop_padding:
        raw = _crop(raw, config.crop_padding, u[:, 0:2])
    if config.flip:
        turned = (u[:, 2] < 0.5).reshape(-1, *[1] * (raw.ndim - 1))
        raw = np.where(turned, raw[..., ::-1], raw)
    if config.roll:
        raw = _roll(raw, config.roll, u[:, 3:5])
    if config.auto_augment:
        raw = auto_augment(raw, u[:, 5:10])
    if config.cutout:
        raw = _cutout(raw, config.cutout, u[:, 10:12])
    return raw


def _whole(u: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Integers 0..count - 1, equally likely."""
    return np.minimum((u * count).astype(np.int64), count - 1)


def _crop(raw: NDArray[Any], padding: int, u: NDArray[np.float32]) -> NDArray[Any]:
    height, width = raw.shape[-2:]
    around = [(0, 0)] * (raw.ndim - 2) + [(padding, padding)] * 2
    padded, out = np.pad(raw, around), np.empty_like(raw)
    for row, (top, left) in enumerate(_whole(u, 2 * padding + 1).tolist()):
        out[row] = padded[row, ..., top : top + height, left : left + width]
    return out


def _roll(raw: NDArray[Any], most: int, u: NDArray[np.float32]) -> NDArray[Any]:
    out = np.empty_like(raw)
    for row, shift in enumerate((_whole(u, 2 * most + 1) - most).tolist()):
        out[row] = np.roll(raw[row], shift, axis=(-2, -1))
    return out


def _cutout(raw: NDArray[Any], side: int, u: NDArray[np.float32]) -> NDArray[Any]:
    out = raw.copy()
    height, width = raw.shape[-2:]
    for row, (a, b) in enumerate(u.tolist()):
        y, x = min(int(a * height), height - 1), min(int(b * width), width - 1)
        top, left = max(y - side // 2, 0), max(x - side // 2, 0)
        out[row, ..., top : y + side // 2, left : x + side // 2] = 0
    return out
