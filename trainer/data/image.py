"""Read image files as 8-bit RGB: pixels are scaled from their full scale, or refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spikeport.errors import DataSetError, InputError
from spikeport.storage import check_count
from spikeport.storage.limits import MAX_IMAGE_BYTES, MAX_PIXELS

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".pbm", ".tif", ".tiff")
BYTE_MODES = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LA", "PA", "RGBA")
PALETTE_MODES = ("P", "PA")
DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
SIXTEEN_BITS = 2**16 - 1
FAULTS = (
    *(OSError, ValueError, SyntaxError, EOFError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RuntimeError, MemoryError, AssertionError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)
"""Exceptions that Pillow raises for damaged images."""
BITS_TAG, PHOTOMETRIC_TAG, WHITE_IS_ZERO = 258, 262, 0


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file; any failure to read it within the block becomes one error that names it.

    Raises:
        InputError: missing, unreadable, or a file with several images (an animation, pages).
    """
    try:
        check_count(f"{path}: bytes", path.stat().st_size, MAX_IMAGE_BYTES)
        # From memory: of an open file, Pillow allocates whatever length a damaged block declares.
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            check_count(f"{path}: pixels", image.width * image.height, MAX_PIXELS)
            # In MPO files, as written by phones, the first image is the photograph.
            if (count := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
                raise DataSetError(f"{path}: contains {count} images, must contain one")
            yield image
    except InputError:
        raise
    except FAULTS as error:
        reason = str(error) or type(error).__name__
        raise DataSetError(f"{path}: is missing or not a readable image: {reason}") from error


def to_rgb(path: Path, image: Image.Image, full_scale: int = 0) -> Image.Image:
    """Convert an image to 8-bit RGB with 255 as full scale.

    Args:
        full_scale: the pixel value of white, except in 1-bit files; 0 means 255 for bytes and the
            full scale of the format for 16-bit files.

    Raises:
        InputError: the mode is unknown or has no known full scale; a pixel is transparent, NaN,
            negative, above the full scale, or not in the palette.
    """
    if image.mode in DEEP_MODES:
        return _from_deep(path, image, full_scale)
    if image.mode not in BYTE_MODES:
        raise DataSetError(
            f"{path}: has pixels of mode {image.mode}, must be 8-bit grey or colour, or 16-bit grey"
        )
    if image.mode in PALETTE_MODES:
        _check_palette(path, image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if (share := float(np.mean(np.asarray(image.getchannel("A")) < 255))) > 0:
            raise _transparent(path, share)
    one_bit = image.mode == "1"
    image = image.convert("RGB")
    if full_scale in (0, 255) or one_bit:
        return image
    pixels = np.asarray(image)
    if full_scale > 255:
        raise DataSetError(f"{path}: has 8-bit pixels, but full_scale is {full_scale}")
    return Image.fromarray(_on_bytes(path, pixels, full_scale))


def brightest(path: Path, image: Image.Image) -> tuple[float, int]:
    """The highest pixel value in a mode that `to_rgb` accepts, and the format's full scale."""
    if image.mode in DEEP_MODES:
        pixels, scale = _deep(path, image, 0)
        return float(pixels.max()), scale
    return float(np.asarray(image.convert("RGB")).max()), 255


def _check_palette(path: Path, image: Image.Image) -> None:
    """Refuse pixels without a colour in the palette, which Pillow shows as black."""
    highest = int(np.asarray(image.getchannel(0)).max())
    palette = image.palette
    colours = 0 if palette is None else len(palette.palette) // len(palette.mode)
    if highest >= colours:
        raise DataSetError(
            f"{path}: has a pixel of index {highest}, but a palette of {colours} colours"
        )


def _from_deep(path: Path, image: Image.Image, full_scale: int) -> Image.Image:
    pixels, scale = _deep(path, image, full_scale)
    key = image.info.get("transparency")
    if isinstance(key, int) and (share := float(np.mean(pixels == key))) > 0:
        raise _transparent(path, share)
    return Image.fromarray(_on_bytes(path, pixels, scale)).convert("RGB")


def _deep(path: Path, image: Image.Image, full_scale: int) -> tuple[NDArray[Any], int]:
    """Pixel values, with higher values for brighter pixels, and their full scale."""
    tags: Any = getattr(image, "tag_v2", {})
    bits = int(tags.get(BITS_TAG, (16,))[0])
    if full_scale:
        scale = full_scale
    elif image.mode.startswith("I;16"):
        scale = 2**bits - 1
    elif image.mode == "I" and image.format in ("PNG", "PPM"):
        scale = SIXTEEN_BITS
    else:
        kind = "floats" if image.mode == "F" else "signed or 32-bit integers"
        raise DataSetError(
            f"{path}: has pixels of mode {image.mode} ({kind}), whose full scale is unknown; set "
            "full_scale, or save it with 8 or 16 bits"
        )
    pixels = np.asarray(image)
    return (scale - pixels if tags.get(PHOTOMETRIC_TAG) == WHITE_IS_ZERO else pixels), scale


def _on_bytes(path: Path, pixels: NDArray[Any], scale: int) -> NDArray[np.uint8]:
    """Rescale 0..scale to 0..255."""
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= scale):
        raise DataSetError(f"{path}: pixels span {low:g}..{high:g}, must lie in 0..{scale}")
    codes: NDArray[np.uint8] = np.rint(pixels * (255 / scale)).astype(np.uint8)
    return codes


def _transparent(path: Path, share: float) -> InputError:
    return InputError(
        f"{path}: {100 * share:.3g} % of its pixels are transparent and have no defined colour; "
        "flatten it onto a background"
    )
