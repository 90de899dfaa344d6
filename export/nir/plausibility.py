"""Check whether the time constants and gains of a float network are plausible.

NIR states neither the time step nor, in practice, the unit of time constants. A wrong guess breaks
no rule: the network just never fires, or fires at every step.
"""

from __future__ import annotations

import nir
import numpy as np

from spikeport.export.nir.fields import NEURONS, time_constants
from spikeport.export.nir.neuron_dynamics import neuron_dynamics
from spikeport.export.nir.semantics import Semantics

SHORTEST, LONGEST = 1 - 1e-6, 1e4
"""Time constants in steps: below 1 the state oscillates, above 1e4 the decay is below 1/8192."""
WEAKEST, STRONGEST = 1e-3, 1e3
"""Change of the membrane per step for an input of 1; tools write gains from 0.01 to 1."""


def implausible(graph: nir.NIRGraph, dt_s: float, semantics: Semantics) -> tuple[str, ...]:
    """One sentence per time constant or gain that suggests a wrong dt."""
    found = []
    for name, node in graph.nodes.items():
        if not isinstance(node, NEURONS):
            continue
        for field in time_constants(node):
            ratio = np.asarray(getattr(node, field), np.float64) / dt_s
            if ratio.size and (ratio.min() < SHORTEST or ratio.max() > LONGEST):
                found.append(
                    f"node '{name}': {field} is {ratio.min():.3g} to {ratio.max():.3g} times dt "
                    f"({dt_s:g} s); are both in seconds?"
                )
        dynamics = neuron_dynamics(name, node, dt_s, semantics, lambda reason: None)
        gain = np.abs(dynamics.gain)
        if dynamics.threshold is None or not gain.size:
            continue
        if gain.max() < WEAKEST or gain.min() > STRONGEST:
            found.append(
                f"node '{name}': an input of 1 moves its membrane by {gain.min():.3g} to "
                f"{gain.max():.3g} per step of dt = {dt_s:g} s, usually 0.01 to 1; is dt right?"
            )
    return tuple(found)
