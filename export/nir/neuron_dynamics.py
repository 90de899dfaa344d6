"""NIR neuron nodes as one step: decays, gains and start under a `Semantics`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.errors import UnsupportedError
from spikeport.export.nir.fields import SPIKING, kind, label
from spikeport.export.nir.semantics import (
    Discretization,
    InputGain,
    IntegratorGain,
    Semantics,
    StartValue,
    SynapseOrder,
)
from spikeport.network import Reset

fail = UnsupportedError.fail

Array = NDArray[np.float64]
_FLOAT32 = 1e-7
"""Relative error of a time constant stored as float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Dynamics:
    """u <- keep_u u + gain x; v <- keep_v v + u + leak; spikes reset v to 0. All per neuron.

    Attributes:
        threshold: one for all; None for neurons that only integrate.
        unit, zero: v is unit (v of the node - zero). Zero is v_reset, or in a Threshold node what
            gives all neurons the same threshold; the unit turns other thresholds into the largest
            of them. Neither changes a spike, because v is linear in all that enters.
    """

    keep_u: Array
    keep_v: Array
    gain: Array
    leak: Array
    start: Array
    threshold: float | None
    unit: Array
    zero: Array


def is_one(r: Any) -> NDArray[np.bool_]:
    """Where `r` of I and IF is 1, which `IntegratorGain.NIR` reads as a gain of 1 per step."""
    near: NDArray[np.bool_] = np.isclose(np.asarray(r, np.float64), 1.0, rtol=1e-9, atol=0)
    return near


def integrator_gain(r: Any, dt_s: float, semantics: Semantics) -> Array:
    """Gain of I and IF per step, per neuron."""
    per_step: Array = np.asarray(r, np.float64)
    if semantics.input_gain is not InputGain.EQUATION:
        return np.ones_like(per_step)
    match semantics.integrator_gain:
        case IntegratorGain.NIR:
            return np.where(is_one(per_step), 1.0, per_step * dt_s)
        case IntegratorGain.PER_STEP:
            return per_step
        case IntegratorGain.PER_SECOND:
            return np.asarray(per_step * dt_s)


def lost_fraction(ratio: Any, semantics: Semantics) -> Array:
    """The fraction k of a state that is lost per step, for ratio = dt / tau."""
    lost: Array = np.asarray(ratio, np.float64)
    if semantics.discretization is Discretization.EXPONENTIAL:
        lost = np.asarray(-np.expm1(-lost))
    return lost


def resistance(node: Any, semantics: Semantics) -> Array:
    """The factor r of the input of a neuron with a time constant, 1 where it is ignored."""
    r = np.asarray(node.r, np.float64)
    ignored = semantics.input_gain is InputGain.NO_R and isinstance(node, nir.LI | nir.LIF)
    return np.ones_like(r) if ignored else r


def start_value(node: Any, semantics: Semantics) -> Array:
    """The membrane before the first step, per neuron; 0 for a node without the field."""
    field = None if semantics.start is StartValue.ZERO else semantics.start.value
    given = None if field is None else getattr(node, field, None)
    return np.zeros(np.shape(node.r)) if given is None else np.asarray(given, np.float64)


def starts_above(node: Any, semantics: Semantics) -> bool:
    """Whether a membrane is already above its threshold before the first step."""
    start = start_value(node, semantics)
    above = start > node.v_threshold if semantics.strict else start >= node.v_threshold
    return bool(np.any(above))


def neuron_shape(node: Any) -> tuple[int, ...]:
    """Shape of a neuron or Threshold node, given by its parameters."""
    return np.shape(node.threshold if isinstance(node, nir.Threshold) else node.r)


def neuron_dynamics(
    name: str,
    node: Any,
    dt_s: float,
    semantics: Semantics,
    complain: Callable[[str], None],
) -> Dynamics:
    """One step of length `dt_s`; calls `complain` for everything the chip cannot express.

    The equations are those of `export.nir.semantics`, with the gains of u and v in `gain`. A
    Threshold node is neurons that forget everything at every step.
    """

    def each(field: str) -> Array:
        values = np.asarray(getattr(node, field), np.float64)
        if not np.isfinite(values).all():
            complain(f"node '{name}': {field} contains NaN or infinity, must be finite")
            return np.zeros_like(values)
        return values

    def rates(field: str) -> Array:
        tau = each(field)
        shortest = float(tau.min(initial=np.inf))
        if not shortest > 0:
            complain(f"node '{name}': {field} is {shortest:g}, must be positive seconds")
            return np.ones_like(tau)
        euler = semantics.discretization is Discretization.EULER
        if euler and dt_s > shortest * (1 + _FLOAT32):
            complain(
                f"node '{name}': {field} is {shortest:g} s, shorter than the step dt {dt_s:g} s, "
                "so that the state would change sign at every step; give a shorter dt, or "
                "discretization=exponential"
            )
        return np.minimum(lost_fraction(dt_s / tau, semantics), 1.0)

    if isinstance(node, nir.Threshold):
        return _compared(each("threshold"))
    unscaled = semantics.input_gain is InputGain.UNIT
    match node:
        case nir.IF() | nir.I():
            each("r")
            gain = integrator_gain(node.r, dt_s, semantics)
            mem, syn = np.zeros_like(gain), np.ones_like(gain)
        case nir.LIF() | nir.LI():
            mem, r = rates("tau"), each("r")
            syn = np.ones_like(mem)
            gain = np.ones_like(r) if unscaled else mem * resistance(node, semantics)
        case nir.CubaLIF() | nir.CubaLI():
            mem, syn = rates("tau_mem"), rates("tau_syn")
            r, w_in = each("r"), each("w_in")
            gain = np.ones_like(r) if unscaled else mem * r * (syn * w_in)
            if semantics.synapse_order is SynapseOrder.ADD_FIRST:
                gain = gain * (1 - syn)
        case _:
            fail(f"{label(name, node)}: its dynamics on a chip are not known")
    threshold, unit, zero = None, np.ones(()), np.zeros(())
    if kind(node) in SPIKING:
        thresholds = each("v_threshold")
        if (reset := each("v_reset")).any() and semantics.reset is Reset.ZERO:
            zero = reset
        above = thresholds - zero
        threshold = float(above.max(initial=0))
        if not (above > 0).all():
            worst = int(above.argmin())
            limit = f"v_reset {zero.flat[worst]:g}" if zero.any() else "0"
            complain(
                f"node '{name}': v_threshold is {thresholds.flat[worst]:g}, must be above {limit}"
            )
        elif np.ptp(above) > 1e-9 * threshold:
            unit = threshold / above
    leak = mem * (each("v_leak") - zero) if mem.any() else np.zeros_like(gain)
    start = unit * (start_value(node, semantics) - zero)
    return Dynamics(1 - syn, 1 - mem, unit * gain, unit * leak, start, threshold, unit, zero)


def _compared(thresholds: Array) -> Dynamics:
    """A Threshold node: v <- x + leak, where `leak` makes all thresholds the same and positive."""
    forgets, ones = np.zeros_like(thresholds), np.ones_like(thresholds)
    threshold = float(np.abs(thresholds).max(initial=0)) or 1.0
    zero = thresholds - threshold
    return Dynamics(forgets, forgets, ones, -zero, forgets, threshold, ones, zero)
