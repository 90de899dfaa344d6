"""NIR neuron nodes as one forward-Euler step with the two decays and the gain of the chip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_FLOAT32 = 1e-7
"""Relative error of a time constant stored as float32."""
NEURONS = (nir.LIF, nir.LI, nir.IF, nir.I, nir.CubaLIF, nir.CubaLI)


@dataclass(frozen=True, slots=True, eq=False)
class Dynamics:
    """u <- keep_u u + gain I; v <- keep_v v + u + leak; `gain` and `leak` per neuron."""

    keep_u: float
    keep_v: float
    gain: Array
    leak: Array
    threshold: float | None


def neuron_shape(node: Any) -> tuple[int, ...]:
    """Shape of a neuron node, given by its parameters."""
    return np.shape(node.r)


def neuron_dynamics(name: str, node: Any, dt_s: float, complain: Callable[[str], None]) -> Dynamics:
    """Forward Euler with step `dt_s`; calls `complain` for everything the chip cannot express.

    LIF, LI     v <- v + dt/tau (v_leak - v + r I)
    CubaLIF, -LI  the same on tau_mem, driven by I <- I + dt/tau_syn (w_in x - I), new I first
    IF, I       v <- v + r dt I, but r = 1 and r = 1/dt both mean 1 per step, as written by tools
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

    threshold = None
    if isinstance(node, nir.LIF | nir.IF | nir.CubaLIF):
        threshold = uniform("v_threshold")
        if threshold <= 0:
            complain(f"node '{name}': v_threshold is {threshold:g}, must be above 0")
        if (reset := each("v_reset")).any():
            worst = reset.flat[np.abs(reset).argmax()]
            complain(f"node '{name}': v_reset is {worst:g}, the chip resets to 0 only")
    if isinstance(node, nir.IF | nir.I):
        r = each("r")
        gain = np.where(np.isclose(r, 1.0, rtol=1e-9, atol=0), 1.0, r * dt_s)
        return Dynamics(0.0, 1.0, gain, np.zeros_like(gain), threshold)
    cuba = isinstance(node, nir.CubaLIF | nir.CubaLI)
    mem = rate("tau_mem" if cuba else "tau")
    syn = rate("tau_syn") if cuba else 1.0
    gain = mem * each("r") * (syn * each("w_in") if cuba else 1.0)
    return Dynamics(1 - syn, 1 - mem, gain, mem * each("v_leak"), threshold)
