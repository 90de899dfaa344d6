"""Modules of snnTorch 1.0.0."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from spikeport.errors import ModuleReadingError
from spikeport.network import Reset
from spikeport.trainer.frameworks.neuron import Array, Neuron, fires, numbers
from spikeport.trainer.frameworks.origins import BATCH_FIRST, STATIC, TIME_FIRST
from spikeport.trainer.frameworks.reading import Framework
from spikeport.trainer.frameworks.recording import Leaf
from spikeport.trainer.network import qualified

_PACKAGE = "snntorch._neurons."
_NEURONS = {"leaky.Leaky": 1, "synaptic.Synaptic": 2, "rleaky.RLeaky": 1}
"""Neurons, and the place of the membrane among what they return."""


def _leaf(name: str, part: nn.Module) -> Leaf | None:
    kind = qualified(part)
    short = kind.removeprefix(_PACKAGE)
    if short not in _NEURONS:
        raise ModuleReadingError(
            f"layer '{name}': {kind} is not supported; supported are Leaky, RLeaky and Synaptic"
        )
    return Leaf(_neuron(name, short, part), True, False, _NEURONS[short])


def _neuron(name: str, short: str, cell: Any) -> Neuron:
    """v <- beta v + x, with i <- alpha i + x in place of x in Synaptic; spikes if v > threshold.

    By default, the threshold is subtracted in the next step, after the decay.

    Source: snntorch/_neurons/leaky.py, synaptic.py, rleaky.py, neurons.py.
    """
    kind = short.split(".")[1]
    subject = f"layer '{name}' ({kind})"
    for option in ("inhibition", "state_quant"):
        if getattr(cell, option):
            raise ModuleReadingError(f"{subject}: {option} is used, which NIR does not have")
    if np.any(numbers(cell.graded_spikes_factor) != 1):
        raise ModuleReadingError(
            f"{subject}: graded_spikes_factor is {numbers(cell.graded_spikes_factor)}, must be 1; "
            "multiply the following weights by it"
        )
    reset = cell.reset_mechanism
    if reset == "zero" and cell.reset_delay and kind != "Leaky":
        raise ModuleReadingError(
            f"{subject}: reset_mechanism 'zero' with reset_delay discards the input of the step "
            "after a spike, which NIR does not have; give reset_delay=False"
        )
    rules: dict[str, str | bool] = {"reset": reset, "strict": fires(subject, cell.spike_grad)}
    if reset == Reset.SUBTRACT:
        rules["reset_timing"] = "after-decay" if cell.reset_delay else "once"
    loop: nn.Module | Array | None = None
    if kind == "RLeaky":
        loop = cell.recurrent
        if isinstance(getattr(loop, "V", None), torch.Tensor):
            loop = numbers(cell.recurrent.V)
        elif np.any(numbers(0.0 if cell.recurrent.bias is None else cell.recurrent.bias)):
            rules["loop_bias"] = True
    clamp = numbers(cell.beta).clip(0, 1)
    synapse = numbers(cell.alpha).clip(0, 1) if kind == "Synaptic" else None
    return Neuron(
        kind,
        clamp,
        np.ones(()),
        numbers(cell.threshold),
        keep_syn=synapse,
        rules=rules,
        loop=loop,
    )


SNNTORCH = Framework("snnTorch", "snntorch", "1.0.0", (STATIC, TIME_FIRST, BATCH_FIRST), _leaf)
