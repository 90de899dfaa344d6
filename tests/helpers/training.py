"""A tiny data set and short training runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from spikeport.network import Coding, Input
from spikeport.trainer import Dataset, TrainConfig, TrainingCallbacks, TrainingResult
from spikeport.trainer.loop import EpochProgress

TINY = TrainConfig(widths=(3, 4), steps=3, epochs=3, batch_size=16, seed=2)

LONG = dataclasses.replace(TINY, epochs=30)


def tiny_data(count: int = 50) -> Dataset:
    """Which quadrant of an 4x4 image is bright."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, count)
    x = rng.random((count, 1, 4, 4)) * 0.3
    for i, label in enumerate(labels):
        row, column = divmod(int(label), 2)
        x[i, 0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 0.6
    input = Input("input", (1, 4, 4), Coding.GRADED, 0, 16, scale=16.0)
    x = np.rint(x * 16) / 16
    return Dataset("quadrants", x, labels, x, labels, input, 4)  # type: ignore[arg-type]


def state(result: TrainingResult) -> dict[str, torch.Tensor]:
    return dict(result.model.state_dict())


def assert_same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


class KilledError(Exception):
    """Simulates a process that ends between two epochs or batches."""


def killing_after(batches: int) -> TrainingCallbacks:
    """Ends a run when so many batches are done, before the checkpoint that would follow."""
    seen = 0

    def batch(epoch: int, progress: EpochProgress, count: int) -> None:
        nonlocal seen
        seen += 1
        if seen > batches:
            raise KilledError

    return TrainingCallbacks(batch=batch)
