"""A spiking neuron as one step, and NIR nodes of the same neuron for other rules and gains.

    i <- keep_syn i + x,  v <- keep v + gain i + leak,  a spike if v > threshold

A reader that has another gain G runs the same neuron with its membrane in units of gain / G: its
thresholds, leak and reset are then multiplied by G / gain, which changes no spike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.export.nir.fields import kind, make_node, node_values
from spikeport.export.nir.neuron_dynamics import integrator_gain, lost_fraction, resistance
from spikeport.export.nir.semantics import InputGain, Semantics, SynapseOrder

Array = NDArray[np.float64]

ENDLESS = 2.0**26
"""Time constant, in steps, of a membrane that loses nothing: 1 - 1 / ENDLESS is 1 in float32."""
GONE = 0.01
"""Time constant, in steps, of a state that is lost in one: exp(-1 / GONE) is 0 in float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step of spiking neurons, arrays per neuron.

    Attributes:
        lost, lost_syn: 1 - keep; `lost_syn` is 1 without a synaptic current.
    """

    lost: Array
    lost_syn: Array
    gain: Array
    leak: Array
    threshold: Array
    v_reset: Array

    def scaled(self, gain: Any) -> Step:
        """The same neurons with another gain, their membrane in other units."""
        unit = gain / self.gain
        levels = (unit * self.leak, unit * self.threshold, unit * self.v_reset)
        made = np.broadcast_to(np.asarray(gain, np.float64), self.gain.shape)
        return Step(self.lost, self.lost_syn, made, *levels)


def step_of(node: Any, dt_s: float, semantics: Semantics) -> Step:
    """The step of an IF, LIF or CubaLIF."""
    r = np.asarray(node.r, np.float64)
    lost, lost_syn = np.zeros(r.shape), np.ones(r.shape)
    unscaled = semantics.input_gain is InputGain.UNIT
    match node:
        case nir.IF():
            gain = integrator_gain(r, dt_s, semantics)
        case nir.LIF():
            lost = _lost(node.tau, dt_s, semantics)
            gain = np.ones(r.shape) if unscaled else lost * resistance(node, semantics)
        case _:
            lost, lost_syn = (_lost(t, dt_s, semantics) for t in (node.tau_mem, node.tau_syn))
            gain = np.ones(r.shape) if unscaled else lost * r * lost_syn * np.float64(node.w_in)
            if semantics.synapse_order is SynapseOrder.ADD_FIRST:
                gain = gain * (1 - lost_syn)
    leak = lost * np.asarray(getattr(node, "v_leak", np.zeros(r.shape)), np.float64)
    levels = (np.asarray(level, np.float64) for level in (node.v_threshold, node.v_reset))
    return Step(lost, lost_syn, gain, leak, *levels)


def membrane_of(node: nir.LI, dt_s: float, semantics: Semantics) -> tuple[Array, Array]:
    """What LI loses of v, and the gain of its input, in one step."""
    lost = _lost(node.tau, dt_s, semantics)
    unscaled = semantics.input_gain is InputGain.UNIT
    return lost, np.ones(lost.shape) if unscaled else lost * resistance(node, semantics)


def _lost(tau: Any, dt_s: float, semantics: Semantics) -> Array:
    return lost_fraction(dt_s / np.asarray(tau, np.float64), semantics)


def euler_tau(lost: Array, dt_s: float) -> Array:
    """Time constants for forward Euler, dt / lost."""
    return dt_s / np.maximum(lost, 1 / ENDLESS)


def exponential_tau(lost: Array, dt_s: float) -> Array:
    """Time constants for exp(-dt / tau) = 1 - lost."""
    with np.errstate(divide="ignore"):
        steps = -1 / np.log1p(-np.minimum(lost, 1.0))
    return dt_s * np.clip(steps, GONE, ENDLESS)


def as_if(step: Step, r: float) -> Any:
    """IF that moves by its input, whatever the reader makes of `r`."""
    scaled = step.scaled(1.0)
    return _made("IF", scaled, r=np.full(step.gain.shape, r))


def as_lif(step: Step, tau: Array, r: Any, gain: Any) -> Any:
    """LIF with this gain per step in the reader."""
    scaled = step.scaled(gain)
    leak = _over(scaled.leak, step.lost)
    return _made("LIF", scaled, tau=tau, r=np.broadcast_to(r, tau.shape), v_leak=leak)


def as_cuba(step: Step, taus: tuple[Array, Array], gains: tuple[Any, Any], gain: Any) -> Any:
    """CubaLIF with taus (synapse, membrane), w_in and r, and this gain per step in the reader."""
    scaled = step.scaled(gain)
    shape = step.gain.shape
    w_in, r = (np.broadcast_to(value, shape) for value in gains)
    fields = {"tau_syn": taus[0], "tau_mem": taus[1], "w_in": w_in, "r": r}
    return _made("CubaLIF", scaled, v_leak=_over(scaled.leak, step.lost), **fields)


def compared(node: Any, *, ours: bool, theirs: bool) -> Any:
    """The node for a reader that fires at v > threshold (`theirs`) or v >= threshold.

    Readers compute in float32, in which v >= threshold is v > the next lower number.
    """
    if ours == theirs:
        return node
    threshold = np.asarray(node.v_threshold, np.float32)
    toward = np.float32(np.inf if ours else -np.inf)
    return changed(node, v_threshold=np.nextafter(threshold, toward))


def changed(node: Any, **fields: Any) -> Any:
    """A copy of a neuron with some fields changed."""
    return make_node("", kind(node), {**node_values(node), **fields})


def same(node: Any, given: Any) -> bool:
    """Whether neurons are the given ones up to the rounding of float32, and not more precise."""
    if kind(node) != kind(given):
        return False
    values = node_values(given)
    return all(
        value.dtype.itemsize <= np.asarray(values[field]).dtype.itemsize
        and np.allclose(value, values[field], rtol=1e-6, atol=1e-30)
        for field, value in node_values(node).items()
    )


def _over(value: Array, divisor: Array) -> Array:
    return np.divide(value, divisor, out=np.zeros_like(value), where=divisor > 0)


def _made(type_name: str, step: Step, **fields: Any) -> Any:
    levels = {"v_threshold": step.threshold, "v_reset": step.v_reset}
    values = {**fields, **levels}
    return make_node("", type_name, {n: np.asarray(v, np.float32) for n, v in values.items()})
