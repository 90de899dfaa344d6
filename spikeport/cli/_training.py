"""`train` with a recipe: run it, show its progress, and report the results."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from spikeport.cli import _io
from spikeport.energy import load_profile
from spikeport.errors import InputError
from spikeport.export.quantize import QuantizeConfig
from spikeport.runs import Samples
from spikeport.trainer.chip import QATNetwork
from spikeport.trainer.data import Dataset, load_dataset
from spikeport.trainer.loop import (
    EpochProgress,
    EpochRecord,
    TrainingCallbacks,
    TrainingResult,
    load_checkpoint,
)
from spikeport.trainer.loop import train as run_training
from spikeport.trainer.loop.checkpoint import written_paths
from spikeport.trainer.measure import measure_accuracy
from spikeport.trainer.measure.metrics import SPREAD, energy_uj, spread
from spikeport.trainer.ranks import process_group, share
from spikeport.trainer.recipe import Recipe, load_recipe
from spikeport.workflow import prepare_qat


def run_recipe(
    name: str,
    changes: Mapping[str, Any],
    out: Path,
    resume: bool,
    *,
    start: Path | None,
    teacher: Path | None,
    bits: int | None,
    minutes: float | None,
    workers: int | None,
    log: Path | None,
    lines: bool,
) -> dict[str, Any] | None:
    """Train and test; return the results to show, None in all processes but the first."""
    recipe = load_recipe(name, changes)
    config = recipe.training if bits is None else recipe.on_chip(bits)
    for path in written_paths(out, config):
        inputs = (name, recipe.data.name, config.energy_profile, start, teacher)
        _io.check_out("--out", path, _io.CHECKPOINT, *inputs)
    with process_group(config.device):
        data = load_dataset(recipe.data, config.steps)
        begin: Path | QATNetwork | None = start
        if bits is not None and not resume:
            begin = chip_start(start, bits, spread(data.train_x, recipe.chip.calibration))
        first = share()[0] == 0
        with watching(config.epochs, log if first else None, lines and first, first) as watch:
            result = run_training(
                config,
                data,
                watch,
                checkpoint=out,
                resume=resume,
                minutes=minutes,
                workers=workers,
                start=begin,
                teacher=teacher,
            )
        facts = _facts(recipe, result, data, out)
    return facts if first else None


def chip_start(start: Path | None, bits: int, samples: Samples) -> QATNetwork:
    """The --from network in chip arithmetic."""
    if start is None:
        raise InputError(f"--bits {bits}: needs --from CHECKPOINT, a network trained in floats")
    model = load_checkpoint(start).model
    if isinstance(model, QATNetwork):
        return model
    return prepare_qat(model, samples, QuantizeConfig(weight_bits=bits), static=True)


def describe_epoch(record: EpochRecord, epochs: int) -> str:
    """One line: loss, accuracies, spikes and energy."""
    text = (
        f"epoch {record.epoch}/{epochs}, loss {record.loss:.4f}, "
        f"accuracy {100 * record.accuracy:.2f} %"
    )
    if record.valid_accuracy is not None:
        text += f", held out {100 * record.valid_accuracy:.2f} %"
    text += f", {record.firing_rate:.3f} spikes per neuron and step"
    if record.energy_uj is not None:
        text += f", about {record.energy_uj:.3g} µJ per sample"
    return f"{text}, {record.seconds:.0f} s"


@contextmanager
def watching(epochs: int, log: Path | None, lines: bool, bar: bool) -> Iterator[TrainingCallbacks]:
    """Show a run on terminals, in lines and in TensorBoard, as requested."""
    with ExitStack() as stack:
        update = stack.enter_context(_io.progress("training")) if bar else lambda *_: None
        write = None
        if log is not None:
            from spikeport.trainer.loop.tensorboard import tensorboard_log

            write = stack.enter_context(tensorboard_log(log))

        def epoch(record: EpochRecord) -> None:
            if write is not None:
                write(record)
            if lines:
                sys.stderr.write(describe_epoch(record, epochs) + "\n")

        def batch(number: int, progress: EpochProgress, count: int) -> None:
            text = (
                f"epoch {number}/{epochs}, loss {progress.loss:.3f}, "
                f"{100 * progress.accuracy:.1f} %, {progress.firing_rate:.3f} spikes"
            )
            update(text, (number - 1) * count + progress.batches, epochs * count)

        yield TrainingCallbacks(epoch, batch)


def _facts(recipe: Recipe, result: TrainingResult, data: Dataset, out: Path) -> dict[str, Any]:
    last = result.history[-1]
    facts: dict[str, Any] = {
        "checkpoint": str(out),
        "recipe": recipe.title,
        "epochs": len(result.history),
        "loss": last.loss,
        "train_accuracy": last.accuracy,
        "spikes_per_neuron_step": last.firing_rate,
        "energy_uj_per_sample": last.energy_uj,
        "test_accuracy": measure_accuracy(result.model, data.test_x, data.test_y),
        "test_samples": len(data.test_x),
    }
    if result.best is not None:
        best = result.history[(result.best_epoch or 1) - 1]
        facts |= {
            "best_epoch_by_validation": best.epoch,
            "best_validation_accuracy": best.valid_accuracy,
            "best_test_accuracy": measure_accuracy(result.best, data.test_x, data.test_y),
        }
    facts |= _budget_facts(result, data)
    published = recipe.published.get(result.config.rule, {}).get(str(result.config.steps))
    if published is not None:
        facts["published_percent"] = published
    return facts | {"seconds": round(sum(record.seconds for record in result.history), 1)}


def _budget_facts(result: TrainingResult, data: Dataset) -> dict[str, Any]:
    """The energy budget and whether test samples keep it, by the best epoch if there is one."""
    config = result.config
    if config.energy_budget_uj is None:
        return {}
    profile = load_profile(config.energy_profile)
    samples = spread(data.test_x, SPREAD)
    spent = {"test_energy_uj_per_sample": energy_uj(result.model, samples, profile)}
    if result.best is not None:
        spent["best_test_energy_uj_per_sample"] = energy_uj(result.best, samples, profile)
    decides = list(spent.values())[-1]
    return {
        "energy_profile": profile.name,
        "energy_budget_uj": config.energy_budget_uj,
        **spent,
        "energy_budget_met": decides is not None and decides <= config.energy_budget_uj,
    }
