"""Spiking neurons in the form that each framework runs."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from spikeport.export.nir.readers.rules import Case
from spikeport.export.nir.readers.step import (
    Step,
    as_cuba,
    as_if,
    as_lif,
    euler_tau,
    exponential_tau,
)
from spikeport.network import Reset


def norse_neuron(case: Case, step: Step) -> Any:
    """Only CubaLIF has the reset by subtraction; with tau_syn = dt it has no synaptic current."""
    subtract = case.semantics.reset is Reset.SUBTRACT
    if isinstance(case.node, nir.CubaLIF) or (subtract and isinstance(case.node, nir.IF)):
        return _unit_cuba(case, step)
    if isinstance(case.node, nir.IF):
        return as_if(step, 1.0)
    tau = euler_tau(step.lost, case.file_dt_s)
    if subtract:
        syn = np.full(tau.shape, case.file_dt_s)
        return as_cuba(step, (syn, tau), (1.0, 1.0), step.lost)
    return as_lif(step, tau, 1.0, step.lost)


def _unit_cuba(case: Case, step: Step) -> Any:
    """CubaLIF with r = tau_mem / dt and w_in = tau_syn / dt, a gain of 1."""
    dt = case.file_dt_s
    taus = euler_tau(step.lost_syn, dt), euler_tau(step.lost, dt)
    return as_cuba(step, taus, (taus[0] / dt, taus[1] / dt), 1.0)


def snntorch_neuron(case: Case, step: Step) -> Any:
    """IF is read as a leaky neuron, so it is written as one whose leak is 0 in float32."""
    if isinstance(case.node, nir.CubaLIF):
        return _unit_cuba(case, step)
    tau = euler_tau(step.lost, case.file_dt_s)
    return as_lif(step, tau, tau / case.file_dt_s, 1.0)


def spikingjelly_neuron(case: Case, step: Step) -> Any:
    """LIF needs tau > dt, CubaLIF tau >= dt, in which float32 is not exact enough."""
    dt = case.file_dt_s
    if isinstance(case.node, nir.IF):
        return as_if(step, 1 / dt)
    if isinstance(case.node, nir.LIF) and (step.lost < 1 - 1e-6).all():
        tau = euler_tau(step.lost, dt)
        unscaled = np.allclose(step.gain, 1, rtol=1e-6)
        return as_lif(step, tau, tau / dt, 1.0) if unscaled else as_lif(step, tau, 1.0, step.lost)
    node = _unit_cuba(case, step)
    for field in ("tau_syn", "tau_mem"):
        setattr(node, field, np.maximum(np.asarray(getattr(node, field), np.float64), dt))
    return node


def sinabs_neuron(case: Case, step: Step) -> Any:
    """Inputs are not scaled, and v decays by exp(-dt / tau)."""
    if isinstance(case.node, nir.IF):
        return as_if(step, 1.0)
    return as_lif(step, exponential_tau(step.lost, case.file_dt_s), 1.0, 1.0)


_PASSING = 2.0**-20
"""What is left of a synaptic current after one step in neurons without one, for Rockpool."""


def rockpool_neuron(case: Case, step: Step) -> Any:
    """Its importer takes CubaLIF only, and dt = min(tau_mem / (1 + r))."""
    dt = case.file_dt_s
    lost_syn = step.lost_syn
    if not isinstance(case.node, nir.CubaLIF):
        lost_syn = np.full(lost_syn.shape, 1 - _PASSING)
    taus = exponential_tau(lost_syn, dt), exponential_tau(step.lost, dt)
    return as_cuba(step, taus, (1.0, taus[1] / dt - 1), np.exp(-dt / taus[0]))


def spyx_neuron(case: Case, step: Step) -> Any:
    """Inputs are not scaled, and states keep 1 - dt / tau."""
    dt = case.file_dt_s
    taus = euler_tau(step.lost_syn, dt), euler_tau(step.lost, dt)
    match case.node:
        case nir.IF():
            return as_if(step, 1.0)
        case nir.LIF():
            return as_lif(step, taus[1], 1.0, 1.0)
    return as_cuba(step, taus, (1.0, 1.0), 1.0)
