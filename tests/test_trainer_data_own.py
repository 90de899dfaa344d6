"""Data sets made of arrays, torch data sets and loaders, and handed out as tensors."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from spikeport.errors import InputError
from spikeport.network import Coding, Input
from spikeport.trainer import load_digits_split, make_dataset

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 1, 4, 4), np.uint8)
LABELS = np.arange(40) % 4
FLOATS = PIXELS.astype(np.float32) / 255


def test_arrays_tensors_sets_and_loaders_give_the_same_data_set() -> None:
    pairs = TensorDataset(torch.tensor(FLOATS), torch.tensor(LABELS))
    made = [
        make_dataset((FLOATS, LABELS), (FLOATS, LABELS)),
        make_dataset((torch.tensor(FLOATS), torch.tensor(LABELS)), pairs),
        make_dataset(pairs, pairs),
        make_dataset(DataLoader(pairs, 7), DataLoader(pairs, 9)),
        make_dataset(list(zip(FLOATS, LABELS.tolist(), strict=True)), pairs),
    ]
    assert len({data.fingerprint for data in made}) == 1
    for data in made:
        assert data.input == Input("input", (1, 4, 4), Coding.GRADED, 0, 255, 255.0)
        np.testing.assert_array_equal(data.test_x, FLOATS)


def test_bytes_stay_bytes_and_have_the_values_of_pixels() -> None:
    data = make_dataset((PIXELS, LABELS))
    assert len(data.train_x) == 32
    assert len(data.test_x) == 8
    assert data.input.high == 255
    whole = np.concatenate([np.asarray(data.train_x), np.asarray(data.test_x)])
    np.testing.assert_allclose(np.sort(whole.ravel()), np.sort(FLOATS.ravel()), atol=1e-7)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (FLOATS > 0.5, Input("input", (1, 4, 4))),
        ((FLOATS > 0.5).astype(np.float32), Input("input", (1, 4, 4))),
        (
            np.rint(FLOATS * 16) / 16,
            Input("input", (1, 4, 4), Coding.GRADED, 0, 16, 16.0),
        ),
        (
            np.rint(FLOATS * 8).astype(np.int64) - 3,
            Input("input", (1, 4, 4), Coding.GRADED, -3, 5, 1.0),
        ),
        (
            # values of 0..1 have the whole range, whatever is the highest of them
            np.rint(FLOATS * 8) / 16,
            Input("input", (1, 4, 4), Coding.GRADED, 0, 16, 16.0),
        ),
        (np.zeros_like(FLOATS), Input("input", (1, 4, 4))),
    ],
)
def test_the_input_follows_from_the_values(x: np.ndarray, expected: Input) -> None:
    assert make_dataset((x, LABELS)).input == expected


def test_values_that_no_input_follows_from_need_a_declared_one() -> None:
    x = np.random.default_rng(0).normal(size=(40, 5))
    with pytest.raises(InputError, match=r"no input follows from the values.*declare one"):
        make_dataset((x, LABELS))
    declared = Input("input", (5,), Coding.GRADED, -127, 127, 32.0)
    assert make_dataset((x, LABELS), input=declared).input == declared


def test_every_value_counts_for_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeport.trainer.data.own.PROBED", 4)
    x = np.rint(FLOATS * 8) / 8
    place = 3  # not among the values probed first
    x[0, 0, 0, place] = 1 / 32
    assert make_dataset((x, LABELS), (x, LABELS)).input.scale == 32


def test_values_beyond_the_payloads_of_the_chip_need_a_declared_input() -> None:
    for x in (np.full((40, 2), -(2**23) - 1), np.full((40, 2), 2**23)):
        with pytest.raises(InputError, match="no input follows from the values, which span"):
            make_dataset((x, LABELS))
    x = np.repeat([[-(2**23), 2**23 - 1]], 40, axis=0)
    assert make_dataset((x, LABELS)).input.low == -(2**23)


def test_bytes_beside_values_need_a_declared_input() -> None:
    for pair in (((PIXELS, LABELS), (FLOATS, LABELS)), ((FLOATS, LABELS), (PIXELS, LABELS))):
        with pytest.raises(InputError, match=r"train_x has type .*, must be uint8 .* or neither"):
            make_dataset(*pair)
    declared = Input("input", (1, 4, 4), Coding.GRADED, 0, 255)
    data = make_dataset((PIXELS, LABELS), (PIXELS.astype(float), LABELS), input=declared)
    np.testing.assert_array_equal(np.asarray(data.train_x), data.test_x)


def test_tensors_of_a_computation_are_taken_without_it() -> None:
    x = torch.tensor(FLOATS, requires_grad=True) * 1.0
    assert make_dataset((x, torch.tensor(LABELS))).input.high == 255


def test_only_a_set_that_is_dark_as_a_whole_is_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dark = PIXELS // 128
    make_dataset((PIXELS, LABELS), (dark, LABELS))
    make_dataset((dark, LABELS), (PIXELS, LABELS))
    assert "brightest" not in caplog.text
    make_dataset((dark, LABELS), (dark, LABELS))
    assert "data set 'data': x: the brightest value is 1 of 255" in caplog.text


def test_classes_without_samples_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    make_dataset((PIXELS, LABELS), classes=6)
    assert "2 of 6 classes have no training samples: 4, 5" in caplog.text


def test_the_seed_decides_what_is_held_out() -> None:
    held = [make_dataset((PIXELS, LABELS), seed=seed, test_share=0.25).test_x for seed in (1, 1, 2)]
    assert [len(part) for part in held] == [10, 10, 10]
    first, same, other = (np.asarray(part) for part in held)
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_fractions_declared_as_spikes_are_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"between 0 and 1 .* declare it as graded"):
        make_dataset((FLOATS, LABELS), input=Input("input", (1, 4, 4)))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (3, "is int, must be a pair"),
        ([], "is empty"),
        ([FLOATS[0], FLOATS[1], FLOATS[2]], "must give pairs"),
        ([(FLOATS[0], 0), (FLOATS[1, 0], 1), (FLOATS[2], 1)], "must be equal"),
        ((FLOATS[:, 0, 0, 0], LABELS), "must be \\(N, \\*shape\\)"),
        ((FLOATS, LABELS[:-1]), "40 samples but 39 labels"),
        ((FLOATS, LABELS - 1), "has label -1"),
        ((FLOATS, LABELS / 2), "must be integers"),
        ((FLOATS * np.nan, LABELS), "NaN"),
        ((FLOATS.astype(str), LABELS), "must be numbers"),
    ],
)
def test_bad_samples_are_one_clear_error(train: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_dataset(train)


def test_samples_may_be_lists_of_numbers() -> None:
    pairs = [(x.tolist(), label) for x, label in zip(FLOATS, LABELS.tolist(), strict=True)]
    made, known = make_dataset(pairs), make_dataset((FLOATS.astype(float), LABELS))
    assert made.fingerprint == known.fingerprint


def test_one_way_iterators_of_pairs_are_read() -> None:
    made = make_dataset(zip(FLOATS, LABELS.tolist(), strict=True))
    assert len(made.train_x) + len(made.test_x) == 40
    with pytest.raises(InputError, match="is empty"):
        make_dataset(iter(()))


def test_counts_are_logged_and_a_shuffling_loader_is_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pairs = TensorDataset(torch.tensor(FLOATS), torch.tensor(LABELS))
    with caplog.at_level(logging.INFO):
        make_dataset(DataLoader(pairs, 8, shuffle=True))
    assert "32 training and 8 test samples, 4 classes" in caplog.text
    assert "is a DataLoader that shuffles" in caplog.text


def test_splits_are_torch_data_sets() -> None:
    data = load_digits_split(seed=0)
    x, y = next(iter(DataLoader(data.train, batch_size=16)))  # type: ignore[arg-type]
    np.testing.assert_array_equal(x, data.train_x[:16])
    np.testing.assert_array_equal(y, data.train_y[:16])
    last, label = data.test[-1]
    assert last.shape == data.input.shape
    assert label == data.test_y[-1]
    with pytest.raises(IndexError):
        data.test[len(data.test)]


def test_bytes_are_handed_out_as_values() -> None:
    data = make_dataset((PIXELS, LABELS), (PIXELS, LABELS))
    x, y = data.train[3]
    np.testing.assert_allclose(x, FLOATS[3], atol=1e-7)
    assert y == 3


FRAMES = np.random.default_rng(1).integers(0, 3, (40, 5, 2, 4, 4))


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (FRAMES > 0, Input("input", (2, 4, 4))),
        (FRAMES, Input("input", (2, 4, 4), Coding.GRADED, 0, 2, 1.0)),
        (FRAMES.astype(np.uint8), Input("input", (2, 4, 4), Coding.GRADED, 0, 2, 1.0)),
        (FRAMES / 2, Input("input", (2, 4, 4), Coding.GRADED, 0, 2, 2.0)),
        (FRAMES - 1.0, Input("input", (2, 4, 4), Coding.GRADED, -1, 1, 1.0)),
    ],
)
def test_each_step_may_have_its_own_values(x: np.ndarray, expected: Input) -> None:
    pairs = TensorDataset(torch.tensor(x), torch.tensor(LABELS))
    made = [
        make_dataset((x, LABELS), (x, LABELS), steps=5),
        make_dataset(pairs, pairs, steps=5),
        make_dataset(DataLoader(pairs, 7), pairs, steps=5),
    ]
    assert len({data.fingerprint for data in made}) == 1
    for data in made:
        assert data.input == expected
        np.testing.assert_array_equal(data.train_x[3:6], x[3:6].swapaxes(0, 1))
        sample, label = data.train[7]
        np.testing.assert_array_equal(sample, x[7])
        assert label == LABELS[7]


def test_steps_are_those_of_the_values() -> None:
    with pytest.raises(
        InputError, match=r"^data set 'data': train_x has shape .*, must be .* with T = 4$"
    ):
        make_dataset((FRAMES, LABELS), steps=4)
    with pytest.raises(InputError, match="between 0 and 1"):
        make_dataset((FRAMES / 2, LABELS), steps=5, input=Input("input", (2, 4, 4)))
    with pytest.raises(InputError, match=r"train_x spans 0\.\.2 .*, must lie in 0\.\.1"):
        make_dataset((FRAMES, LABELS), steps=5, input=Input("i", (2, 4, 4), Coding.GRADED, 0, 1))
