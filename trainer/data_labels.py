"""Rules for the labels of data sets: how many classes they make, and which lack samples."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.trainer.data import Dataset

SHOWN = 10
_log = logging.getLogger(__name__)


def class_count(subject: str, labels: NDArray[Any]) -> int:
    """Classes that labels 0, 1, ... tell apart: the highest label and one.

    Raises:
        InputError: not integers, none at all, negative, or most classes would have no samples.
    """
    if labels.dtype.kind not in "iu":
        raise InputError(f"{subject} has type {labels.dtype}, must be integers")
    if labels.ndim != 1 or not len(labels):
        raise InputError(f"{subject} has shape {labels.shape}, must be (N,), one label per sample")
    found = np.unique(labels)
    lowest, highest = int(found[0]), int(found[-1])
    if lowest < 0:
        first = int(np.argmax(labels < 0))
        raise InputError(
            f"{subject} holds label {lowest}, must lie in 0..{max(highest, 0)} (sample {first})"
        )
    if highest + 1 > 2 * len(found):
        first = int(np.argmax(labels == found[-1]))
        raise InputError(
            f"{subject} holds label {highest} (sample {first}), but of 0..{highest} only "
            f"{len(found)} occur: number the classes from 0 without gaps"
        )
    return highest + 1


def warn_of_empty_classes(data: Dataset) -> None:
    """Name the classes of a data set that have no samples to train on, or none to test on."""
    for part, labels in (("training", data.train_y), ("test", data.test_y)):
        counts = np.bincount(labels, minlength=data.classes)
        if len(empty := np.flatnonzero(counts == 0)):
            names = ", ".join(map(str, empty[:SHOWN].tolist()))
            more = f" and {len(empty) - SHOWN} more" if len(empty) > SHOWN else ""
            _log.warning(
                "data set '%s': %d of %d classes have no %s samples: %s%s",
                data.name, len(empty), data.classes, part, names, more,
            )  # fmt: skip
