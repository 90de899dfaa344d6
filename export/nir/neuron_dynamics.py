"""NIR neuron nodes as one forward-Euler step with the two decays and the gain of the chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.checks import fail
from spikeport.export.nir.fields import SPIKING, kind, label

Array = NDArray[np.float64]
_FLOAT32 = 1e-7
"""Relative error of a time constant stored as float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Dynamics:
    """u <- keep_u u + gain I; v <- keep_v v + u + leak; `gain` and `leak` per neuron.

    Attributes:
        unit: v here per unit of the node's membrane, per neuron or for all: thresholds that differ
            become the largest of them, which changes no spike, because all else is linear in v.
    """

    keep_u: float
    keep_v: float
    gain: Array
    leak: Array
    threshold: float | None
    unit: Array


def integrator_gain(r: Any, dt_s: float) -> Array:
    """Gain of I and IF per step.

    NIR's equation dv/dt = r I gives r dt, but Norse, snnTorch and Sinabs interpret r = 1 as a gain
    of 1 per step. So r = 1 means 1 per step here, and any other r means r dt, as in the equation.
    """
    r = np.asarray(r, np.float64)
    return np.where(np.isclose(r, 1.0, rtol=1e-9, atol=0), 1.0, r * dt_s)


def neuron_shape(node: Any) -> tuple[int, ...]:
    """Shape of a neuron node, given by its parameters."""
    return np.shape(node.r)


def neuron_dynamics(name: str, node: Any, dt_s: float, complain: Callable[[str], None]) -> Dynamics:
    """Forward Euler with step `dt_s`; calls `complain` for everything the chip cannot express.

    LIF, LI     v <- v + dt/tau (v_leak - v + r I)
    CubaLIF, -LI  the same on tau_mem, driven by I <- I + dt/tau_syn (w_in x - I), new I first
    IF, I       v <- v + g I                            g: see `integrator_gain`
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
        if dt_s > tau * (1 + _FLOAT32):
            complain(
                f"node '{name}': {field} is {tau:g} s, shorter than the step dt {dt_s:g} s, "
                "so that the state would change sign at every step"
            )
        return min(dt_s / tau, 1.0)

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
        if (reset := each("v_reset")).any():
            worst = reset.flat[np.abs(reset).argmax()]
            complain(f"node '{name}': v_reset is {worst:g}, the chip resets to 0 only")
    match node:
        case nir.IF() | nir.I():
            gain = integrator_gain(each("r"), dt_s)
            return Dynamics(0.0, 1.0, unit * gain, np.zeros_like(gain), threshold, unit)
        case nir.LIF() | nir.LI():
            mem, syn = rate("tau"), 1.0
            gain = mem * each("r")
        case nir.CubaLIF() | nir.CubaLI():
            mem, syn = rate("tau_mem"), rate("tau_syn")
            gain = mem * each("r") * (syn * each("w_in"))
        case _:
            fail(f"{label(name, node)}: its dynamics on a chip are not known")
    leak = mem * each("v_leak")
    return Dynamics(1 - syn, 1 - mem, unit * gain, unit * leak, threshold, unit)
