"""Neurons of other frameworks in one form, and what they are in Spikeport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikeport.errors import ModuleReadingError
from spikeport.network import NeuronLayer, Reset, Shape
from spikeport.trainer.neurons import LI, LIF

Array = NDArray[np.float64]
STEEPNESS = 4.0
"""Of the surrogate at the threshold, which `LIF` has for a threshold of 1."""
Rules = Mapping[str, str | bool]


@dataclass(frozen=True, slots=True, eq=False)
class Neuron:
    """Neurons of a framework; arrays broadcast to the shape of the layer.

    With x the input of a step:

        i <- keep_syn i + x                                (i is x if keep_syn is None)
        v <- keep v + gain i + (1 - keep) leak

    and a spike if v passes `threshold`, then v <- reset_to or v - threshold as `rules` say.

    Attributes:
        kind: the class of the layer, for messages.
        threshold: None if they never spike.
        reset_to: if the threshold is subtracted, only to say where v starts.
        start: v before the first step.
        rules: fields of `export.Semantics` on which their spikes depend.
        drive: the linear map of the input, for layers that have their own.
        loop: the layer or the factor (an array) from their spikes back to them, one step later.
    """

    kind: str
    keep: Array
    gain: Array
    threshold: Array | None
    leak: Array = field(default_factory=lambda: np.zeros(()))
    reset_to: Array = field(default_factory=lambda: np.zeros(()))
    start: Array = field(default_factory=lambda: np.zeros(()))
    keep_syn: Array | None = None
    rules: Rules = field(default_factory=dict)
    drive: nn.Linear | None = None
    loop: nn.Module | Array | None = None

    def looped(self, drive: nn.Linear | None, loop: nn.Module | Array) -> Neuron:
        """These neurons with a recurrent connection."""
        return replace(self, drive=drive, loop=loop)


def numbers(value: Any) -> Array:
    """A tensor or number as a float64 array."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    return np.asarray(value, np.float64)


def linear(weight: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Linear:
    """A layer with these weights (N_out, N_in)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer


def fires(subject: str, surrogate: Any) -> bool:
    """Whether a neuron fires only above its threshold (strict), by its function of v - threshold.

    Raises:
        InputError: the function is no step from 0 to 1.
    """
    with torch.no_grad():
        below, at, above = surrogate(torch.tensor([-1.0, 0.0, 1.0])).tolist()
    if (below, above) != (0, 1) or at not in (0, 1):
        raise ModuleReadingError(
            f"{subject}: sends {below:g}, {at:g} and {above:g} below, at and above the threshold, "
            "must send 0 or 1"
        )
    return bool(at == 0)


def fitted(subject: str, value: Array, shape: Shape) -> Array:
    """An array without axes of size 1 in front that broadcasts to the shape of the layer.

    Raises:
        InputError: it does not.
    """
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = value[0]
    try:
        np.broadcast_to(value, shape)
    except ValueError:
        raise ModuleReadingError(
            f"{subject} of shape {value.shape} does not fit neurons of shape {shape}"
        ) from None
    return value


def resting_at_zero(neuron: Neuron) -> Neuron:
    """The same neurons with v measured from where it starts, if it leaks and is reset to there."""
    leak = neuron.leak if np.any(neuron.keep != 1) else neuron.start
    alike = all(np.array_equal(v, neuron.start) for v in (leak, neuron.reset_to))
    if neuron.threshold is None or neuron.rules.get("reset") == Reset.SUBTRACT or not alike:
        return neuron
    zero = np.zeros(())
    threshold = neuron.threshold - neuron.start
    return replace(neuron, threshold=threshold, leak=zero, reset_to=zero, start=zero)


def as_layer(name: str, inputs: tuple[str, ...], neuron: Neuron) -> NeuronLayer:
    """The neurons with all their parameters, for the export."""
    return NeuronLayer(
        name,
        inputs,
        neuron.keep,
        neuron.gain,
        neuron.threshold,
        neuron.leak,
        neuron.reset_to,
        neuron.keep_syn,
    )


def start_rules(neuron: Neuron) -> tuple[str, ...]:
    """The values of `Semantics.start` with which the neurons start as they do."""
    known = {"zero": np.zeros(()), "v_leak": neuron.leak, "v_reset": neuron.reset_to}
    if np.all(neuron.keep == 1):
        del known["v_leak"]  # an integrator has no such field
    if neuron.threshold is None:
        del known["v_reset"]
    return tuple(name for name, value in known.items() if np.all(value == neuron.start))


def as_lif(name: str, neuron: Neuron) -> LIF | LI:
    """The same neurons as `LIF` or `LI`, with which they can be trained.

    Their membrane has the units of the input, v / gain; the surrogate gradient is that of `LIF`, as
    wide as its threshold.

    Raises:
        InputError: they are no such neurons; the message names the difference.
    """
    subject = f"layer '{name}' ({neuron.kind})"

    def fail(reason: str) -> None:
        raise ModuleReadingError(
            f"{subject}: {reason}, which LIF does not have; leave out trainable=True"
        )

    def one(what: str, value: Array) -> float:
        if value.size > 1 and np.ptp(value):
            fail(f"{what} differs between neurons ({value.min():g} to {value.max():g})")
        return float(value.flat[0])

    if neuron.keep_syn is not None:
        fail("has a synaptic current")
    if neuron.loop is not None:
        fail("has a recurrent connection")
    keep, gain = one("the decay", neuron.keep), one("the gain", neuron.gain)
    start = one("the start", neuron.start)
    if keep < 1 and np.any(neuron.leak != 0):
        fail("leaks to other values than 0")
    if neuron.threshold is None:
        if start != 0:
            fail(f"never spikes and starts at {start:g}")
        if gain != 1:
            fail(f"never spikes and has the gain {gain:g}")
        return LI(keep)
    rules = dict(neuron.rules)
    reset = Reset(str(rules.pop("reset", Reset.ZERO)))
    strict = rules.pop("strict", True) is not False
    if reset is Reset.ZERO and np.any(neuron.reset_to != 0):
        fail("is reset to other values than 0")
    odd = {rule: value for rule, value in rules.items() if value is not False}
    if reset is Reset.ZERO:
        odd.pop("reset_timing", None)
    if odd:
        fail(f"has {', '.join(f'{rule}={value}' for rule, value in odd.items())}".lower())
    threshold = one("the threshold", neuron.threshold) / gain
    if threshold <= 0:
        fail(f"has the threshold {threshold:g}")
    steepness = STEEPNESS / threshold
    return LIF(keep, threshold, reset, alpha=steepness, strict=strict, v_init=start / gain)
