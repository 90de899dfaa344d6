"""What is prepared once for a network, and how a run is cut to fit in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import (
    BiasInjection,
    Coding,
    DeployedNetwork,
    Input,
    Population,
    Synapses,
)
from spikeport.simulators.counts import PerNeuron, fan_out
from spikeport.simulators.native.components import Component, components
from spikeport.simulators.native.layout import channels_last, padded
from spikeport.simulators.native.wiring import Wiring, wire
from spikeport.stream_state import longest_delay

_MOST_SAMPLES = 128


@dataclass(frozen=True, slots=True)
class Plan:
    """A network made ready.

    Attributes:
        components: see `components.components`; in a replay every population stands alone.
        wirings: per connection that carries weights.
        incoming: per population, connections with weights.
        bias: per population, its own bias current, (1, 1, N).
        injections: per population, the inputs that change its bias.
        reached: per connection that carries weights, its `counts.fan_out`.
    """

    network: DeployedNetwork
    components: list[tuple[Component, bool]]
    wirings: Mapping[str, Wiring]
    incoming: Mapping[str, list[Synapses]]
    bias: Mapping[str, NDArray[np.int32]]
    injections: Mapping[str, list[str]]
    reached: Mapping[str, tuple[PerNeuron, PerNeuron]]


def make_plan(network: DeployedNetwork, *, replay: bool) -> Plan:
    """Prepare a network; `replay` says that connections carry recorded spikes."""
    wirings = {}
    for c in network.synapses:
        source = network.sources[c.source]
        graded = is_graded(source)
        wirings[c.name] = wire(
            c,
            source.shape,
            network.by_name[c.target].shape,
            largest=max(abs(source.low), abs(source.high)) if isinstance(source, Input) else 1,
            products=graded,
        )
    alone: list[tuple[Component, bool]] = [((name,), False) for name in network.order]
    return Plan(
        network,
        alone if replay else components(network),
        wirings,
        {name: [c for c in network.synapses if c.target == name] for name in network.order},
        {
            p.name: np.array(channels_last(p.bias_current, p.shape).reshape(1, 1, -1), order="C")
            for p in network.populations
        },
        {
            name: [
                c.source
                for c in network.connections
                if isinstance(c, BiasInjection) and c.target == name
            ]
            for name in network.order
        },
        {c.name: fan_out(c, network.sources[c.source].shape) for c in network.synapses},
    )


def is_graded(source: Input | Population) -> bool:
    """Whether messages of a source are integers rather than 0 and 1."""
    return isinstance(source, Input) and source.coding is not Coding.SPIKES


def cut(
    network: DeployedNetwork,
    inputs: Mapping[str, NDArray[Any]],
    *,
    memory_bytes: int,
    share: int,
    replay: bool,
) -> tuple[int, int]:
    """Samples and steps to compute at once in about `memory_bytes`; at least one of each.

    Args:
        share: samples for each thread, so that all have work.
    """
    fixed, per_step = 0, 0
    for part in network.sources.values():
        copies, item = 1, 4 if is_graded(part) else 1
        if isinstance(part, Population):
            fixed += 8 * part.size
            copies += replay
        elif inputs[part.name].ndim == 1 + len(part.shape):
            fixed += item * part.size
            continue
        step = copies * item * padded(part.size)
        fixed += longest_delay(network, part.name) * step
        per_step += step
    steps = max(min((memory_bytes - fixed) // max(per_step, 1), network.steps), 1)
    samples = memory_bytes // (fixed + steps * per_step)
    return max(min(samples, share, _MOST_SAMPLES), 1), steps
