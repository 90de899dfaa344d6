"""TensorBoard logs of training epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from spikeport.errors import MissingPackageError
from spikeport.trainer.loop.checkpoint import EpochRecord


@contextmanager
def tensorboard_log(
    folder: Path, *, spikes: bool = True
) -> Iterator[Callable[[EpochRecord], None]]:
    """Yield a function that adds an epoch to the log in `folder`.

    Args:
        spikes: whether the network sends any, that is, is no ANN.

    Raises:
        BackendUnavailableError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingPackageError(
            "tensorboard: is not installed: pip install '.[tensorboard]'"
        ) from error

    with SummaryWriter(str(folder)) as writer:

        def write(record: EpochRecord) -> None:
            scalars = {
                "loss/train": record.loss,
                "accuracy/train": record.accuracy,
                "accuracy/held out": record.valid_accuracy,
                "spikes per neuron and step": record.firing_rate if spikes else None,
                "energy per sample, microjoule": record.energy_uj,
                "learning rate": record.lr,
                "seconds": record.seconds,
            }
            for name, value in scalars.items():
                if value is not None:
                    writer.add_scalar(name, value, record.epoch)
            writer.flush()

        yield write
