"""Preparations made once per network, and the division of a run to fit in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from spikeport.network import (
    LOIHI,
    AnyPopulation,
    Coding,
    DeployedNetwork,
    Input,
    PerNeuron,
    Register,
    WeightedConnection,
    fan_out,
    require_loihi,
)
from spikeport.runs import longest_delay
from spikeport.simulators.native.components import Component, components
from spikeport.simulators.native.delivery import Delivery, delivery
from spikeport.simulators.native.layout import channels_last, padded
from spikeport.simulators.native.neurons import compiled_model

ACTIVATION_SHIFT = LOIHI.activation_shift
STATE_WRAP = LOIHI.state_wrap

_MOST_SAMPLES = 128
_WITHIN = STATE_WRAP >> ACTIVATION_SHIFT


@dataclass(frozen=True, slots=True)
class Plan:
    """Preparations for one network, to which they must not hold a reference: see `plan_of`.

    Attributes:
        components: see `components.components`, and whether their members take turns step by
            step.
        deliveries: per connection that carries weights.
        reached: per such connection, the synapses that a message reaches: `fan_out`.
        incoming: per population, connections with weights.
        bias: per population that has any, its own bias current, (1, 1, N).
        injections: per population, the inputs that change its bias.
        registers: per population, its state variables with their initial values.
        dynamics, variants: per population, the constants of its compiled step.
    """

    components: list[tuple[Component, bool]]
    deliveries: Mapping[str, Delivery]
    reached: Mapping[str, tuple[PerNeuron, PerNeuron]]
    incoming: Mapping[str, list[WeightedConnection]]
    bias: Mapping[str, NDArray[np.int32]]
    injections: Mapping[str, list[str]]
    registers: Mapping[str, tuple[Register, ...]]
    dynamics: Mapping[str, Any]
    variants: Mapping[str, tuple[bool, ...]]


_PLANS: WeakKeyDictionary[DeployedNetwork, Plan] = WeakKeyDictionary()


def plan_of(network: DeployedNetwork) -> Plan:
    """The plan of a network, kept for the lifetime of the network, which is immutable."""
    plan = _PLANS.get(network)
    if plan is None:
        plan = _PLANS[network] = make_plan(network)
    return plan


def make_plan(network: DeployedNetwork) -> Plan:
    """Prepare a network."""
    require_loihi(network, "the native simulator")
    deliveries, reached = {}, {}
    for c in network.weighted_connections:
        source, target = network.sources[c.source].shape, network.by_name[c.target].shape
        reached[c.name] = fan_out(c, source)
        deliveries[c.name] = delivery(c, source, target, network.message_range(c.source))
    return Plan(
        [(members, _by_step(network, deliveries, members)) for members, _ in components(network)],
        deliveries,
        reached,
        {name: list(network.weighted_into(name)) for name in network.order},
        {
            p.name: np.array(channels_last(p.bias_current, p.shape).reshape(1, 1, -1), order="C")
            for p in network.populations
            if p.bias.any()
        },
        {
            name: [injection.source for injection in network.injections_into(name)]
            for name in network.order
        },
        {p.name: p.registers(LOIHI) for p in network.populations},
        {p.name: compiled_model(p).dynamics(p) for p in network.populations},
        {
            p.name: compiled_model(p).variant(p, _reach(network, deliveries, p.name) < _WITHIN)
            for p in network.populations
        },
    )


def _reach(network: DeployedNetwork, deliveries: Mapping[str, Delivery], name: str) -> int:
    """The largest magnitude of the summed input of a population."""
    return sum(deliveries[c.name].bound for c in network.weighted_into(name))


def _by_step(
    network: DeployedNetwork, deliveries: Mapping[str, Delivery], members: Component
) -> bool:
    """Whether a component must be run step by step.

    The loop over a population's neurons can follow one connection from itself if it has tables.
    """
    inner = [c for c in network.weighted_connections if c.source in members and c.target in members]
    apart = any(deliveries[c.name].loop_tables is None for c in inner)
    return len(members) > 1 or len(inner) > 1 or apart


def is_graded(source: Input | AnyPopulation) -> bool:
    """Whether messages of a source are integers rather than 0 and 1."""
    return isinstance(source, Input) and source.coding is not Coding.SPIKES


def cut(
    network: DeployedNetwork,
    plan: Plan,
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
        if not isinstance(part, Input):
            kept = (r.variable for r in plan.registers[part.name] if r.kept)
            fixed += sum(np.dtype(variable.dtype).itemsize for variable in kept) * part.size
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
