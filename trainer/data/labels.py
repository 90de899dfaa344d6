"""Check the labels of data sets: the number of classes, and classes without samples."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import LabelsError
from spikeport.trainer.data.dataset import Dataset

SHOWN = 10
_log = logging.getLogger(__name__)


def class_count(subject: str, labels: NDArray[Any]) -> int:
    """Number of classes of labels 0, 1, ...: the highest label plus one.

    Raises:
        InputError: not integers, none at all, negative, or most classes would have no samples.
    """
    if labels.dtype.kind not in "iu":
        raise LabelsError(f"{subject} has type {labels.dtype}, must be integers")
    if labels.ndim != 1 or not len(labels):
        raise LabelsError(f"{subject} has shape {labels.shape}, must be (N,), one label per sample")
    found = np.unique(labels)
    lowest, highest = int(found[0]), int(found[-1])
    if lowest < 0:
        first = int(np.argmax(labels < 0))
        raise LabelsError(
            f"{subject} has label {lowest}, must lie in 0..{max(highest, 0)} (sample {first})"
        )
    if highest + 1 > 2 * len(found):
        first = int(np.argmax(labels == found[-1]))
        raise LabelsError(
            f"{subject} has label {highest} (sample {first}), but only {len(found)} of the "
            f"labels 0..{highest} occur; number the classes from 0 without gaps"
        )
    return highest + 1


def warn_of_empty_classes(data: Dataset) -> None:
    """Warn about the classes of a data set that have no training or no test samples."""
    for part, labels in (("training", data.train_y), ("test", data.test_y)):
        counts = np.bincount(labels, minlength=data.classes)
        if len(empty := np.flatnonzero(counts == 0)):
            names = ", ".join(map(str, empty[:SHOWN].tolist()))
            more = f" and {len(empty) - SHOWN} more" if len(empty) > SHOWN else ""
            _log.warning(
                "data set '%s': %d of %d classes have no %s samples: %s%s",
                data.name, len(empty), data.classes, part, names, more,
            )  # fmt: skip
