"""Convert a `QATNetwork` to the JSON and tensors of a checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from spikeport.errors import InputError
from spikeport.network.file import load_built
from spikeport.trainer.chip.limits import TargetLimits
from spikeport.trainer.chip.network import QATNetwork

PREFIX = "chip."
_MASTERS = ("weights", "biases")
_KEYS = ("network", "provenance", "frozen", "mean_scores", "content_hash", "target")
"""All but `target` are required."""


def to_tensors(network: QATNetwork) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The state besides its parameters: the initial integers, and a hash of the current ones."""
    data, arrays = network.template.canonical_form()
    document = {
        "network": data,
        "provenance": dict(network.template.provenance),
        "frozen": sorted(network.frozen),
        "mean_scores": network.mean_scores,
        "content_hash": network.deployed().content_hash,
    }
    if network.limits is not None:
        document["target"] = asdict(network.limits)
    return document, {f"{PREFIX}{name}": torch.tensor(array) for name, array in arrays.items()}


def from_tensors(
    document: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[QATNetwork, set[str]]:
    """Rebuild the network with its master weights from `tensors`; also return the used tensor
    names.

    Raises:
        InputError: the integers break a rule, or do not belong to the master weights.
        KeyError, TypeError, AttributeError, ValueError: the document was not made by `to_tensors`.
    """
    arrays = {
        name.removeprefix(PREFIX): value.numpy()
        for name, value in tensors.items()
        if name.startswith(PREFIX)
    }
    masters: dict[str, dict[str, Any]] = {kind: {} for kind in _MASTERS}
    for name, value in tensors.items():
        root, _, rest = name.partition(".")
        kind, _, part = rest.partition(".")
        if root == "network" and kind in masters:
            masters[kind][part] = value.numpy()
    if unknown := document.keys() - set(_KEYS):
        raise InputError(f"chip: unknown key {min(unknown)[:40]!r}")
    frozen, mean_scores = document["frozen"], document["mean_scores"]
    if not isinstance(mean_scores, bool):
        raise InputError(f"chip: mean_scores is {mean_scores!r}, must be true or false")
    if not isinstance(frozen, list) or not all(isinstance(name, str) for name in frozen):
        raise InputError(f"chip: frozen is {frozen!r}, must be a list of names")
    network = QATNetwork(
        load_built(document["network"], arrays, document["provenance"]),
        **masters,
        frozen=frozen,
        mean_scores=mean_scores,
        limits=TargetLimits.of(document["target"]) if "target" in document else None,
    )
    if (found := network.deployed().content_hash) != document["content_hash"]:
        raise InputError(
            f"its master weights round to network {found[:12]}, but "
            f"{str(document['content_hash'])[:12]} was trained"
        )
    return network, {f"{PREFIX}{name}" for name in arrays}
