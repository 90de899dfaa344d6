"""Shared by `train` and `front`: check options, and show the progress of training."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from spikeport.cli import _io
from spikeport.errors import OptionError
from spikeport.trainer.config import TrainConfig
from spikeport.trainer.loop import EpochProgress, EpochRecord, TrainingCallbacks
from spikeport.trainer.loop.checkpoint import written_paths
from spikeport.trainer.ranks import share


def check_checkpoint(out: Path, config: TrainConfig, *inputs: str | Path | None) -> None:
    """Refuse a checkpoint that cannot be written, before any computation."""
    for path in written_paths(out, config):
        _io.check_out("--out", path, _io.CHECKPOINT, *inputs)


def check_start(bits: int | None, start: Path | None) -> None:
    """Check that a start is given for training in chip arithmetic."""
    if bits is not None and start is None:
        raise OptionError(f"--bits {bits}: needs --from CHECKPOINT, a network trained in floats")


def describe_epoch(record: EpochRecord, config: TrainConfig) -> str:
    """One line: loss, accuracies, spikes and energy; an ANN has no spikes."""
    text = (
        f"epoch {record.epoch}/{config.epochs}, loss {record.loss:.4f}, "
        f"accuracy {100 * record.accuracy:.2f} %"
    )
    if record.valid_accuracy is not None:
        text += f", held out {100 * record.valid_accuracy:.2f} %"
    if not config.is_ann:
        text += f", {record.firing_rate:.3f} spikes per neuron and step"
    if record.energy_uj is not None:
        text += f", about {record.energy_uj:.3g} µJ per sample"
    return f"{text}, {record.seconds:.0f} s"


@contextmanager
def watching(config: TrainConfig, log: Path | None, lines: bool) -> Iterator[TrainingCallbacks]:
    """Show a run on terminals, in lines and in TensorBoard, as requested.

    With several processes, only the first one shows anything.
    """
    first, epochs = share()[0] == 0, config.epochs
    lines = lines and first
    with ExitStack() as stack:
        update = stack.enter_context(_io.progress("training")) if first else lambda *_: None
        write = None
        if log is not None and first:
            from spikeport.trainer.loop.tensorboard import tensorboard_log

            write = stack.enter_context(tensorboard_log(log, spikes=not config.is_ann))

        def epoch(record: EpochRecord) -> None:
            if write is not None:
                write(record)
            if lines:
                sys.stderr.write(describe_epoch(record, config) + "\n")

        def batch(number: int, progress: EpochProgress, count: int) -> None:
            text = (
                f"epoch {number}/{epochs}, loss {progress.loss:.3f}, "
                f"{100 * progress.accuracy:.1f} %"
            )
            if not config.is_ann:
                text += f", {progress.firing_rate:.3f} spikes"
            update(text, (number - 1) * count + progress.batches, epochs * count)

        yield TrainingCallbacks(epoch, batch)
