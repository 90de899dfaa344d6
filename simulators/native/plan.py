"""Preparations made once per network, and the division of a run to fit in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
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
    Readout,
    Register,
    WeightedConnection,
    fan_out,
    require_loihi,
)
from spikeport.simulators.components import Component, components
from spikeport.simulators.native.delivery import Delivery, delivery
from spikeport.simulators.native.layout import channels_last, padded
from spikeport.simulators.native.neurons import compiled_model

ACTIVATION_SHIFT = LOIHI.activation_shift
STATE_WRAP = LOIHI.state_wrap

Key = tuple[str, int]
"""A source and a delay d."""

_MOST_SAMPLES = 128
_CACHED = 2 << 20
"""Bytes about as many as the second-level cache of a core holds."""
_WITHIN = STATE_WRAP >> ACTIVATION_SHIFT


@dataclass(frozen=True, slots=True)
class Plan:
    """Preparations for one network, to which they must not hold a reference: see `plan_of`.

    They do not depend on its steps.

    Attributes:
        parts, populations: inputs and populations, and only the latter, by name.
        sizes: of the populations.
        order: of the populations.
        components: see `simulators.components`, and whether their members take turns step by
            step.
        deliveries: per connection that carries weights.
        reached: per source and delay, in the internal order of the source, a row of ones, and for
            each of its connections with that delay the non-zero and the stored synapses that a
            message reaches (see `fan_out`).
        counted: per field of `EventCounts` and name, its row among those of all of `reached`.
        incoming: per population, connections with weights.
        delays: per part, those of its connections with weights, and 0.
        bias: per population that has any, its own bias current, (1, 1, N).
        injections: per population, the inputs that change its bias.
        registers: per population, its state variables with their initial values.
        dynamics, variants: per population, the constants of its compiled step.
        needs: see `cut`.
        enough: memory of a chunk, in bytes, beyond which larger ones are not faster: what caches
            hold, or several times the weights, which are read again for each chunk.
        idle: what earlier runs have left for later ones, see `state.borrowed`.
    """

    parts: Mapping[str, Input | AnyPopulation]
    populations: Mapping[str, AnyPopulation]
    sizes: Mapping[str, int]
    order: tuple[str, ...]
    readouts: tuple[Readout, ...]
    components: list[tuple[Component, bool]]
    deliveries: Mapping[str, Delivery]
    reached: Mapping[Key, NDArray[np.int64]]
    counted: Mapping[str, Mapping[str, int]]
    incoming: Mapping[str, list[WeightedConnection]]
    delays: Mapping[str, tuple[int, ...]]
    bias: Mapping[str, NDArray[np.int32]]
    injections: Mapping[str, list[str]]
    registers: Mapping[str, tuple[Register, ...]]
    dynamics: Mapping[str, Any]
    variants: Mapping[str, tuple[bool, ...]]
    needs: dict[tuple[frozenset[str], bool], tuple[int, int]]
    enough: int
    idle: list[Any]


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
    deliveries, placed = {}, {}
    rows = {(name, 0): [np.ones(part.size, np.int64)] for name, part in network.sources.items()}
    for c in network.weighted_connections:
        source, target = network.sources[c.source].shape, network.by_name[c.target].shape
        deliveries[c.name] = delivery(c, source, target, network.message_range(c.source))
        key = c.source, c.delay
        reached = rows.setdefault(key, [rows[c.source, 0][0]])
        placed[c.name] = key, len(reached)
        reached += (channels_last(count, source) for count in fan_out(c, source))
    return Plan(
        parts=dict(network.sources),
        populations=dict(network.by_name),
        sizes={part.name: part.size for part in network.populations},
        order=network.order,
        readouts=network.readouts,
        components=[
            (members, _by_step(network, deliveries, members)) for members, _ in components(network)
        ],
        deliveries=deliveries,
        reached={key: np.array(each, np.int64) for key, each in rows.items()},
        counted=_counted(network, rows, placed),
        incoming={name: list(network.weighted_into(name)) for name in network.order},
        delays={
            name: tuple(sorted({0} | {c.delay for c in network.weighted_from(name)}))
            for name in network.sources
        },
        bias={
            p.name: np.array(channels_last(p.bias_current, p.shape).reshape(1, 1, -1), order="C")
            for p in network.populations
            if p.bias.any()
        },
        injections={
            name: [injection.source for injection in network.injections_into(name)]
            for name in network.order
        },
        registers={p.name: p.registers(LOIHI) for p in network.populations},
        dynamics={p.name: compiled_model(p).dynamics(p) for p in network.populations},
        variants={
            p.name: compiled_model(p).variant(p, _reach(network, deliveries, p.name) < _WITHIN)
            for p in network.populations
        },
        needs={},
        enough=max(_CACHED, 8 * sum(c.weight.size for c in network.weighted_connections)),
        idle=[],
    )


def _counted(
    network: DeployedNetwork,
    rows: Mapping[Key, Sequence[NDArray[np.int64]]],
    placed: Mapping[str, tuple[Key, int]],
) -> dict[str, dict[str, int]]:
    """See `Plan.counted`, given the rows of each key, and those of connections."""
    first = dict(zip(rows, accumulate(map(len, rows.values()), initial=0), strict=False))
    connected = {name: (first[key], first[key] + row) for name, (key, row) in placed.items()}
    return {
        "spikes": {p.name: first[p.name, 0] for p in network.populations},
        "input_events": {p.name: first[p.name, 0] for p in network.inputs},
        "messages": {name: one for name, (one, _) in connected.items()},
        "synaptic_events": {name: row for name, (_, row) in connected.items()},
        "synaptic_events_all": {name: row + 1 for name, (_, row) in connected.items()},
    }


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
    plan: Plan,
    steps: int,
    static: frozenset[str],
    *,
    memory_bytes: int,
    share: int,
    replay: bool,
) -> tuple[int, int]:
    """Samples and steps to compute at once in about `memory_bytes` at most; at least one of each.

    Args:
        steps: T.
        static: inputs that are the same in every step.
        share: samples for each thread, so that all have work.
    """
    if (static, replay) not in plan.needs:
        plan.needs[static, replay] = _needs(plan, static, replay)
    fixed, per_step = plan.needs[static, replay]
    memory_bytes = min(memory_bytes, plan.enough)
    at_once = max(min((memory_bytes - fixed) // max(per_step, 1), steps), 1)
    most = max(min(memory_bytes // (fixed + at_once * per_step), _MOST_SAMPLES), 1)
    return -(-share // -(-share // most)), at_once  # all chunks alike


def _needs(plan: Plan, static: frozenset[str], replay: bool) -> tuple[int, int]:
    """Memory that a sample takes, without steps and for each step."""
    fixed, per_step = 0, 0
    for name, part in plan.parts.items():
        copies, item = 1, 4 if is_graded(part) else 1
        if name in plan.registers:
            kept = (r.variable for r in plan.registers[name] if r.kept)
            fixed += sum(np.dtype(variable.dtype).itemsize for variable in kept) * part.size
            copies += replay
        elif name in static:
            fixed += item * part.size
            continue
        step = copies * item * padded(part.size)
        fixed += plan.delays[name][-1] * step
        per_step += step
    return fixed, per_step
