"""Delayed subtraction of the threshold, rewritten as a subtraction at once, as a chip has it.

With keep = 1 - k and a spike s of the last step, snnTorch's default is

    v <- keep v + gain x - v_threshold s
       = keep (v - v_threshold s) + gain x - k v_threshold s

so that it equals a subtraction at once and a connection from each neuron to itself, one step later,
with the weight -k v_threshold / gain. That holds for neurons without a synaptic current.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np

from spikeport.export.float_graph import unused
from spikeport.export.nir import FloatNetwork, ResetTiming
from spikeport.export.nir.fields import NEURONS, SPIKING, kind
from spikeport.export.nir.neuron_dynamics import lost_fraction, resistance, starts_above
from spikeport.export.nir.semantics import InputGain
from spikeport.network import Reset


def subtracting_at_once(network: FloatNetwork) -> FloatNetwork:
    """The network with the same spikes whose thresholds are subtracted at once.

    It is returned as it is if it needs no such change, or if one of its neurons prevents it.
    """
    semantics, nodes = network.semantics, network.graph.nodes
    delayed = (
        semantics.reset is Reset.SUBTRACT and semantics.reset_timing is ResetTiming.AFTER_DECAY
    )
    if not delayed or semantics.late_spikes:
        return network
    scales: dict[str, Any] = {}
    for name, node in nodes.items():
        if kind(node) not in SPIKING or not isinstance(node, NEURONS):
            continue
        if starts_above(node, semantics):
            return network
        if isinstance(node, nir.IF):
            continue  # without a decay, the order does not matter
        if not isinstance(node, nir.LIF) or semantics.loop_delay != 1:
            return network
        lost = lost_fraction(network.dt_s / np.asarray(node.tau, np.float64), semantics)
        unit = semantics.input_gain is InputGain.UNIT
        gain = np.ones_like(lost) if unit else lost * resistance(node, semantics)
        if not np.all(gain):
            return network
        scales[name] = -lost * node.v_threshold / gain
    at_once = network.with_rules(reset_timing=ResetTiming.BEFORE_DECAY)
    if not scales:
        return at_once
    loops: dict[str, str] = {}
    for name in scales:
        loops[name] = unused(f"{name[:50]}_reset", nodes, loops.values())
    found = ", ".join(loops.values())
    how = f"reset_timing=after-decay, as a subtraction at once and connections {found}"
    graph = nir.NIRGraph(
        {**nodes, **{loop: nir.Scale(scales[name]) for name, loop in loops.items()}},
        [*network.graph.edges, *loops.items(), *((loop, name) for name, loop in loops.items())],
        type_check=False,
    )
    return replace(at_once, graph=graph, provenance={**network.provenance, "rewritten": how})
