"""Everything that changes while a chunk of samples is running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.network import DeployedNetwork, WeightedConnection
from spikeport.runs import Trace
from spikeport.simulators.native.currents import Constant, constant_currents, piece_size
from spikeport.simulators.native.events import Buffers
from spikeport.simulators.native.kernels import RECEIVED, Afferent, Int32
from spikeport.simulators.native.messages import MessageBuffer, make_buffer
from spikeport.simulators.native.neurons import initial_neurons
from spikeport.simulators.native.plan import Plan
from spikeport.simulators.native.replay import Spikes


@dataclass(frozen=True, slots=True)
class Loop:
    """How the compiled loop of a population is called, the same in all its steps.

    Attributes:
        first, second: connections that the loop adds up itself.
        others: those that are added up before it.
        dynamics: constants of its neurons.
        recorded: the state variables that traces can hold.
        kept: the name of each, and whether the trace holds it.
    """

    first: Afferent
    second: Afferent
    others: Sequence[WeightedConnection]
    dynamics: Any
    recorded: tuple[Int32, ...]
    kept: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class State:
    """The state of a chunk: per population the arrays of its neurons, (B, N).

    Attributes:
        received_from: per source, the messages carried by connections.
        own: per population, the messages it computes; the same buffers except in a replay.
        neurons: per population, the state variables of its model; see `initial_neurons`.
        loops: per population that has run.
    """

    network: DeployedNetwork
    plan: Plan
    samples: int
    received_from: Mapping[str, MessageBuffer]
    own: Mapping[str, MessageBuffer]
    neurons: Mapping[str, Any]
    constant: Mapping[str, Constant]
    updates: dict[str, int]
    scratch: Int32
    received: Int32
    buffers: dict[str, Buffers]
    loops: dict[str, Loop]
    trace: Trace


def initial_state(
    network: DeployedNetwork,
    plan: Plan,
    inputs: Mapping[str, NDArray[Any]],
    block: int,
    trace: Trace,
    recorded: Spikes | None,
) -> State:
    """The state before step 0; for the arguments see `chunk.run_chunk`."""
    samples = inputs[network.inputs[0].name].shape[-1 - len(network.inputs[0].shape)]
    given = {**inputs, **(recorded or {})}
    received_from = {
        name: make_buffer(network, part, given.get(name), samples, block)
        for name, part in network.sources.items()
    }
    own = {name: received_from[name] for name in network.order}
    if recorded is not None:
        own = {
            name: make_buffer(network, network.by_name[name], None, samples, block)
            for name in network.order
        }
    pieces = ((part.size, *piece_size(part.size, block, samples)) for part in network.populations)
    return State(
        network=network,
        plan=plan,
        samples=samples,
        received_from=received_from,
        own=own,
        neurons={
            p.name: initial_neurons(p, plan.registers[p.name], samples) for p in network.populations
        },
        constant={
            name: constant_currents(network, plan, received_from, name) for name in network.order
        },
        updates=dict.fromkeys(network.order, 0),
        scratch=np.empty(max(size * steps * count for size, steps, count in pieces), np.int32),
        received=np.empty(RECEIVED, np.int32),
        buffers={},
        loops={},
        trace=trace,
    )


def start_afresh(state: State) -> None:
    """Return all neurons to their state before step 0."""
    for name, registers in state.plan.registers.items():
        for register, values in zip(registers, state.neurons[name], strict=True):
            values[:] = register.initial
