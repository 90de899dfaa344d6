"""Images in one folder per class, as ImageNet is laid out; read when they are needed."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spikeport.errors import InputError
from spikeport.limits import MAX_PIXELS, check_count
from spikeport.trainer.data import Dataset, Gathered, Indices, Key
from spikeport.trainer.data_pixels import PixelGrid, pixel_values

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm")
HELD_OUT = ("val", "test")
EVALUATION_MARGIN = 256 / 224
"""The shorter side is made this much longer than the centre crop (256 for 224)."""
CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10
FAULTS = (
    *(OSError, ValueError, SyntaxError, EOFError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RuntimeError, MemoryError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)
"""What Pillow raises of damaged images."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


@dataclass(frozen=True, slots=True, eq=False)
class FolderImages(Gathered):
    """Image files, decoded to RGB of `size` x `size` by whoever asks for them.

    With a key a random part of the image is taken (Szegedy et al., arXiv 1409.4842: 8 to 100 % of
    its area, aspect 3/4 to 4/3) and resized; without one the centre after resizing.
    """

    root: Path
    files: tuple[str, ...]
    size: int
    table: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.files)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """(3, size, size)."""
        return (3, self.size, self.size)

    def bounds(self) -> tuple[float, float]:
        """Lowest and highest float value that a pixel can have."""
        return float(self.table.min()), float(self.table.max())

    def raw(self, index: Indices, key: Key | None = None) -> NDArray[np.uint8]:
        """(B, 3, size, size) bytes.

        Raises:
            InputError: a file is missing, truncated or no image.
        """
        out = np.empty((len(index), *self.sample_shape), np.uint8)
        for row, number in enumerate(index.tolist()):
            rng = None if key is None else np.random.default_rng((*key, number))
            out[row] = decode(self.root / self.files[number], self.size, rng)
        return out

    def floats(self, raw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Values of grey levels, (B, 3, size, size)."""
        return pixel_values(self.table, raw)

    def first(self, count: int) -> FolderImages:
        """The first `count` samples alone."""
        return dataclasses.replace(self, files=self.files[:count])

    def digest(self) -> bytes:
        """SHA-256 of names and sizes of the files; their content is not read."""
        digest = hashlib.sha256(repr((self.size, self.table.tobytes())).encode())
        for name in self.files:
            digest.update(f"{name} {(self.root / name).stat().st_size}\n".encode())
        return digest.digest()


def load_folder(root: str | os.PathLike[str], size: int, grid: PixelGrid) -> Dataset:
    """Images in `root`/train/CLASS/ and `root`/val/CLASS/ (or test/); classes in order of name.

    Raises:
        InputError: a folder is missing or has no images, or a held-out class is unknown.
    """
    root = Path(root)
    if not size:
        raise InputError(f"data set '{root}': images in folders need `size`, their side in pixels")
    held = next((name for name in HELD_OUT if (root / name).is_dir()), None)
    if held is None or not (root / "train").is_dir():
        raise InputError(
            f"data set '{root}': must hold folders train/CLASS and val/CLASS (or test/CLASS) "
            "with images in them"
        )
    classes = _folders(root / "train")
    table = grid.table(3)
    parts = []
    for part in ("train", held):
        if unknown := set(_folders(root / part)) - set(classes):
            raise InputError(f"{root / part / min(unknown)}: class is not among those of train")
        files, labels = [], []
        for label, name in enumerate(classes):
            found = _images(root / part / name)
            files += [f"{part}/{name}/{file}" for file in found]
            labels += [label] * len(found)
        images = FolderImages(root, tuple(files), size, table)
        parts.append((images, np.array(labels, np.int64)))
    (train, train_y), (test, test_y) = parts
    shape = (3, size, size)
    return Dataset(root.name, train, train_y, test, test_y, grid.input(shape), len(classes))


def decode(path: Path, size: int, rng: np.random.Generator | None) -> NDArray[np.uint8]:
    """One image file as (3, size, size): a random part, or the centre where `rng` is None."""
    try:
        with Image.open(path) as opened:
            check_count(f"{path}: pixels", opened.width * opened.height, MAX_PIXELS)
            image = opened.convert("RGB")
    except InputError:
        raise
    except FAULTS as error:
        raise InputError(f"{path}: is missing or no readable image: {error}") from error
    # The centre crop of the image resized so that its shorter side is a margin longer.
    inner = min(image.size) * size / round(size * EVALUATION_MARGIN)
    box = _square(image, inner) if rng is None else _random_part(image, rng)
    cut = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(cut).transpose(2, 0, 1)


def _square(image: Image.Image, side: float) -> Box:
    left, top = ((length - side) / 2 for length in image.size)
    return (left, top, left + side, top + side)


def _random_part(image: Image.Image, rng: np.random.Generator) -> Box:
    width, height = image.size
    for _ in range(CROP_TRIES):
        area = width * height * rng.uniform(*CROP_AREA)
        ratio = math.exp(rng.uniform(math.log(CROP_RATIO[0]), math.log(CROP_RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.integers(width - w + 1), rng.integers(height - h + 1)
            return (float(left), float(top), float(left + w), float(top + h))
    return _square(image, min(image.size))


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


def _images(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(e.name for e in os.scandir(folder) if e.name.lower().endswith(SUFFIXES))
