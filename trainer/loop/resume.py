"""Resume from a checkpoint: check that it belongs to the same run, and find its best epoch."""

from __future__ import annotations

import dataclasses
from os import PathLike

from spikeport.errors import TrainingError
from spikeport.text import quoted
from spikeport.trainer.chip import AnyNetwork, takes
from spikeport.trainer.config import TrainConfig
from spikeport.trainer.data import Dataset
from spikeport.trainer.loop.checkpoint import Checkpoint, EpochRecord, best_path, load_checkpoint
from spikeport.trainer.loop.distillation import Teacher


def check_same_run(
    path: str, state: Checkpoint, config: TrainConfig, data: Dataset, teacher: Teacher | None
) -> None:
    """Refuse a checkpoint with another configuration, data set, or teacher.

    Raises:
        InputError: names the difference.
    """
    for field in dataclasses.fields(TrainConfig):
        saved, asked = getattr(state.config, field.name), getattr(config, field.name)
        if saved != asked:
            raise TrainingError(
                f"{path}: was trained with {field.name} {quoted(saved)}, cannot continue with "
                f"{quoted(asked)}"
            )
    if state.fingerprint != data.fingerprint or not takes(state.model, data.input):
        raise TrainingError(
            f"{path}: was trained on other data ('{state.data}'), cannot continue with "
            f"'{data.name}'"
        )
    same = state.teacher is None if teacher is None else teacher.answers_to(state.teacher)
    if not same:
        raise TrainingError(
            f"{path}: was trained with another teacher, cannot continue with this one"
        )


def load_best(path: str | PathLike[str], state: Checkpoint) -> AnyNetwork | None:
    """The network of the best epoch so far, None without validation.

    Raises:
        InputError: its file is missing or belongs to another run.
    """
    epoch = best_epoch(state.history, state.config.energy_budget_uj)
    if epoch is None:
        return None
    best = load_checkpoint(best_path(path))
    if len(best.history) < epoch:
        raise TrainingError(
            f"{best_path(path)}: contains epoch {len(best.history)}, but the best one is {epoch}; "
            "it belongs to another run"
        )
    return best.model


def best_epoch(history: tuple[EpochRecord, ...], budget_uj: float | None = None) -> int | None:
    """The best epoch by validation, counted from 1; the first one on ties.

    With an energy budget, the best epoch within the budget, or the one with the lowest energy.
    """
    rated = [(*_rating(record, budget_uj), -record.epoch) for record in history]
    return -max(rated)[2] if history and history[0].valid_accuracy is not None else None


def _rating(record: EpochRecord, budget_uj: float | None) -> tuple[bool, float]:
    if budget_uj is None or record.energy_uj is None or record.energy_uj <= budget_uj:
        return True, record.valid_accuracy or 0.0
    return False, -record.energy_uj
