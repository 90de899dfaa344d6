"""From a trained network to one that goes on training in the chip's own arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from spikeport import fixed_point as fx
from spikeport.export import QuantizeConfig, export_float
from spikeport.export.lower import lower
from spikeport.export.lowered import LoweredNetwork
from spikeport.float_network import FloatNetwork
from spikeport.network import Coding, DeployedNetwork, Input
from spikeport.samples import Samples, check_float_samples, select
from spikeport.trainer import ChipNetwork, SpikingNetwork, describe
from spikeport.trainer.deployment import deployable
from spikeport.trainer.lif import LI
from spikeport.workflow import quantize

GLANCE = 16
"""Samples of the first quantization, which shows how wide the inputs may be."""


def to_chip(
    model: SpikingNetwork, samples: Samples, config: QuantizeConfig | None = None
) -> ChipNetwork:
    """Fold batch norms, quantize, and keep the real weights as masters of the integers.

    Scales are searched on calibration samples, as `quantize` does, and kept in training. Graded
    inputs give up low bits where the weights behind them need the room more (`shares_room`).

    Args:
        samples: some hundred training samples in float units.

    Raises:
        InputError: the network cannot be deployed, or not trained so; every reason is listed.
    """
    graph = export_float(describe(model))
    arrays = check_float_samples(graph.inputs, graph.steps, samples)
    glance = quantize(graph, select(graph.inputs, arrays, slice(GLANCE)), config).network
    graph = shares_room(graph, lower(graph), glance)
    made, real = quantize(graph, arrays, config), lower(graph)
    frozen = {
        node.name
        for node in deployable(model).nodes
        if any(not p.requires_grad for p in node.op.parameters())
    }
    return ChipNetwork(
        made.network,
        weights={c.name: c.weight for c in real.connections},
        biases={part.name: part.bias for part in real.populations},
        frozen=[c.name for c in real.connections if c.name in frozen],
        mean_scores=not isinstance(model.nodes[-1].op, LI),
    )


def shares_room(graph: FloatNetwork, real: LoweredNetwork, glance: DeployedNetwork) -> FloatNetwork:
    """The network with coarser graded inputs where that evens out what rounding loses.

    Sums of weights times inputs must fit the chip's 24 bits, so wide inputs leave small integers to
    the weights. An input that reaches up to X, before weights of up to W in steps of d, is halved
    k times: W doubles k times as X halves, and X 2^-k = W 2^k / d is where both lose alike, unless
    the weights' grid ends before.
    """
    inputs = tuple(_coarser(part, real, glance) for part in graph.inputs)
    return replace(graph, inputs=inputs)


def _coarser(part: Input, real: LoweredNetwork, glance: DeployedNetwork) -> Input:
    reach = max(abs(part.low), abs(part.high))
    halvings = []
    for wire in glance.synapses:
        if wire.source != part.name:
            continue
        weight = next(c.weight for c in real.connections if c.name == wire.name)
        largest = float(np.abs(weight).max()) * glance.by_name[wire.target].scale / part.scale
        mixed = fx.is_mixed(wire.weight)
        _, high, step = fx.weight_grid(mixed=mixed, bits=wire.weight_bits)
        even = math.log2(max(reach * step / max(largest, 1e-9), 1)) / 2
        room = math.log2(max(2 * high / max(largest, 1e-9), 1))  # large ones may be clipped by half
        halvings.append(min(round(even), math.floor(room)))
    if part.coding is not Coding.GRADED or not halvings or min(halvings) < 1:
        return part
    divisor = 2 ** min(halvings)
    return replace(
        part,
        scale=part.scale / divisor,
        low=math.floor(part.low / divisor),
        high=math.ceil(part.high / divisor),
    )
