"""Modules of SpikingJelly 2.0.0."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from spikeport.errors import ModuleReadingError
from spikeport.network import Reset
from spikeport.trainer.frameworks.neuron import Neuron, fires, linear, numbers
from spikeport.trainer.frameworks.origins import STATIC, TIME_FIRST
from spikeport.trainer.frameworks.reading import Framework
from spikeport.trainer.frameworks.recording import Leaf
from spikeport.trainer.network import qualified

_PACKAGE = "spikingjelly.activation_based."
_CONTAINERS = frozenset(
    f"{_PACKAGE}layer.container.{name}"
    for name in ("MultiStepContainer", "SeqToANNContainer", "StepModeContainer")
)
_LAYERS = frozenset(
    f"{_PACKAGE}layer.{name}"
    for name in (
        *("stateless_wrapper.Linear", "stateless_wrapper.Conv1d", "stateless_wrapper.Conv2d"),
        *("stateless_wrapper.AvgPool2d", "stateless_wrapper.AdaptiveAvgPool2d"),
        *("stateless_wrapper.MaxPool2d", "stateless_wrapper.Flatten"),
        *("bn.BatchNorm1d", "bn.BatchNorm2d"),
    )
)
_DROPOUTS = {
    f"{_PACKAGE}layer.dropout.Dropout": nn.Dropout,
    f"{_PACKAGE}layer.dropout.Dropout2d": nn.Dropout2d,
}
_NEURONS = {
    f"{_PACKAGE}neuron.{name}"
    for name in (
        *("integrate_and_fire.IFNode", "integrate_and_fire.SimpleIFNode"),
        *("integrate_and_fire.HalfThresholdIFNode", "lif.LIFNode", "lif.SimpleLIFNode"),
        *("plif.ParametricLIFNode", "lif_variants.CUBALIFNode"),
        *("lif.NonSpikingLIFNode", "integrate_and_fire.NonSpikingIFNode"),
    )
}
_RECURRENT = frozenset(
    f"{_PACKAGE}layer.container.{name}"
    for name in ("LinearRecurrentContainer", "ElementWiseRecurrentContainer")
)


def _leaf(name: str, part: nn.Module) -> Leaf | None:
    kind = qualified(part)
    cell: Any = part
    if kind in _CONTAINERS or kind.startswith(f"{_PACKAGE}surrogate."):
        return None
    if kind in _LAYERS:
        return Leaf(part)
    if kind in _DROPOUTS:
        return Leaf(_DROPOUTS[kind](cell.p))
    if kind in _RECURRENT:
        return Leaf(_recurrent(name, cell), True, cell.step_mode == "m")
    if kind in _NEURONS:
        timed = "NonSpiking" in kind or cell.step_mode == "m"
        return Leaf(_neuron(name, cell), True, timed)
    names = sorted(known.split(".")[-1] for known in (*_NEURONS, *_RECURRENT, *_CONTAINERS))
    raise ModuleReadingError(
        f"layer '{name}': {kind} is not supported; supported are {', '.join(names)}"
    )


def _neuron(name: str, cell: Any) -> Neuron:
    """v <- v + (x - (v - v_reset)) / tau, or + x if decay_input is false; spikes if v >= threshold.

    Source: spikingjelly/activation_based/neuron/base_node.py, lif.py, functional/neuron.py.
    """
    kind = type(cell).__name__
    subject = f"layer '{name}' ({kind})"
    one = np.ones(())
    if kind.startswith("NonSpiking"):
        if cell.decode not in (None, "last_mem"):
            raise ModuleReadingError(
                f"{subject}: decode is {cell.decode!r}, must be 'last_mem' or None"
            )
        lost = np.zeros(()) if kind == "NonSpikingIFNode" else 1 / numbers(cell.tau)
        return Neuron(kind, 1 - lost, lost if np.any(lost) else one, None)
    rules: dict[str, str | bool] = {
        "strict": fires(subject, cell.surrogate_function),
        "reset": Reset.SUBTRACT if cell.v_reset is None else Reset.ZERO,
    }
    threshold = numbers(cell.v_threshold)
    rest = numbers(0.0 if cell.v_reset is None else cell.v_reset)
    if kind == "CUBALIFNode":
        zero = np.zeros(())
        keep, keep_syn = numbers(cell.v_decay), numbers(cell.c_decay)
        return Neuron(kind, keep, one, threshold, zero, rest, rest, keep_syn, rules)
    if "LIF" not in kind:
        start = threshold / 2 if kind == "HalfThresholdIFNode" else rest
        return Neuron(kind, one, one, threshold, start, start, start, rules=rules)
    lost = cell.w.detach().sigmoid() if kind == "ParametricLIFNode" else 1 / numbers(cell.tau)
    lost = numbers(lost)
    gain = lost if cell.decay_input else one
    return Neuron(kind, 1 - lost, gain, threshold, rest, rest, rest, rules=rules)


def _recurrent(name: str, cell: Any) -> Neuron:
    """Neurons that receive their own spikes, one step later."""
    kind = qualified(cell.sub_module)
    subject = f"layer '{name}' ({type(cell).__name__})"
    if kind not in _NEURONS or "NonSpiking" in kind:
        raise ModuleReadingError(f"{subject}: contains {kind}, must contain neurons that spike")
    neuron = _neuron(name, cell.sub_module)
    if type(cell).__name__ == "ElementWiseRecurrentContainer":
        one, other = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
        if not torch.equal(cell.element_wise_function(one, other), one + other):
            raise ModuleReadingError(f"{subject}: its function is no sum, which NIR does not have")
        return neuron.looped(None, np.ones(()))
    weight, size = cell.rc.weight, cell.rc.in_features - cell.sub_module_out_features
    return neuron.looped(linear(weight[:, :size], cell.rc.bias), linear(weight[:, size:]))


def _fresh(module: nn.Module) -> None:
    for part in module.modules():
        layer: Any = part
        if qualified(part).startswith(_PACKAGE) and hasattr(part, "reset"):
            layer.reset()


SPIKINGJELLY = Framework(
    "SpikingJelly", "spikingjelly", "2.0.0", (STATIC, TIME_FIRST), _leaf, fresh=_fresh
)
