"""Check the classes of a data set against the outputs of a network."""

from __future__ import annotations

import logging
from math import prod

from spikeport.errors import InputError
from spikeport.network import DeployedNetwork, FloatNetwork

_log = logging.getLogger(__name__)


def output_count(network: DeployedNetwork | FloatNetwork) -> int:
    """Number of outputs that predictions are made from, those of the first readout."""
    if isinstance(network, DeployedNetwork):
        return network.by_name[network.readouts[0].population].size
    import nir

    first = next(node for node in network.graph.nodes.values() if isinstance(node, nir.Output))
    return int(prod(first.output_type["output"].tolist()))


def check_labels(subject: str, highest: int, outputs: int) -> None:
    """Refuse labels without an output.

    Raises:
        InputError: the highest label is not below the number of outputs.
    """
    if highest >= outputs:
        raise InputError(f"{subject}: label {highest}, the network has {outputs} outputs")


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
