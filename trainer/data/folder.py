"""Images in one folder per class, in the layout of ImageNet; read on demand."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spikeport.errors import DataSetError
from spikeport.storage import nearest
from spikeport.trainer.data.dataset import Dataset, Gathered, Indices, Key
from spikeport.trainer.data.files import unreadable
from spikeport.trainer.data.hidden_files import is_hidden
from spikeport.trainer.data.image import SUFFIXES, brightest, opened, to_rgb
from spikeport.trainer.data.pixels import PixelGrid, pixel_values, warn_if_dark

HELD_OUT = ("val", "test")
EVALUATION_MARGIN = 256 / 224
"""The shorter side is resized to this multiple of the centre crop (256 for 224)."""
CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10
LOOKED_AT = 16
"""Number of images of each split that are opened when a data set is loaded."""
_log = logging.getLogger(__name__)

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


@dataclass(frozen=True, slots=True, eq=False)
class FolderImages(Gathered):
    """Image files, decoded on demand to RGB of `size` x `size`.

    With a key, a random part of the image (Szegedy et al., arXiv 1409.4842: 8 to 100 % of its area,
    aspect 3/4 to 4/3) is resized; without one, the image is resized and its centre cropped.

    Attributes:
        table: float value of each byte, where 255 is full scale.
        full_scale: see `to_rgb`.
    """

    root: Path
    files: tuple[str, ...]
    size: int
    table: NDArray[np.float32]
    full_scale: int = 0

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
            InputError: a file is missing, truncated or not an image.
        """
        out = np.empty((len(index), *self.sample_shape), np.uint8)
        for row, number in enumerate(index.tolist()):
            rng = None if key is None else np.random.default_rng((*key, number))
            path = self.root / self.files[number]
            out[row] = decode(path, self.size, rng, self.full_scale)
        return out

    def floats(self, raw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Values of grey levels, (B, 3, size, size)."""
        return pixel_values(self.table, raw)

    def take(self, index: slice | Indices) -> FolderImages:
        """A data set with only the selected samples."""
        chosen = np.arange(len(self))[index] if isinstance(index, slice) else index
        return dataclasses.replace(self, files=tuple(self.files[i] for i in chosen.tolist()))

    def digest(self) -> bytes:
        """SHA-256 of names and sizes of the files; their content is not read."""
        scale = (self.full_scale,) if self.full_scale else ()
        digest = hashlib.sha256(repr((self.size, self.table.tobytes(), *scale)).encode())
        for name in self.files:
            try:
                size = (self.root / name).stat().st_size
            except OSError as error:
                raise unreadable(self.root / name, error) from error
            line = f"{name} {size}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))  # as stored in the file system
        return digest.digest()


def load_folder(
    root: str | os.PathLike[str], size: int, grid: PixelGrid, full_scale: int = 0
) -> Dataset:
    """Load images in `root`/train/CLASS/ and `root`/val/CLASS/ (or test/); classes sorted by name.

    Hidden entries and files without an image suffix are ignored and counted in a warning.

    Args:
        full_scale: the pixel value of white; 0 means 255, or 65535 for 16-bit files.

    Raises:
        InputError: a folder is missing, a class has no training images, a held-out class is
            unknown, or one of the images that are opened cannot be used.
    """
    root = Path(root)
    if not size:
        raise DataSetError(
            f"data set '{root}': images in folders need `size`, their side in pixels"
        )
    held = [name for name in HELD_OUT if (root / name).is_dir()]
    if not held or not (root / "train").is_dir():
        found = ", ".join(sorted(f"'{e.name}'" for e in root.iterdir() if e.is_dir())[:8])
        raise DataSetError(
            f"data set '{root}': must contain folders train/CLASS and val/CLASS (or test/CLASS) "
            f"with images; it contains {f'folders {found}' if found else 'no folder'}"
        )
    ignored: Counter[str] = Counter()
    if len(held) > 1:
        _log.warning("data set '%s': '%s' is used for testing, '%s' is ignored", root, *held)
    classes = _classes(root / "train", ignored)
    parts = []
    for part in ("train", held[0]):
        for name in _classes(root / part, ignored) if part != "train" else ():
            if name not in classes:
                raise DataSetError(
                    f"{root / part / name}: class is not one of those in train"
                    f"{nearest(name, classes)}"
                )
        files, labels = [], []
        for label, name in enumerate(classes):
            found_files = _images(root / part / name, ignored)
            if part == "train" and not found_files:
                raise DataSetError(
                    f"{root / part / name}: class has no image; remove the folder or add "
                    f"images ({', '.join(SUFFIXES)})"
                )
            files += [f"{part}/{name}/{file}" for file in found_files]
            labels += [label] * len(found_files)
        images = FolderImages(root, tuple(files), size, grid.table(3), full_scale)
        parts.append((images, np.array(labels, np.int64)))
    if ignored:
        counts = ", ".join(f"{kind} ({count})" for kind, count in ignored.items())
        _log.warning("data set '%s': ignored: %s", root, counts)
    (train, train_y), (test, test_y) = parts
    _open_some(train)
    _open_some(test)
    shape = (3, size, size)
    return Dataset(root.name, train, train_y, test, test_y, grid.input(shape), len(classes))


def _open_some(images: FolderImages) -> None:
    """Open some images; warn if all of them are dark and their full scale is not stated."""
    chosen = np.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).round().astype(int)
    best, scale = 0.0, 1
    for number in chosen.tolist():
        path = images.root / images.files[number]
        with opened(path) as image:
            to_rgb(path, image, images.full_scale)
            value, full = brightest(path, image) if not images.full_scale else (1.0, 1)
        if value * scale >= best * full:
            best, scale = value, full
    if len(chosen):
        part = images.files[0].split("/")[0]
        subject = f"data set '{images.root}': {len(chosen)} images sampled from {part}"
        warn_if_dark(subject, best, scale)


def decode(
    path: Path, size: int, rng: np.random.Generator | None, full_scale: int = 0
) -> NDArray[np.uint8]:
    """Decode an image file to (3, size, size): a random part, or the centre if `rng` is None."""
    with opened(path) as found:
        image = to_rgb(path, found, full_scale)
    # The centre crop after resizing the image so that its shorter side is a margin longer.
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


def _classes(folder: Path, ignored: Counter[str]) -> list[str]:
    """Sorted names of the subfolders that are not hidden."""
    names = []
    for entry in _entries(folder):
        if is_hidden(entry.name):
            ignored["hidden entries"] += 1
        elif entry.is_dir():
            names.append(entry.name)
        else:
            ignored["files outside of class folders"] += 1
    return sorted(names)


def _images(folder: Path, ignored: Counter[str]) -> list[str]:
    """Sorted names of the image files that are not hidden; none if there is no such folder."""
    if not folder.is_dir():
        return []
    names = []
    for entry in _entries(folder):
        if is_hidden(entry.name):
            ignored["hidden entries"] += 1
        elif entry.is_dir():
            ignored["folders within class folders"] += 1
        elif not entry.name.lower().endswith(SUFFIXES):
            ignored["files without an image suffix"] += 1
        elif not entry.is_file():
            raise DataSetError(f"{entry.path}: is not a file, or is a broken link")
        else:
            names.append(entry.name)
    return sorted(names)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError as error:
        raise unreadable(folder, error) from error
