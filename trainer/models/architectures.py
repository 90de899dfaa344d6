"""The table of architectures that `TrainConfig` can name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spikeport.trainer.models.preact_resnet import (
    preact_resnet20,
    preact_resnet56,
    preact_resnet110,
)
from spikeport.trainer.models.resnet import resnet18, resnet19, resnet20, resnet56, resnet110
from spikeport.trainer.models.resnet34 import preact_resnet34, resnet34, sew_resnet34
from spikeport.trainer.models.small import mlp, small_conv
from spikeport.trainer.models.vgg import dvs_net, vgg11, vgg16
from spikeport.trainer.network import SpikingNetwork


@dataclass(frozen=True, slots=True)
class Architecture:
    """How to build a network.

    Attributes:
        build: called as (input, classes, widths, steps, lif) if `layered`, and otherwise as
            (input, classes, steps, lif, width=...).
        layered: every layer has its own width; otherwise the first determines the others.
    """

    build: Callable[..., SpikingNetwork]
    layered: bool = False


ARCHITECTURES = {
    "conv": Architecture(small_conv, layered=True),
    "mlp": Architecture(mlp, layered=True),
    "vgg11": Architecture(vgg11),
    "vgg16": Architecture(vgg16),
    "dvs_net": Architecture(dvs_net),
    "resnet18": Architecture(resnet18),
    "resnet19": Architecture(resnet19),
    "resnet20": Architecture(resnet20),
    "resnet56": Architecture(resnet56),
    "resnet110": Architecture(resnet110),
    "preact_resnet20": Architecture(preact_resnet20),
    "preact_resnet56": Architecture(preact_resnet56),
    "preact_resnet110": Architecture(preact_resnet110),
    "resnet34": Architecture(resnet34),
    "sew_resnet34": Architecture(sew_resnet34),
    "preact_resnet34": Architecture(preact_resnet34),
}
"""Every architecture by name; a new one is complete once it is listed here."""

PUBLISHED = {name: one.build for name, one in ARCHITECTURES.items() if not one.layered}
"""Published networks by name; call each as (input, classes, steps, lif, width=...)."""
