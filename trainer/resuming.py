"""Going on from a checkpoint: only with the same run, and with its best epoch beside it."""

from __future__ import annotations

import dataclasses
from os import PathLike

from spikeport.errors import InputError
from spikeport.trainer.checkpoint import Checkpoint, EpochRecord, best_path, load_checkpoint
from spikeport.trainer.chip import AnyNetwork
from spikeport.trainer.config import TrainConfig
from spikeport.trainer.data import Dataset


def check_same_run(path: str, state: Checkpoint, config: TrainConfig, data: Dataset) -> None:
    """Refuse a checkpoint of another configuration or of other data.

    Raises:
        InputError: naming what differs.
    """
    for field in dataclasses.fields(TrainConfig):
        saved, asked = getattr(state.config, field.name), getattr(config, field.name)
        if saved != asked:
            raise InputError(
                f"{path}: was trained with {field.name} {saved!r}, cannot go on with {asked!r}"
            )
    if (state.fingerprint, state.model.input) != (data.fingerprint, data.input):
        raise InputError(
            f"{path}: was trained on other data ('{state.data}'), cannot go on with '{data.name}'"
        )


def load_best(path: str | PathLike[str], state: Checkpoint) -> AnyNetwork | None:
    """The network of the best epoch so far, None without validation.

    Raises:
        InputError: its file is missing or of another run.
    """
    epoch = best_epoch(state.history)
    if epoch is None:
        return None
    best = load_checkpoint(best_path(path))
    if len(best.history) < epoch:
        raise InputError(
            f"{best_path(path)}: holds epoch {len(best.history)}, the best one is {epoch}; it is "
            "of another run"
        )
    return best.model


def best_epoch(history: tuple[EpochRecord, ...]) -> int | None:
    """The epoch that was best by validation, the first of equals, counted from 1."""
    rated = [(r.valid_accuracy, -r.epoch) for r in history if r.valid_accuracy is not None]
    return -max(rated)[1] if rated else None
