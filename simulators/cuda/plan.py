"""What is put on a device once per network, and how many samples fit there at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from spikeport.network import DeployedNetwork, PerNeuron, fan_out
from spikeport.runs import Trace
from spikeport.simulators.components import Component, components
from spikeport.simulators.cuda.neurons import Step, step_of
from spikeport.simulators.cuda.products import Product, make_product


@dataclass(frozen=True, slots=True)
class Plan:
    """A network on a device; it holds no reference to the network, see `plan_of`.

    Attributes:
        components: populations that must take turns step by step, sources first.
        steps: per population, the step of its neurons.
        bias: per population, its bias mantissas (1, N), int32.
        products: per connection.
        reached: per connection, the non-zero and the stored synapses that each source neuron
            reaches.
        delays: per source, those of its connections.
    """

    device: torch.device
    components: tuple[Component, ...]
    steps: Mapping[str, Step]
    bias: Mapping[str, Tensor]
    products: Mapping[str, Product]
    reached: Mapping[str, tuple[PerNeuron, PerNeuron]]
    delays: Mapping[str, tuple[int, ...]]


_PLANS: WeakKeyDictionary[DeployedNetwork, dict[torch.device, Plan]] = WeakKeyDictionary()


def plan_of(network: DeployedNetwork, device: torch.device) -> Plan:
    """The plan of a network, kept on the device for the lifetime of the network.

    Raises:
        InputError: the simulator does not support a part of the network.
    """
    plans = _PLANS.setdefault(network, {})
    if device not in plans:
        plans[device] = _make_plan(network, device)
    return plans[device]


def _make_plan(network: DeployedNetwork, device: torch.device) -> Plan:
    return Plan(
        device=device,
        components=tuple(members for members, _ in components(network)),
        steps={part.name: step_of(part) for part in network.populations},
        bias={
            part.name: torch.tensor(part.bias.reshape(1, -1), dtype=torch.int32, device=device)
            for part in network.populations
        },
        products={
            part.name: make_product(network, part, device) for part in network.weighted_connections
        },
        reached={
            part.name: fan_out(part, network.sources[part.source].shape)
            for part in network.weighted_connections
        },
        delays={
            name: tuple({part.delay for part in network.weighted_from(name)})
            for name in network.sources
        },
    )


STATE_BYTES = 96
"""Of one neuron in its step: state, temporary values and results."""


def samples_at_once(
    network: DeployedNetwork,
    plan: Plan,
    static: frozenset[str],
    trace: Trace | None,
    memory_bytes: int,
) -> int:
    """Samples whose messages, currents and records of all steps need about `memory_bytes`.

    At least one.

    Args:
        static: inputs that are the same in every step.
        trace: what is recorded.
    """
    messages = sum(
        part.size * (1 if name in static else network.steps) * (1 if name in plan.bias else 4)
        for name, part in network.sources.items()
    )
    recorded = 0 if trace is None else sum(len(table) > 0 for table in trace.tables.values())
    widest = max(sum(network.by_name[name].size for name in members) for members in plan.components)
    working = widest * (4 * (1 + recorded) * network.steps + STATE_BYTES)
    return max(memory_bytes // (messages + working), 1)
