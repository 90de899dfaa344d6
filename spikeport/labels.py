"""The classes of a data set against the outputs of a network that is to tell them apart."""

from __future__ import annotations

import logging
from math import prod

from spikeport.errors import InputError
from spikeport.float_network import FloatNetwork
from spikeport.network import DeployedNetwork

_log = logging.getLogger(__name__)


def output_count(network: DeployedNetwork | FloatNetwork) -> int:
    """Outputs that predictions are made from: those of the first readout."""
    if isinstance(network, DeployedNetwork):
        return network.by_name[network.readouts[0].population].size
    import nir

    first = next(node for node in network.graph.nodes.values() if isinstance(node, nir.Output))
    return int(prod(first.output_type["output"].tolist()))


def check_labels(subject: str, highest: int, outputs: int) -> None:
    """Refuse labels that no output stands for.

    Raises:
        InputError: the highest label is not below the number of outputs.
    """
    if highest >= outputs:
        raise InputError(f"{subject}: label {highest}, the network tells {outputs} classes")


def check_classes(subject: str, classes: int, outputs: int, *, judged: bool = True) -> None:
    """Compare the classes of a whole data set with the outputs of a network.

    Warns where outputs are left without a class; and, where labels are not used, where classes are
    left without an output.

    Args:
        judged: whether labels are used, as for an accuracy or a loss.

    Raises:
        InputError: too few outputs for labels that are used.
    """
    if judged:
        check_labels(subject, classes - 1, outputs)
    if classes != outputs:
        _log.warning(
            "%s: %d classes, the network tells %d: is it another data set's network?",
            subject, classes, outputs,
        )  # fmt: skip
