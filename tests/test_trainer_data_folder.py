"""Folders of images: entries that are not data, pixel modes of every depth, and full scales."""

from __future__ import annotations

import contextlib
import os
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spikeport.errors import InputError
from spikeport.trainer import DataConfig, Dataset, load_dataset
from spikeport.trainer.data.folder import FolderImages, decode
from spikeport.trainer.data.hidden_files import LEFTOVERS, is_hidden


def grey(value: float, dtype: Any = np.uint8, side: int = 12) -> Image.Image:
    return Image.fromarray(np.full((side, side), value, dtype))


def write_classes(root: Path, names: tuple[str, ...] = ("cat", "dog"), count: int = 3) -> None:
    for part in ("train", "val"):
        for name in names:
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                grey(200 + number).save(root / part / name / f"{number}.png")


def load(root: Path, **changes: Any) -> Dataset:
    return load_dataset(DataConfig(str(root), size=8), **changes)


def shown(data: Dataset) -> list[str]:
    assert isinstance(data.train_x, FolderImages)
    return list(data.train_x.files)


FOLDERS = (".ipynb_checkpoints", "__MACOSX", ".git", "@eaDir", "lost+found", "__pycache__")
FILES = ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.jpg", "._cat")


@given(
    st.lists(st.sampled_from(FOLDERS), unique=True),
    st.lists(st.sampled_from(FILES), unique=True),
    st.sampled_from(["train", "val"]),
)
def test_hidden_entries_change_nothing(
    tmp_path_factory: Any, folders: list[str], files: list[str], part: str
) -> None:
    root = tmp_path_factory.mktemp("set")
    write_classes(root)
    before = load(root)
    for name in folders:
        (root / part / name).mkdir()
        grey(0).save(root / part / name / "0.png")
    for name in files:
        (root / part / name).write_bytes(b"no image")
        (root / part / "cat" / name).write_bytes(b"no image")
    data = load(root)
    assert shown(data) == shown(before)
    assert data.fingerprint == before.fingerprint
    assert data.classes == 2
    assert data.test_y.tolist() == before.test_y.tolist()


def test_what_is_ignored_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_classes(tmp_path)
    load(tmp_path)
    assert caplog.messages == []
    (tmp_path / "train/.ipynb_checkpoints").mkdir()
    (tmp_path / "train/cat/._0.png").write_bytes(b"")
    (tmp_path / "train/cat/more").mkdir()
    (tmp_path / "val/dog/scan.gif").write_bytes(b"")
    (tmp_path / "val/0.png").write_bytes(b"")
    load(tmp_path)
    (line,) = caplog.messages
    assert line == (
        f"data set '{tmp_path}': ignored: hidden entries (2), folders within class folders (1), "
        "files outside of class folders (1), files without an image suffix (1)"
    )


def test_names_of_hidden_files() -> None:
    for name in (*LEFTOVERS, *FOLDERS, *FILES, "THUMBS.DB", "0/._1.bin", ".x/1.bin"):
        assert is_hidden(name), name
    for name in ("cat", "a.b", "thumbs", "macosx", "_x", "0/1.bin"):
        assert not is_hidden(name), name


def test_a_class_needs_images_to_train_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_classes(tmp_path)
    for entry in os.scandir(tmp_path / "val/cat"):
        os.remove(entry)
    data = load(tmp_path)
    assert data.test_y.tolist() == [1, 1, 1]
    assert "1 of 2 classes have no test samples: 0" in caplog.text
    (tmp_path / "train/cow").mkdir()
    (tmp_path / "train/cow/notes.txt").write_text("none yet")
    with pytest.raises(InputError, match=r"train/cow: class has no image; remove the folder"):
        load(tmp_path)


def test_folders_that_do_not_fit_together(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_classes(tmp_path)
    (tmp_path / "test").mkdir()
    load(tmp_path)
    assert "'val' is used for testing, 'test' is ignored" in caplog.text
    os.rename(tmp_path / "val/cat", tmp_path / "val/Cat")
    with pytest.raises(InputError, match=r"val/Cat: class is not .* did you mean 'cat'"):
        load(tmp_path)
    os.rename(tmp_path / "train", tmp_path / "Training")
    with pytest.raises(InputError, match="it contains folders 'Training', 'test', 'val'"):
        load(tmp_path)


def test_links_to_nothing_and_folders_named_as_images(tmp_path: Path) -> None:
    write_classes(tmp_path)
    data = load(tmp_path)
    os.remove(tmp_path / "train/cat/0.png")
    with pytest.raises(InputError, match=r"cat/0\.png: cannot be read: No such file"):
        _ = data.fingerprint
    os.symlink("/nowhere/0.png", tmp_path / "train/cat/0.png")
    with pytest.raises(InputError, match=r"cat/0\.png: is not a file, or is a broken link"):
        load(tmp_path)
    os.remove(tmp_path / "train/cat/0.png")
    (tmp_path / "train/cat/0.png").mkdir()
    assert len(load(tmp_path).train_x) == 5


DEEP = [
    ("I;16", np.uint16, "png", 65535),
    ("I;16", np.uint16, "tiff", 65535),
    ("I;16B", ">u2", "tiff", 65535),
    ("I", np.int32, "pgm", 65535),
    ("L", np.uint8, "png", 255),
    ("L", np.uint8, "pgm", 255),
]


@pytest.mark.parametrize(("mode", "dtype", "suffix", "scale"), DEEP)
@given(share=st.floats(0, 1))
def test_every_depth_keeps_its_share_of_full_scale(
    tmp_path_factory: Any, mode: str, dtype: Any, suffix: str, scale: int, share: float
) -> None:
    value = round(share * scale)
    path = tmp_path_factory.mktemp("image") / f"a.{suffix}"
    grey(value, dtype).save(path)
    with Image.open(path) as image:
        assert image.mode == mode
    codes = decode(path, 8, None)
    assert codes.shape == (3, 8, 8)
    assert np.abs(codes / 255 - value / scale).max() <= 0.5 / 255 + 1e-9


def test_deep_images_are_not_white(tmp_path: Path) -> None:
    write_classes(tmp_path)
    for number, value in enumerate((8000, 40000)):
        grey(value, np.uint16).save(tmp_path / f"train/cat/{number}.png")
    x = load(tmp_path).train_x[:2]
    np.testing.assert_allclose(x.reshape(2, -1).max(1), [8000 / 65535, 40000 / 65535], atol=2e-3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_opaque_bytes_of_every_mode(tmp_path: Path, mode: str) -> None:
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8))
    image = colour.convert(mode)
    path = tmp_path / ("a.tiff" if mode in ("CMYK", "YCbCr") else "a.png")
    image.save(path)
    box = (0.5, 0.5, 7.5, 7.5)
    expected = image.convert("RGB").resize((7, 7), Image.Resampling.BILINEAR, box=box)
    found = decode(path, 7, None)
    np.testing.assert_array_equal(found.transpose(1, 2, 0), np.asarray(expected))
    assert found.std() > 10


def transparent(mode: str) -> Image.Image:
    image = Image.new("RGBA", (8, 8), (250, 0, 0, 255))
    image.putpixel((3, 3), (0, 250, 0, 0))
    return image.convert(mode) if mode != "P" else image.quantize(4)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    transparent(mode).save(path)
    with pytest.raises(InputError, match=r"a\.png: 1\.56 % of its pixels are transparent"):
        decode(path, 8, None)


def chunk(name: bytes, body: bytes, length: int | None = None) -> bytes:
    """A block of a PNG file, with its length or a false one."""
    stated = struct.pack(">I", len(body) if length is None else length)
    return stated + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(colour_type: int, *chunks: bytes) -> bytes:
    """An 8-bit image of 12 x 12 pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 12, 12, 8, colour_type, 0, 0, 0))
    return b"".join((b"\x89PNG\r\n\x1a\n", header, *chunks, chunk(b"IEND", b"")))


@pytest.mark.parametrize(("colours", "index"), [(None, 0), (0, 0), (2, 2), (2, 255), (2, 1)])
def test_pixels_without_a_colour_in_the_palette_are_refused(
    tmp_path: Path, colours: int | None, index: int
) -> None:
    path = tmp_path / "a.png"
    palette = [] if colours is None else [chunk(b"PLTE", bytes([200, 201, 202] * colours))]
    rows = zlib.compress((b"\0" + bytes([index] * 12)) * 12)
    path.write_bytes(png(3, *palette, chunk(b"IDAT", rows)))
    if index < (colours or 0):
        assert (decode(path, 8, None) == np.array([200, 201, 202])[:, None, None]).all()
        return
    message = rf"a\.png: has a pixel of index {index}, but a palette of {colours or 0} colours"
    with pytest.raises(InputError, match=message):
        decode(path, 8, None)


@pytest.mark.parametrize("length", [2**20, 2**28, 2**31 - 1])
def test_a_block_takes_no_more_memory_than_the_file_has(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.png"
    rows = zlib.compress((b"\0" + bytes([9] * 12)) * 12)
    path.write_bytes(png(0, chunk(b"IDAT", rows, length)))
    tracemalloc.start()
    with contextlib.suppress(InputError):
        decode(path, 8, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_colour_key_for_transparency_is_refused(tmp_path: Path) -> None:
    for dtype, value in ((np.uint8, 7), (np.uint16, 700)):
        path = tmp_path / "a.png"
        grey(value, dtype).save(path, transparency=value)
        with pytest.raises(InputError, match="100 % of its pixels are transparent"):
            decode(path, 8, None)
        grey(value, dtype).save(path, transparency=value + 1)
        assert decode(path, 8, None).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (grey(0.5, np.float32), {}, r"of mode F \(floats\), whose full scale is unknown"),
        (grey(70000, np.int32), {}, r"of mode I \(signed or 32-bit integers\), whose full scale"),
        (Image.new("LAB", (8, 8)), {}, "of mode LAB, must be 8-bit grey or colour"),
        (
            grey(1),
            {"save_all": True, "append_images": [grey(2)]},
            "contains 2 images, must contain one",
        ),
    ],
)
def test_modes_without_a_known_scale_are_refused(
    tmp_path: Path, image: Image.Image, options: dict[str, Any], message: str
) -> None:
    path = tmp_path / "a.tiff"
    image.save(path, **options)
    with pytest.raises(InputError, match=rf"a\.tiff: .*{message}"):
        decode(path, 8, None)


@pytest.mark.parametrize(
    ("image", "scale"),
    [
        (grey(0.5, np.float32), 1),
        (grey(35000, np.int32), 65535),
        (grey(2048, np.uint16), 4095),
        (grey(1), 2),
        (grey(8), 16),
    ],
)
def test_a_stated_full_scale_is_honoured(tmp_path: Path, image: Image.Image, scale: int) -> None:
    path = tmp_path / "a.tiff"
    image.save(path)
    value = float(np.asarray(image).max())
    codes = decode(path, 8, None, scale)
    assert set(codes.flatten().tolist()) == {round(255 * value / scale)}
    if scale > 1:
        with pytest.raises(InputError, match=r"a\.tiff: (pixels span|has 8-bit pixels)"):
            decode(path, 8, None, int(value / 2) or 256)


def test_bytes_have_no_full_scale_of_16_bits_and_nan_is_no_pixel(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    grey(3).save(path)
    with pytest.raises(InputError, match="has 8-bit pixels, but full_scale is 4095"):
        decode(path, 8, None, 4095)
    for value in (np.nan, -1.0, np.inf):
        grey(value, np.float32).save(path)
        with pytest.raises(InputError, match=r"pixels span .*, must lie in 0\.\.1"):
            decode(path, 8, None, 1)


def test_white_is_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    grey(0, np.uint16).save(path, tiffinfo={262: 0})
    with Image.open(path) as image:
        zero_is_white = image.tag_v2.get(262) == 0  # type: ignore[attr-defined]
    assert zero_is_white
    assert decode(path, 8, None).min() == 255


def test_dark_folders_are_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_classes(tmp_path)
    for part in ("train", "val"):
        for entry in (tmp_path / part).rglob("*.png"):
            grey(1).save(entry)
    data = load(tmp_path)
    assert data.train_x[:].max() < 0.01
    assert "6 images sampled from train: the brightest value is 1 of 255" in caplog.text
    assert "--set data.full_scale=1" in caplog.text
    caplog.clear()
    stated = load(tmp_path, full_scale=1)
    assert stated.train_x[:].min() == 1
    assert caplog.messages == []
    assert stated.fingerprint != data.fingerprint


def test_twelve_bits_in_sixteen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_classes(tmp_path)
    for entry in tmp_path.rglob("*.png"):
        grey(4095, np.uint16).save(entry)
    load(tmp_path)
    assert "the brightest value is 4095 of 65535" in caplog.text
    assert load(tmp_path, full_scale=4095).train_x[:].min() == 1


def test_images_that_cannot_be_used_are_found_on_loading(tmp_path: Path) -> None:
    write_classes(tmp_path)
    grey(0.5, np.float32).save(tmp_path / "val/dog/9.tiff")
    with pytest.raises(InputError, match=r"val/dog/9\.tiff: has pixels of mode F"):
        load(tmp_path)
