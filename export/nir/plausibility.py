"""Check whether the time constants, gains, `r` and resets of a float network are plausible.

NIR states neither the time step nor, in practice, the unit of time constants, and frameworks write
`r` for rules of their own. A wrong guess breaks no rule: the network just never fires, or fires at
every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.export.nir.fields import NEURONS, label, time_constants
from spikeport.export.nir.neuron_dynamics import is_one, neuron_dynamics
from spikeport.export.nir.semantics import InputGain, IntegratorGain, Semantics, StartValue
from spikeport.network import Reset

Array = NDArray[np.float64]
SHORTEST, LONGEST = 1 - 1e-6, 1e3
"""Time constants in steps. Networks have some of 1 to 1,000 steps, so that seconds taken for
milliseconds, or the reverse, always lead out of this range. Below 1 an Euler step oscillates."""
WEAKEST, STRONGEST = 1e-3, 1e3
"""Change of the membrane per step for an input of 1; tools write gains from 0.01 to 1."""

USUAL_DT_S = 1e-4
"""The dt of snnTorch, which is fixed, and the default one of SpikingJelly."""


def implausible(graph: nir.NIRGraph, dt_s: float, semantics: Semantics) -> tuple[str, ...]:
    """One sentence per parameter that suggests a wrong dt or other rules."""
    found = []
    for name, node in graph.nodes.items():
        if isinstance(node, NEURONS):
            found += [*_time_constants(name, node, dt_s), *_gain(name, node, dt_s, semantics)]
            found += _meaning_of_r(name, node, dt_s, semantics)
            found += _unused_reset(name, node, semantics)
    return tuple(found)


def _time_constants(name: str, node: Any, dt_s: float) -> Iterator[str]:
    for field in time_constants(node):
        ratio = np.asarray(getattr(node, field), np.float64) / dt_s
        if ratio.size and (ratio.min() < SHORTEST or ratio.max() > LONGEST):
            yield (
                f"node '{name}': {field} is {ratio.min():.3g} to {ratio.max():.3g} times dt "
                f"({dt_s:g} s); are both in seconds?"
            )


def _gain(name: str, node: Any, dt_s: float, semantics: Semantics) -> Iterator[str]:
    dynamics = neuron_dynamics(name, node, dt_s, semantics, lambda reason: None)
    gain = np.abs(dynamics.gain)
    if dynamics.threshold is None or not gain.size:
        return
    if gain.max() < WEAKEST or gain.min() > STRONGEST:
        yield (
            f"node '{name}': an input of 1 moves its membrane by {gain.min():.3g} to "
            f"{gain.max():.3g} per step of dt = {dt_s:g} s, usually 0.01 to 1; is dt right?"
        )


def _unused_reset(name: str, node: Any, semantics: Semantics) -> Iterator[str]:
    resets = getattr(node, "v_reset", None)
    unused = semantics.reset is Reset.SUBTRACT and semantics.start is not StartValue.V_RESET
    if unused and resets is not None and np.any(resets):
        yield (
            f"{label(name, node)}: v_reset is {np.min(resets):.3g} to {np.max(resets):.3g}, which "
            "a reset by subtraction does not use; does it reset to v_reset (reset 'zero')?"
        )


def _meaning_of_r(name: str, node: Any, dt_s: float, semantics: Semantics) -> Iterator[str]:
    """Two meanings of `r` in one node, or the `r` of a framework for another dt or other rules."""
    if semantics.input_gain is not InputGain.EQUATION:
        return
    subject, r = label(name, node), np.asarray(node.r, np.float64)
    if isinstance(node, nir.I | nir.IF):
        if semantics.integrator_gain is IntegratorGain.NIR:
            yield from _two_meanings(subject, r, dt_s)
        yield from _other_dt(subject, r, "1", np.ones_like(r), dt_s)
    else:
        tau = np.asarray(node.tau if hasattr(node, "tau") else node.tau_mem, np.float64)
        yield from _other_dt(subject, r, "tau", tau, dt_s)
        yield from _other_rules(subject, r, dt_s / tau)


def _two_meanings(subject: str, r: Array, dt_s: float) -> Iterator[str]:
    ones = is_one(r)
    if ones.any() and not ones.all():
        others = r[~ones] * dt_s
        yield (
            f"{subject}: r is 1 in {ones.sum()} of {r.size} neurons, read as a gain of 1 per step, "
            f"and read as r dt = {others.min():.3g} to {others.max():.3g} in the rest; state one "
            "meaning: integrator_gain 'per-step' or 'per-second'"
        )


def _other_dt(subject: str, r: Array, what: str, tau: Array, dt_s: float) -> Iterator[str]:
    usual = np.allclose(tau, USUAL_DT_S * r, rtol=1e-5, atol=0)
    if usual and not np.isclose(dt_s, USUAL_DT_S):
        yield (
            f"{subject}: r is {what} / ({USUAL_DT_S:g} s), as snnTorch and SpikingJelly write it; "
            f"is dt {USUAL_DT_S:g} s rather than {dt_s:g} s?"
        )


def _other_rules(subject: str, r: Array, ratio: Array) -> Iterator[str]:
    """Of neurons with a leak, for the ratio dt / tau."""
    signatures = {"Spyx": 1 - ratio, "Rockpool": np.exp(-ratio) / ratio}
    for framework, written in signatures.items():
        if not is_one(r).all() and np.allclose(r, written, rtol=1e-5, atol=0):
            yield (
                f"{subject}: r is what {framework} writes, and ignores, for this dt; is the file "
                f"from there (semantics '{framework.lower()}')?"
            )
