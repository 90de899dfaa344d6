"""How well rate-based gradients approximate those of BPTT, on your own network and data.

`activity` measures firing, `agreement` compares the two gradients, `independence` measures the
error of the assumptions of the rate-based one, `shuffle` how much the order of spikes matters.
Networks are copied, so they are not modified.

Source: Yu et al., NeurIPS 2024, arXiv 2410.11488.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeport.errors import LabelsError, TrainingError
from spikeport.runs import check_labels
from spikeport.trainer.chip import AnyNetwork, QATNetwork
from spikeport.trainer.diagnosis.agreement import STEPS, GradientAgreement, agreement
from spikeport.trainer.diagnosis.independence import Independence, independence
from spikeport.trainer.diagnosis.shuffle import ShuffleTest, shuffle_test
from spikeport.trainer.network import SpikingNetwork, check_input
from spikeport.trainer.rules import GradientRule

PROBE = 64
"""Number of samples on which gradients are compared."""


@dataclass(frozen=True, slots=True)
class LayerActivity:
    """Spikes of a layer of neurons over a batch.

    Attributes:
        rate: spikes per neuron and step.
        silent: share of neurons that never fire.
        histogram: share of (sample, neuron) pairs by spike count 0..T.
    """

    layer: str
    rate: float
    silent: float
    histogram: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The complete diagnosis as plain data.

    Attributes:
        steps: T of the network.
        rule: its training rule; gradients are compared in the same mode.
        shuffle: over all samples.
        probed: number of samples, the first ones, used for everything else.
    """

    steps: int
    rule: GradientRule
    shuffle: ShuffleTest
    probed: int
    activity: tuple[LayerActivity, ...]
    agreement: tuple[GradientAgreement, ...]
    independence: tuple[Independence, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; non-finite values (such as of a layer without gradient) as null."""
        plain: dict[str, Any] = _finite(asdict(self))
        return plain


def diagnose(
    network: AnyNetwork,
    x: Tensor | NDArray[np.float32],
    y: Tensor | NDArray[np.int64],
    steps: Iterable[int] | None = None,
) -> Diagnosis:
    """Measure how accurate the rate-based approximation is for this network on these samples.

    Args:
        x: (B, *shape) or (T, B, *shape). Accuracies are computed on all samples; gradients and
            firing, whose memory grows with samples and steps, on the first `PROBE`.
        y: classes (B,).
        steps: values of T for which gradients are compared; by default those of `STEPS` that the
            samples allow, and that of the network.

    Raises:
        InputError: samples do not fit the network, or have fewer steps than requested; or the
            network computes in chip integers, for which BPTT has no gradient, or is an ANN.
    """
    if isinstance(network, QATNetwork):
        raise TrainingError("diagnose: the network is in chip arithmetic; use the float network")
    if network.is_ann:
        raise TrainingError(
            "diagnose: the network is an ANN, whose gradients are exact; convert it to a spiking "
            "network first: spikeport convert"
        )
    x, y = torch.asarray(x, copy=True), torch.asarray(y, copy=True)
    check_input(network.input, network.steps, x)
    timed = network.time_major(x)
    if not len(y) or timed.shape[1] != len(y):
        raise LabelsError(f"diagnose: {timed.shape[1]} samples but {len(y)} labels, must be equal")
    check_labels("diagnose", int(y.max()), network.classes)
    if steps is None:
        most = network.steps if len(timed) > 1 else max(STEPS)
        steps = sorted({network.steps, *(count for count in STEPS if count <= most)})
    part, labels = timed[:, :PROBE], y[:PROBE]
    given = part if len(timed) > 1 else part[0]
    return Diagnosis(
        steps=network.steps,
        rule=network.rule,
        shuffle=shuffle_test(network, x, y),
        probed=len(labels),
        activity=activity(network, given),
        agreement=agreement(network, given, labels, steps),
        independence=independence(network, given, labels),
    )


def activity(network: SpikingNetwork, x: Tensor) -> tuple[LayerActivity, ...]:
    """Firing of every LIF layer in a training pass on x (B, *shape) or (T, B, *shape)."""
    network = copy.deepcopy(network).train()
    network.rule = GradientRule.RATE_S if network.rule.single_step else GradientRule.RATE_M
    _, record = network.spiking_pass(x)
    found = []
    for layer, rate in record.rates.items():
        counts = (rate * network.steps).round().long()
        shares = torch.bincount(counts.flatten(), minlength=network.steps + 1) / counts.numel()
        silent = float((counts == 0).all(0).float().mean())
        found.append(LayerActivity(layer, float(rate.mean()), silent, tuple(shares.tolist())))
    return tuple(found)


def _finite(value: Any) -> Any:
    match value:
        case dict():
            return {key: _finite(part) for key, part in value.items()}
        case tuple() | list():
            return [_finite(part) for part in value]
        case float():
            return value if math.isfinite(value) else None
    return value
