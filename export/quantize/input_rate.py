"""Graded inputs as the rates of neurons on the chip, which fire at most once per step."""

from __future__ import annotations

from dataclasses import replace

import nir
import numpy as np

from spikeport.errors import UnsupportedError
from spikeport.export.float_graph import unused
from spikeport.export.nir import FloatNetwork
from spikeport.network import Coding, Input


def rate_coded(network: FloatNetwork) -> FloatNetwork:
    """The network with a neuron for each value of a graded input.

    The value is the neuron's bias in each step. The largest value makes it fire in each step, and
    its spikes count as that value.

    Raises:
        InputError: an input has negative values.
    """
    nodes, edges = dict(network.graph.nodes), list(network.graph.edges)
    inputs, rewrites = [], list(network.rewrites)
    for part in network.inputs:
        if not part.graded:
            inputs.append(part)
            continue
        _check(part)
        rate = unused(f"{part.name[:58]}_rate", nodes)
        value = unused(f"{part.name[:58]}_value", nodes)
        top = part.high / part.scale
        threshold = np.full(part.shape, (part.high - 0.5) / part.scale)
        nodes[rate] = nir.IF(r=np.ones(part.shape), v_threshold=threshold)
        nodes[value] = nir.Scale(np.full(part.shape, top))
        edges = [(value if a == part.name else a, b) for a, b in edges]
        edges += [(part.name, rate), (rate, value)]
        inputs.append(replace(part, coding=Coding.BIAS))
        rewrites.append(
            f"the values of input '{part.name}' are biases of '{rate}', neurons whose rates follow "
            "them; this is not exact"
        )
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    return replace(network, graph=graph, inputs=tuple(inputs), rewrites=tuple(rewrites))


def _check(part: Input) -> None:
    if part.low < 0:
        raise UnsupportedError(
            f"input '{part.name}': its values {part.low}..{part.high} include negative ones, which "
            "are no rates; give positive and negative parts as channels of their own, or add an "
            "offset to all values"
        )
