"""`outline`: what quantization would make of a float network, before any number is chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spikeport.export.nir import FloatNetwork
from spikeport.export.quantize.config import QuantizeConfig
from spikeport.export.quantize.connections import draft
from spikeport.export.quantize.lower import lower
from spikeport.export.quantize.rounding import round_decay
from spikeport.network import (
    LOIHI,
    BiasInjection,
    DeployedNetwork,
    WeightedConnection,
    require_lif,
)


def outline(network: FloatNetwork, config: QuantizeConfig) -> DeployedNetwork:
    """A deployed network of the structure that quantization gives a float network.

    Inputs, shapes, decays, delays and the reset are those that it will have. The other numbers are
    those that take most of a core: weights of both signs over the whole grid, and a threshold of
    its own for each population. Biases and starts are 0.

    Raises:
        InputError: lists everything in the graph that the chip cannot express.
    """
    lowered = lower(network)
    made = draft(lowered, config)
    populations = tuple(
        replace(
            require_lif(made.by_name[part.name]),
            vth=place,
            decay_u=round_decay(part.keep_u),
            decay_v=round_decay(part.keep_v),
            v_init=0,
        )
        for place, part in enumerate(lowered.populations, 1)
    )
    connections = tuple(
        part if isinstance(part, BiasInjection) else _full(part, config)
        for part in made.connections
    )
    return made.replace(populations=populations, connections=connections)


def _full(part: WeightedConnection, config: QuantizeConfig) -> WeightedConnection:
    """The connection with the ends of the grid as its weights."""
    _, high, _ = LOIHI.weight_grid(mixed=True, bits=config.weight_bits)
    ends = np.resize(np.array([high, -high], np.int16), part.weight.shape)
    full: WeightedConnection = replace(part, weight=ends, weight_bits=config.weight_bits)
    return full
