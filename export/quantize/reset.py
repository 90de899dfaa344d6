"""Delayed subtraction of the threshold, rewritten as a subtraction at once, as a chip has it.

With keep = 1 - k and a spike s of the last step, snnTorch's default is

    v <- keep v + gain x - v_threshold s
       = keep (v - v_threshold s) + gain x - k v_threshold s

so that it equals a subtraction at once and a connection from each neuron to itself, one step later,
with the weight w = -k v_threshold / gain. A synaptic current would keep the fraction keep_syn of it
in the following steps: a second connection, another step later, with the weight -keep_syn w, takes
exactly that away.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from spikeport.export.float_graph import unused
from spikeport.export.nir import FloatNetwork, ResetTiming
from spikeport.export.nir.fields import NEURONS, SPIKING, kind
from spikeport.export.nir.neuron_dynamics import lost_fraction, resistance, starts_above
from spikeport.export.nir.semantics import InputGain, Semantics, SynapseOrder
from spikeport.network import Reset

Array = NDArray[np.float64]


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
    weights: dict[str, tuple[Array, ...]] = {}
    for name, node in nodes.items():
        if kind(node) not in SPIKING or not isinstance(node, NEURONS):
            continue
        if starts_above(node, semantics):
            return network
        if isinstance(node, nir.IF):
            continue  # without a decay, the order does not matter
        found = _weights(node, network.dt_s, semantics)
        if found is None:
            return network
        weights[name] = found
    at_once = network.with_rules(reset_timing=ResetTiming.BEFORE_DECAY)
    if not weights:
        return at_once
    added: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    for name, each in weights.items():
        for delay, weight in enumerate(each, 1):
            loop = unused(f"{name[:50]}_reset", nodes, added)
            added[loop] = nir.Scale(weight)
            path = [name, loop, name]
            if delay != semantics.loop_delay:
                wait = unused(f"{loop}_delay", nodes, added)
                added[wait] = nir.Delay(np.full(weight.shape, delay * network.dt_s))
                path.insert(1, wait)
            edges += pairwise(path)
    loops = ", ".join(name for name, node in added.items() if isinstance(node, nir.Scale))
    how = f"reset_timing=after-decay, as a subtraction at once and connections {loops}"
    graph = nir.NIRGraph({**nodes, **added}, [*network.graph.edges, *edges], type_check=False)
    return replace(at_once, graph=graph, provenance={**network.provenance, "rewritten": how})


def _weights(node: Any, dt_s: float, semantics: Semantics) -> tuple[Array, ...] | None:
    """The weights of the connections of delay 1, 2 and so on; None if there are none."""
    unit = semantics.input_gain is InputGain.UNIT
    if isinstance(node, nir.LIF):
        lost = lost_fraction(dt_s / np.asarray(node.tau, np.float64), semantics)
        gain = np.ones_like(lost) if unit else lost * resistance(node, semantics)
        return (-lost * node.v_threshold / gain,) if np.all(gain) else None
    lost = lost_fraction(dt_s / np.asarray(node.tau_mem, np.float64), semantics)
    lost_syn = lost_fraction(dt_s / np.asarray(node.tau_syn, np.float64), semantics)
    gain = np.ones_like(lost) if unit else lost * node.r * lost_syn * node.w_in
    if semantics.synapse_order is SynapseOrder.ADD_FIRST:
        gain = gain * (1 - lost_syn)
    if not np.all(gain):
        return None
    weight = -lost * node.v_threshold / gain
    return weight, -(1 - lost_syn) * weight
