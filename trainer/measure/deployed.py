"""Run a deployed network in torch: chip arithmetic on tensors, `evaluate_deployed`.

A second implementation of a deployed network's equations, for whole batches and with its own
event counts. Weighted sums are computed in float64, exact because every partial sum is an integer
below 2^53 (checked from the weights and the largest message); the rest is int64 with explicit
wrapping to int32.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeport.errors import UnsupportedError
from spikeport.network import (
    LOIHI,
    DeployedNetwork,
    Population,
    ReadoutKind,
    Shape,
    WeightedConnection,
    largest_sum,
    require_lif_populations,
    require_loihi,
)
from spikeport.runs import (
    RecordSpec,
    Run,
    Samples,
    at_step,
    check_samples,
    record_items,
    sample_count,
    select,
)
from spikeport.simulators.results import empty_trace, keep
from spikeport.trainer.chip.sums import weighted_sum
from spikeport.trainer.measure.events import FanOut, Tally, fan_out, message_counts
from spikeport.trainer.neurons.integer import charge, fire, wrap
from spikeport.version import __version__

BATCH = 256
EXACT = 2**53
WHERE = "in torch"


@torch.no_grad()
def evaluate_deployed(network: DeployedNetwork, samples: Samples, record: RecordSpec = ()) -> Run:
    """Run a deployed network on integer samples; the result equals the simulators bit for bit.

    Args:
        samples: per input (B, *shape), presented at every step, or (T, B, *shape).
        record: which of "spikes", "u" and "v" to keep in `Run.trace`, or `Probe`s.

    Raises:
        InputError: samples do not fit the network, `record` contains an unknown name, a population
            does not consist of LIF neurons, or a weighted sum could exceed the exact range of
            float64.
    """
    record = record_items(record)
    require_loihi(network, "evaluate_deployed")
    require_lif_populations(network.populations, WHERE)
    arrays = check_samples(network.inputs, network.steps, samples)
    count = sample_count(network.inputs, arrays)
    trace = empty_trace(network, count, record)
    started = time.perf_counter()
    links = {c.name: _link(network, c) for c in network.weighted_connections}
    tally = Tally()
    fired = {p.name: torch.zeros((count, *p.shape), dtype=torch.int64) for p in network.populations}
    charge = {name: torch.zeros_like(zero) for name, zero in fired.items()}
    for first in range(0, count, BATCH):
        batch = slice(first, first + BATCH)
        steps = _steps(network, select(network.inputs, arrays, batch), links, tally)
        for step, states in enumerate(steps):
            for name, state in states.items():
                fired[name][batch] += state.spikes
                charge[name][batch] = state.v
                spikes, u, v = (x.numpy() for x in (state.spikes, state.u, state.v))
                keep(trace, name, (step, batch), spikes=spikes, u=u, v=v)
    return Run(
        backend="trainer-integer",
        version=f"{__version__} (torch {torch.__version__})",
        network_hash=network.content_hash,
        samples=count,
        steps=network.steps,
        scores={
            r.population: (fired if r.kind is ReadoutKind.SPIKES else charge)[r.population]
            .flatten(1)
            .numpy()
            for r in network.readouts
        },
        spike_counts={name: total.sum(0).numpy() for name, total in fired.items()},
        counts=tally.counts(
            count,
            network.steps,
            {part.name: part.size for part in network.populations},
            [part.name for part in network.inputs],
            [part.name for part in network.weighted_connections],
        ),
        trace=trace if record else None,
        wall_s=time.perf_counter() - started,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Link:
    """Float64 weights of a connection, and the fan-out of its source."""

    connection: WeightedConnection
    weight: Tensor
    reached: FanOut


@dataclass(frozen=True, slots=True)
class _State:
    """Spikes, u, v and remaining refractory steps after a step, int64 within int32, (B, *shape)."""

    spikes: Tensor
    u: Tensor
    v: Tensor
    rest: Tensor


def _link(network: DeployedNetwork, connection: WeightedConnection) -> _Link:
    weight = torch.tensor(connection.weight, dtype=torch.float64)
    source = network.sources[connection.source]
    low, high = network.message_range(connection.source)
    largest = max(-low, high)
    bound = largest_sum(connection, -largest, largest)
    if bound >= EXACT:
        raise UnsupportedError(
            f"connection '{connection.name}': a weighted sum could reach {bound:.3g}, "
            "must stay below 2^53 to be exact in float64"
        )
    reached = FanOut(
        fan_out(partial(weighted_sum, connection, (weight != 0).double()), source.shape),
        fan_out(partial(weighted_sum, connection, torch.ones_like(weight)), source.shape),
    )
    return _Link(connection, weight, reached)


def _current(link: _Link, messages: Tensor, target: Shape) -> Tensor:
    """Input of the target neurons, (B, *target): the sum wraps, then the exponent is applied."""
    total = weighted_sum(link.connection, link.weight, messages.double()).to(torch.int64)
    if link.connection.wraps:
        total = wrap(total, LOIHI.state_bits)
    exponent = link.connection.exponent
    total = wrap(total, 32)
    shifted = total << exponent if exponent >= 0 else total >> -exponent
    return wrap(shifted, 32).view(-1, *target)


def _steps(
    network: DeployedNetwork,
    arrays: dict[str, NDArray[Any]],
    links: dict[str, _Link],
    tally: Tally,
) -> Iterator[dict[str, _State]]:
    """Yield the state of every population after each step of one batch, counting its events."""
    size = sample_count(network.inputs, arrays)
    populations = {part.name: part for part in require_lif_populations(network.populations, WHERE)}
    states = {name: _rest(part, size) for name, part in populations.items()}
    inputs = {part.name: part for part in network.inputs}
    sent: dict[str, list[Tensor]] = {name: [] for name in network.sources}
    for step in range(network.steps):
        for part in network.inputs:
            values = torch.tensor(at_step(part, arrays[part.name], step), dtype=torch.int64)
            sent[part.name].append(values)
            tally.input_events[part.name] += int(message_counts(values, part).sum())
        for name in network.order:
            population, before = populations[name], states[name]
            received = torch.zeros_like(before.v)
            mantissa = torch.tensor(population.bias, dtype=torch.int64).expand_as(received)
            for injection in network.injections_into(name):
                mantissa = mantissa + sent[injection.source][step]
            for connection in network.weighted_into(name):
                if step >= connection.delay:
                    link = links[connection.name]
                    messages = sent[connection.source][step - connection.delay]
                    source = inputs.get(connection.source)
                    tally.deliver(connection.name, messages, link.reached, source=source)
                    received = wrap(received + _current(link, messages, population.shape), 32)
            bias = wrap(mantissa << population.bias_exponent, 32)
            active = (before.u != 0) | (before.v != 0) | (received != 0) | (bias != 0)
            tally.updates[name] += int(active.sum())
            states[name] = _neuron_step(population, before, received, bias)
            tally.spikes[name] += int(states[name].spikes.sum())
            sent[name].append(states[name].spikes)
        yield dict(states)


def _rest(population: Population, size: int) -> _State:
    zero = torch.zeros((size, *population.shape), dtype=torch.int64)
    return _State(zero, zero, torch.full_like(zero, population.v_init), zero)


def _neuron_step(population: Population, before: _State, received: Tensor, bias: Tensor) -> _State:
    """Spikes and state after one step."""
    u, charged = charge(population, before.u, before.v, received, bias)
    awake = before.rest == 0
    fired, v = fire(population, charged)
    spikes = fired & awake
    rest = (before.rest - 1).clamp(min=0).masked_fill(spikes, population.refractory)
    return _State(spikes.long(), u, v.where(awake, before.v), rest)
