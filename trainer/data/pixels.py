"""Images stored as bytes, and the grid of float values presented to a network and a chip."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeport.checks import integer
from spikeport.errors import DataSetError
from spikeport.network import Coding, Input
from spikeport.trainer.data.dataset import Gathered, Indices, Key

NORMALIZED_SCALE = 64
"""Integer units per standard deviation: about one per grey level of natural images."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """Mapping from bytes p to float values x; white is p = F, the full scale.

    Plain: x = round(p L / F) / L with L = min(levels - 1, F), presented to the chip as 0..L.
    Normalised, per channel: x = (p / F - mean) / std, rounded to multiples of 1/64, so that the
    integers on the chip are exactly the values used in training.

    Attributes:
        levels: grey levels kept, 2 to 256; fewer levels leave more bits for weights on a chip.
        mean, std: of each channel, both empty for no normalisation.
        full_scale: F, 1 to 255; 0 if unspecified, which means 255.
    """

    levels: int = 256
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    full_scale: int = 0

    def __post_init__(self) -> None:
        integer("data: levels", self.levels, 2, 256)
        integer("data: full_scale of bytes", self.full_scale, 0, 255)
        if len(self.mean) != len(self.std):
            raise DataSetError(
                f"data: mean has {len(self.mean)} and std {len(self.std)} channels, must be equal"
            )
        if self.mean and self.levels != 256:
            raise DataSetError(
                f"data: levels is {self.levels}, cannot be combined with mean and std"
            )
        if not all(map(math.isfinite, self.mean)):
            raise DataSetError(f"data: mean is {list(self.mean)}, must be finite")
        if not all(math.isfinite(s) and s > 0 for s in self.std):
            raise DataSetError(f"data: std is {list(self.std)}, must be positive and finite")

    @property
    def white(self) -> int:
        """F, the value of a white byte."""
        return self.full_scale or 255

    @property
    def top(self) -> int:
        """L, the integer value of white on the chip."""
        return min(self.levels - 1, self.white)

    def check_brightest(self, subject: str, brightest: int) -> None:
        """Warn if bytes stay below half of an unspecified full scale.

        Raises:
            InputError: `brightest` is above the full scale.
        """
        if brightest > self.white:
            raise DataSetError(
                f"{subject} has the value {brightest}, must be at most {self.white}, its full_scale"
            )
        if not self.full_scale:
            warn_if_dark(subject, brightest, self.white)

    def table(self, channels: int) -> NDArray[np.float32]:
        """Value of each byte per channel, (1, 256) if all channels are the same.

        Raises:
            InputError: mean and std have a different number of channels.
        """
        grey = np.minimum(np.arange(256), self.white)
        if not self.mean:
            top = self.top
            plain = np.rint(grey * (top / self.white)).astype(np.float32) / np.float32(top)
            return np.asarray(plain, np.float32)[None]
        if len(self.mean) != channels:
            raise DataSetError(
                f"data: mean and std have {len(self.mean)} channels, the images have {channels}"
            )
        mean, std = (np.array(v, np.float64)[:, None] for v in (self.mean, self.std))
        units = np.rint((grey / self.white - mean) / std * NORMALIZED_SCALE)
        return np.asarray(units / NORMALIZED_SCALE, np.float32)

    def input(self, shape: Sequence[int]) -> Input:
        """The network input for images of this shape."""
        if not self.mean:
            top = self.top
            return Input("input", tuple(shape), Coding.GRADED, 0, top, scale=float(top))
        scale = float(NORMALIZED_SCALE)
        units = self.table(shape[0]) * scale
        low, high = int(units.min()), int(units.max())
        return Input("input", tuple(shape), Coding.GRADED, min(low, 0), max(high, 0), scale)


@dataclass(frozen=True, slots=True, eq=False)
class Pixels(Gathered):
    """Images as bytes in memory.

    Attributes:
        codes: uint8 (N, C, H, W) or (N, F).
        table: float value of each grey level, (1, 256) or (C, 256).
    """

    codes: NDArray[np.uint8]
    table: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, *sample_shape)."""
        return self.codes.shape

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """(C, H, W) or (F,)."""
        return self.codes.shape[1:]

    def bounds(self) -> tuple[float, float]:
        """Lowest and highest float value that a pixel can have."""
        return float(self.table.min()), float(self.table.max())

    def raw(self, index: Indices, key: Key | None = None) -> NDArray[np.uint8]:
        """(B, *sample_shape) bytes; there are no random changes."""
        return self.codes[index]

    def floats(self, raw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Values of grey levels, (B, *sample_shape)."""
        return pixel_values(self.table, raw)

    def take(self, index: slice | Indices) -> Pixels:
        """A data set with only the selected samples."""
        return Pixels(self.codes[index], self.table)

    def digest(self) -> bytes:
        """SHA-256 of bytes and values."""
        digest = hashlib.sha256(repr(self.codes.shape).encode())
        digest.update(np.ascontiguousarray(self.codes).data)
        digest.update(self.table.tobytes())
        return digest.digest()


def pixel_values(table: NDArray[np.float32], raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Look up grey levels, channel by channel if there is a row for each."""
    if len(table) == 1:
        plain: NDArray[np.float32] = table[0][raw]
        return plain
    values = np.empty(raw.shape, np.float32)
    for channel, row in enumerate(table):
        values[:, channel] = row[raw[:, channel]]
    return values


def warn_if_dark(subject: str, brightest: float, white: int) -> None:
    """Warn if pixels stay below half of an unspecified full scale."""
    if not brightest:
        _log.warning("%s: every pixel is 0", subject)
    elif 2 * brightest < white:
        _log.warning(
            "%s: the brightest value is %g of %d, so pixels become 0..%.3g; if %g is white, set "
            "full_scale = %g (--set data.full_scale=%g)",
            subject, brightest, white, brightest / white, *[brightest] * 3,
        )  # fmt: skip
