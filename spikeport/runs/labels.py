"""Check the classes of a data set against the outputs of a network."""

from __future__ import annotations

import logging

from spikeport.errors import LabelsError

_log = logging.getLogger(__name__)


def check_labels(subject: str, highest: int, outputs: int) -> None:
    """Refuse labels without an output.

    Raises:
        InputError: the highest label is not below the number of outputs.
    """
    if highest >= outputs:
        raise LabelsError(f"{subject}: label {highest}, the network has {outputs} outputs")


def check_classes(subject: str, classes: int, outputs: int, *, labels_used: bool = True) -> None:
    """Compare the number of classes of a data set with the number of outputs of a network.

    Logs a warning if they differ.

    Args:
        labels_used: whether labels are used, for an accuracy or a loss; too few outputs for the
            classes are then an error.

    Raises:
        InputError: labels are used and there are fewer outputs than classes.
    """
    if labels_used:
        check_labels(subject, classes - 1, outputs)
    if classes != outputs:
        _log.warning(
            "%s: %d classes, the network has %d outputs; was it trained on other data?",
            subject, classes, outputs,
        )  # fmt: skip
