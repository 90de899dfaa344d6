"""NIR neuron nodes as one step: decays, gains and start under a `Semantics`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.checks import fail
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

Array = NDArray[np.float64]
_FLOAT32 = 1e-7
"""Relative error of a time constant stored as float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Dynamics:
    """u <- keep_u u + gain x; v <- keep_v v + u + leak; `gain`, `leak`, `start` per neuron.

    Attributes:
        unit: v here per unit of the node's membrane, per neuron or for all: thresholds that differ
            become the largest of them, which changes no spike, because all else is linear in v.
    """

    keep_u: float
    keep_v: float
    gain: Array
    leak: Array
    start: Array
    threshold: float | None
    unit: Array


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
    """Shape of a neuron node, given by its parameters."""
    return np.shape(node.r)


def neuron_dynamics(
    name: str,
    node: Any,
    dt_s: float,
    semantics: Semantics,
    complain: Callable[[str], None],
) -> Dynamics:
    """One step of length `dt_s`; calls `complain` for everything the chip cannot express.

    The equations are those of `export.nir.semantics`, with the gains of u and v in `gain`.
    """

    def uniform(field: str) -> float:
        values = np.asarray(getattr(node, field), np.float64)
        if values.size == 0:
            complain(f"node '{name}': {field} is empty, needs one value per neuron")
            return 1.0
        if not np.isfinite(values).all():
            complain(f"node '{name}': {field} contains NaN or infinity, must be finite")
        elif np.ptp(values) > 1e-9 * np.abs(values).max():
            complain(
                f"node '{name}': {field} spans {values.min():g}..{values.max():g}, "
                "must be one value for the whole layer"
            )
        return float(values.flat[0])

    def rate(field: str) -> float:
        tau = uniform(field)
        if not tau > 0:
            complain(f"node '{name}': {field} is {tau:g}, must be positive seconds")
            return 1.0
        euler = semantics.discretization is Discretization.EULER
        if euler and dt_s > tau * (1 + _FLOAT32):
            complain(
                f"node '{name}': {field} is {tau:g} s, shorter than the step dt {dt_s:g} s, "
                "so that the state would change sign at every step"
            )
        return min(float(lost_fraction(dt_s / tau, semantics)), 1.0)

    def each(field: str) -> Array:
        values = np.asarray(getattr(node, field), np.float64)
        if not np.isfinite(values).all():
            complain(f"node '{name}': {field} contains NaN or infinity, must be finite")
            return np.zeros_like(values)
        return values

    threshold, unit = None, np.ones(())
    if kind(node) in SPIKING:
        thresholds = each("v_threshold")
        threshold = float(thresholds.max(initial=0))
        if not (thresholds > 0).all() or not thresholds.size:
            worst = thresholds.min(initial=0)
            complain(f"node '{name}': v_threshold is {worst:g}, must be above 0")
        elif np.ptp(thresholds) > 1e-9 * threshold:
            unit = threshold / thresholds
        if (reset := each("v_reset")).any() and semantics.reset is Reset.ZERO:
            worst = reset.flat[np.abs(reset).argmax()]
            complain(f"node '{name}': v_reset is {worst:g}, the chip resets to 0 only")
    unscaled = semantics.input_gain is InputGain.UNIT
    match node:
        case nir.IF() | nir.I():
            mem, syn = 0.0, 1.0
            each("r")
            gain = integrator_gain(node.r, dt_s, semantics)
        case nir.LIF() | nir.LI():
            mem, syn = rate("tau"), 1.0
            each("r")
            r = resistance(node, semantics)
            gain = np.ones_like(r) if unscaled else mem * r
        case nir.CubaLIF() | nir.CubaLI():
            mem, syn = rate("tau_mem"), rate("tau_syn")
            r, w_in = each("r"), each("w_in")
            gain = np.ones_like(r) if unscaled else mem * r * (syn * w_in)
            if semantics.synapse_order is SynapseOrder.ADD_FIRST:
                gain = gain * (1 - syn)
        case _:
            fail(f"{label(name, node)}: its dynamics on a chip are not known")
    leak = mem * each("v_leak") if mem else np.zeros_like(gain)
    start = unit * start_value(node, semantics)
    return Dynamics(1 - syn, 1 - mem, unit * gain, unit * leak, start, threshold, unit)
