"""Augmentations: Pillow decides what AutoAugment's operations do; the rest is told exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from spikeport.errors import InputError
from spikeport.trainer.data import Augment
from spikeport.trainer.data.augment import DRAWS, augment, draws
from spikeport.trainer.data.autoaugment import OPERATIONS, POLICY, auto_augment

GREY = (128, 128, 128)


def affine(*matrix: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.transform(image.size, Image.Transform.AFFINE, matrix, fillcolor=GREY)


def pillow(name: str, m: float, sign: float, size: int) -> Callable[[Image.Image], Image.Image]:
    """The operation as its authors' code has it, magnitude m in 0..1."""
    factor = 1 + 0.9 * m * sign
    shift = sign * m * 150 / 331 * size
    return {
        "invert": ImageOps.invert,
        "solarize": lambda image: ImageOps.solarize(image, 256 * (1 - m)),  # type: ignore[arg-type]
        "posterize": lambda image: ImageOps.posterize(image, round(8 - 4 * m)),
        "autocontrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
        "brightness": lambda image: ImageEnhance.Brightness(image).enhance(factor),
        "contrast": lambda image: ImageEnhance.Contrast(image).enhance(factor),
        "color": lambda image: ImageEnhance.Color(image).enhance(factor),
        "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(factor),
        "translate_x": affine(1, 0, shift, 0, 1, 0),
        "translate_y": affine(1, 0, 0, 0, 1, shift),
        "shear_y": lambda image: image.transform(
            image.size,
            Image.Transform.AFFINE,
            (1, 0, 0, sign * 0.3 * m, 1, 0),
            Image.Resampling.BICUBIC,
            fillcolor=GREY,
        ),
        "rotate": lambda image: image.rotate(sign * 30 * m, fillcolor=GREY),
    }[name]


@pytest.mark.parametrize("name", OPERATIONS)
@given(
    seed=st.integers(0, 2**32 - 1),
    level=st.integers(0, 9),
    sign=st.sampled_from([-1.0, 1.0]),
    top=st.sampled_from([1, 2, 30, 200, 256]),
    size=st.sampled_from([4, 17, 32]),
)
def test_operations_are_those_of_pillow(
    name: str, seed: int, level: int, sign: float, top: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(rng.integers(0, top), top, (3, size, size)).astype(np.uint8)
    before = x.copy()
    found = OPERATIONS[name](x, level / 9, sign)
    image = Image.fromarray(np.ascontiguousarray(x.transpose(1, 2, 0)))
    expected = np.asarray(pillow(name, level / 9, sign, size)(image)).transpose(2, 0, 1)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(x, before)


def test_the_policy_names_known_operations_and_applies_the_drawn_pair() -> None:
    assert len(POLICY) == 25
    assert {name for pair in POLICY for _, name, _ in pair} == set(OPERATIONS)
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8)).astype(np.uint8)
    # Pair 14 (solarize 2 with chance 0.5, invert never), then pair 0 (invert, contrast).
    u = np.array([[14.5 / 25, 0.49, 0, 0.0, 0], [0.5 / 25, 0.05, 0, 0.1, 0.9]], np.float32)
    out = auto_augment(x, u)
    np.testing.assert_array_equal(out[0], OPERATIONS["solarize"](x[0], 2 / 9, 1))
    inverted = OPERATIONS["invert"](x[1], 7 / 9, 1)
    np.testing.assert_array_equal(out[1], OPERATIONS["contrast"](inverted, 6 / 9, -1))
    untouched = np.array([[0.5 / 25, 0.5, 0, 0.5, 0]] * 2, np.float32)
    np.testing.assert_array_equal(auto_augment(x, untouched), x)


def numbered(*shape: int) -> Any:
    return np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(np.uint8)


def row(**columns: float) -> Any:
    u = np.full((1, DRAWS), 0.75, np.float32)
    for name, value in columns.items():
        u[0, int(name.removeprefix("u"))] = value
    return u


@given(top=st.integers(0, 4), left=st.integers(0, 4))
def test_a_crop_is_the_image_moved_over_black(top: int, left: int) -> None:
    x = numbered(1, 2, 4, 5)
    out = augment(Augment(crop_padding=2), x, row(u0=(top + 0.5) / 5, u1=(left + 0.5) / 5))
    for y in range(4):
        for z in range(5):
            i, j = y + top - 2, z + left - 2
            inside = 0 <= i < 4 and 0 <= j < 5
            np.testing.assert_array_equal(out[0, :, y, z], x[0, :, i, j] if inside else 0)


def test_flip_and_roll_move_all_frames_of_a_sample_alike() -> None:
    x = numbered(2, 3, 2, 4, 4)
    u = np.concatenate([row(u2=0.49, u3=0.0, u4=0.99), row(u2=0.5, u3=0.5, u4=0.5)])
    flipped = augment(Augment(flip=True), x, u)
    np.testing.assert_array_equal(flipped[0], x[0, ..., ::-1])
    np.testing.assert_array_equal(flipped[1], x[1])
    rolled = augment(Augment(roll=1), x, u)
    np.testing.assert_array_equal(rolled[0], np.roll(x[0], (-1, 1), (-2, -1)))
    np.testing.assert_array_equal(rolled[1], x[1])


@pytest.mark.parametrize(
    ("y", "x", "rows", "columns"),
    [(0.0, 0.0, (0, 2), (0, 2)), (0.5, 0.99, (2, 6), (5, 8))],
)
def test_cutout_is_a_black_square_cut_off_at_the_border(
    y: float, x: float, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    image = numbered(1, 2, 8, 8)
    expected = image.copy()
    expected[..., slice(*rows), slice(*columns)] = 0
    out = augment(Augment(cutout=4), image, row(u10=y, u11=x))
    np.testing.assert_array_equal(out, expected)


FULL = Augment(crop_padding=4, flip=True, roll=2, auto_augment=True, cutout=8)


@given(st.permutations(range(6)), st.integers(1, 6))
def test_a_sample_changes_alike_in_any_company(order: list[int], count: int) -> None:
    """Shards, threads and resumed runs make other batches of the same samples."""
    x = np.random.default_rng(1).integers(0, 256, (6, 3, 32, 32)).astype(np.uint8)
    before, u = x.copy(), draws((3, 5), 6)
    whole = augment(FULL, x, u)
    chosen = order[:count]
    np.testing.assert_array_equal(augment(FULL, x[chosen], u[chosen]), whole[chosen])
    np.testing.assert_array_equal(x, before)


def test_draws_follow_from_seed_and_epoch_and_are_uniform() -> None:
    one = draws((1, 2), 20000)
    np.testing.assert_array_equal(one, draws((1, 2), 20000))
    assert not np.array_equal(one, draws((1, 3), 20000))
    assert not np.array_equal(one, draws((2, 2), 20000))
    assert one.min() >= 0
    assert one.max() < 1
    # Five standard errors of the mean of 20,000 uniform numbers.
    np.testing.assert_allclose(one.mean(0), 0.5, atol=5 / np.sqrt(12 * 20000))
    crops = np.bincount(np.minimum((one[:, 0] * 9).astype(int), 8)) / 20000
    np.testing.assert_allclose(crops, 1 / 9, atol=5 * np.sqrt(8 / 81 / 20000))


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        (Augment(flip=True), (5,), r"samples have shape \(5,\), images"),
        (Augment(auto_augment=True), (1, 8, 8), "auto_augment is for colour images"),
    ],
)
def test_what_samples_cannot_undergo_is_refused(
    config: Augment, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        config.check(shape)
    Augment(resized_crop=True).check(shape)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="augment: crop_padding is -1"):
        Augment(crop_padding=-1)
    with pytest.raises(InputError, match=r"augment: cutout is 1\.5, must be an integer"):
        Augment(cutout=1.5)  # type: ignore[arg-type]
