"""Published event data sets, read by tonic from existing folders.

Nothing is downloaded: tonic's own check, which would download missing files, is replaced by one
that reports them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import DataSetError, MissingPackageError
from spikeport.network import Shape
from spikeport.trainer.data.dataset import Dataset, Indices, hold_out
from spikeport.trainer.data.events import Binning, Recording, bin_recordings
from spikeport.trainer.data.frames import Frames
from spikeport.trainer.data.hidden_files import is_hidden

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EventSet:
    """An event data set that tonic can read.

    Attributes:
        reader: tonic's class, also the name of the folder that it reads.
        train, test: files that must exist within that folder; `test` is None if the data set has no
            official split.
    """

    reader: str
    sensor: Shape
    classes: int
    train: str
    test: str | None


EVENT_SETS = {
    "nmnist": EventSet("NMNIST", (2, 34, 34), 10, "Train/*/*.bin", "Test/*/*.bin"),
    "dvs-gesture": EventSet(
        "DVSGesture", (2, 128, 128), 11, "ibmGestureTrain/*/*.npy", "ibmGestureTest/*/*.npy"
    ),
    "cifar10-dvs": EventSet("CIFAR10DVS", (2, 128, 128), 10, "*/*.aedat4", None),
    "shd": EventSet("SHD", (700,), 20, "shd_train.h5", "shd_test.h5"),
}


def load_event_set(
    name: str, folder: Path, binning: Binning, test: float = 0.1, seed: int = 0
) -> Dataset:
    """Load one of EVENT_SETS as frames of event counts.

    Args:
        folder: contains the folder that the reader expects: `folder`/NMNIST/Train/0/00002.bin.
        test: share of each class to hold out if there is no official split.
        seed: for selecting the held-out samples.

    Raises:
        InputError: files are missing (the message says where they should be), or damaged.
        BackendUnavailableError: tonic, or a package it needs for this data set, is not installed.
    """
    known = EVENT_SETS[name]
    home = folder / known.reader
    for pattern in (known.train, known.test):
        if pattern is not None and next(home.glob(pattern), None) is None:
            raise DataSetError(
                f"data set '{name}': no file {home / pattern}; nothing is downloaded: unpack the "
                f"published archive there"
            )
    frames, labels = _part(name, folder, True, binning)
    if known.test is not None:
        held, held_labels = _part(name, folder, False, binning)
    else:
        kept, chosen = hold_out(labels, test, seed)
        held, held_labels = frames.take(chosen), labels[chosen]
        frames, labels = frames.take(kept), labels[kept]
    shape = binning.input(known.sensor)
    return Dataset(name, frames, labels, held, held_labels, shape, known.classes)


def _part(
    name: str, folder: Path, train: bool, binning: Binning
) -> tuple[Frames, NDArray[np.int64]]:
    known = EVENT_SETS[name]
    opened = _open(known, folder, train)
    order = _order(name, opened)
    labels = np.zeros(len(order), np.int64)

    def recordings() -> Iterator[Recording]:
        for row, number in enumerate(order.tolist()):
            where = opened.data[number] if opened.data else f"recording {number}"
            try:
                events, label = opened[number]
            except ModuleNotFoundError as error:
                raise _missing(str(error.name)) from error
            except Exception as error:  # tonic does not catch the errors of damaged files
                raise DataSetError(
                    f"data set '{name}': {where}: cannot be read: {error}"
                ) from error
            labels[row] = int(label)
            yield _recording(events, known.sensor)

    subject = f"data set '{name}'"
    return bin_recordings(subject, recordings(), len(order), known.sensor, binning), labels


def _open(known: EventSet, folder: Path, train: bool) -> Any:
    """tonic's reader with its file check disabled, so that it cannot download."""
    try:
        import tonic.datasets
    except ModuleNotFoundError as error:
        raise _missing(str(error.name)) from error
    reader = getattr(tonic.datasets, known.reader)
    local = type(known.reader, (reader,), {"_check_exists": lambda self: True})
    return local(str(folder)) if known.test is None else local(str(folder), train=train)


def _order(name: str, opened: Any) -> Indices:
    """Indices of the recordings sorted by file name, without hidden files."""
    if not opened.data:
        return np.arange(len(opened))
    order = sorted(range(len(opened.data)), key=opened.data.__getitem__)
    home = opened.location_on_system
    shown = [i for i in order if not is_hidden(os.path.relpath(opened.data[i], home))]
    if hidden := len(order) - len(shown):
        _log.warning("data set '%s': %d hidden files are ignored", name, hidden)
    return np.array(shown, np.int64)


def _recording(events: Any, sensor: Shape) -> Recording:
    """tonic's events, sorted by time."""
    events = events[np.argsort(events["t"], kind="stable")]
    if len(sensor) == 1:
        return Recording(events["x"], None, None, events["t"])
    return Recording(events["x"], events["y"], events["p"], events["t"])


def _missing(package: str) -> MissingPackageError:
    package = package.partition(".")[0]
    return MissingPackageError(
        f"event data: needs {package}, which is not installed: pip install '.[events]'"
    )
