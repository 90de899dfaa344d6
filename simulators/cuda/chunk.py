"""Run all steps of some samples on a device.

Messages of a source are a tensor (K, B, N) with K = T, or K = 1 for an input that is the same in
every step: bytes for spikes, int32 for values. A population on no cycle receives the currents of
all steps by one product for each connection; the members of a cycle take turns step by step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeport.network import (
    AnyPopulation,
    Coding,
    DeployedNetwork,
    Input,
    PerNeuron,
    ReadoutKind,
)
from spikeport.runs import ResetSchedule, Trace
from spikeport.simulators.components import Component
from spikeport.simulators.cuda.neurons import State, initial_state
from spikeport.simulators.cuda.plan import Plan
from spikeport.simulators.cuda.products import Product


@dataclass(frozen=True, slots=True)
class Job:
    """What all chunks of a run have in common.

    Attributes:
        trace: its arrays are filled; None if nothing is recorded.
        product_bytes: memory for each product.
    """

    network: DeployedNetwork
    plan: Plan
    resets: ResetSchedule | None
    trace: Trace | None
    product_bytes: int


@dataclass(frozen=True, slots=True)
class Results:
    """What is kept of the chunks of a run.

    Attributes:
        scores: per readout population, (B, N) of each chunk.
        arrived: per population and delay, spikes of each neuron (N,) that arrive within T.
        updates: per population.
    """

    scores: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    arrived: dict[tuple[str, int], PerNeuron] = field(default_factory=dict)
    updates: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Record:
    """A recorded state variable of a population.

    Attributes:
        place: of the variable in the state.
        neurons: those to record, None for all.
        values: (T, B, ...), int32.
    """

    place: int
    neurons: Tensor | None
    values: Tensor


@dataclass(slots=True)
class _Member:
    """A population while its component runs.

    Attributes:
        received: currents from outside the component, (T, B, N), or (1, B, N) if constant.
        biases: bias currents, (T or 1, B or 1, N).
        inner: connections within the component.
        sent: its spikes (T, B, N), filled step by step.
        updates: a single number.
    """

    part: AnyPopulation
    state: State
    received: Tensor
    biases: Tensor
    inner: Sequence[Product]
    records: Mapping[str, _Record]
    sent: Tensor
    updates: Tensor


def run_chunk(
    job: Job, arrays: Mapping[str, NDArray[Any]], chosen: slice, results: Results
) -> None:
    """Run the samples `chosen` and add to `results`.

    Args:
        arrays: values of these samples.
    """
    samples = chosen.stop - chosen.start
    sent = {
        part.name: _messages(part, arrays[part.name], job.plan.device)
        for part in job.network.inputs
    }
    for names in job.plan.components:
        members = {name: _member(job, name, names, sent, samples) for name in names}
        sent |= {name: member.sent for name, member in members.items()}
        _run_steps(job, members, sent)
        for member in members.values():
            _keep(job, member, chosen, results)


def _messages(part: Input, values: NDArray[Any], device: torch.device) -> Tensor:
    """Values (T, B, *shape) or (B, *shape) of an input as messages."""
    steps = 1 if values.ndim == 1 + len(part.shape) else len(values)
    narrow = np.uint8 if part.coding is Coding.SPIKES else np.int32
    copied = torch.from_numpy(values.astype(narrow, order="C"))
    return copied.to(device).view(steps, -1, part.size)


def _member(
    job: Job, name: str, component: Component, sent: Mapping[str, Tensor], samples: int
) -> _Member:
    network, plan = job.network, job.plan
    part = network.by_name[name]
    outer: list[Product] = []
    inner: list[Product] = []
    for connection in network.weighted_into(name):
        group = inner if connection.source in component else outer
        group.append(plan.products[connection.name])
    mantissas = plan.bias[name].unsqueeze(0)
    for injection in network.injections_into(name):
        mantissas = mantissas + sent[injection.source]
    shape = (network.steps, samples, part.size)
    return _Member(
        part=part,
        state=initial_state(part, samples, plan.device),
        received=_received(job, outer, sent, shape),
        biases=mantissas << part.bias_exponent,
        inner=inner,
        records=_records(job, part, samples),
        sent=torch.empty(shape, dtype=torch.uint8, device=plan.device),
        updates=torch.zeros((), dtype=torch.int64, device=plan.device),
    )


def _received(
    job: Job,
    products: Iterable[Product],
    sent: Mapping[str, Tensor],
    shape: tuple[int, int, int],
) -> Tensor:
    """Summed input of a population from outside its component, (T, B, N) or (1, B, N).

    Args:
        shape: (T, B, N).
    """
    steps, *rest = shape
    links = [
        (one, sent[one.connection.source], one.connection.delay)
        for one in products
        if one.connection.delay < steps
    ]
    constant = all(len(messages) == 1 and delay == 0 for _, messages, delay in links)
    size = (1 if constant else steps, *rest)
    current = torch.zeros(size, dtype=torch.int32, device=job.plan.device)
    for product, messages, delay in links:
        late = current[delay:]
        if len(messages) == len(current):
            arriving = messages[: len(late)]
            product.add(arriving.flatten(0, 1), late.flatten(0, 1), job.product_bytes)
        else:
            once = torch.zeros_like(current[0])
            product.add(messages[0], once, job.product_bytes)
            late += once
    return current


def _records(job: Job, part: AnyPopulation, samples: int) -> Mapping[str, _Record]:
    found: dict[str, _Record] = {}
    if job.trace is None:
        return found
    for place, variable in enumerate(part.STATE):
        if part.name in job.trace[variable.name]:
            neurons = _chosen(job, variable.name, part.name)
            count = part.size if neurons is None else len(neurons)
            shape = (job.network.steps, samples, count)
            values = torch.empty(shape, dtype=torch.int32, device=job.plan.device)
            found[variable.name] = _Record(place, neurons, values)
    return found


def _chosen(job: Job, variable: str, population: str) -> Tensor | None:
    """Indices of the neurons of which a variable is recorded; None for all."""
    some = None if job.trace is None else job.trace.neurons.get((variable, population))
    return None if some is None else torch.tensor(some.flat, device=job.plan.device)


def _run_steps(job: Job, members: Mapping[str, _Member], sent: Mapping[str, Tensor]) -> None:
    """Run the members of a component, which fills in their spikes."""
    for t in range(job.network.steps):
        if job.resets is not None and job.resets.due(t):
            for member in members.values():
                samples = member.sent.shape[1]
                member.state = initial_state(member.part, samples, job.plan.device)
        for name, member in members.items():
            a = _at(member.received, t)
            if member.inner:
                a = a.clone()
            for product in member.inner:
                source, delay = product.connection.source, product.connection.delay
                if t >= delay:
                    product.add(sent[source][t - delay], a, job.product_bytes)
            step, b = job.plan.steps[name], _at(member.biases, t)
            member.state, spikes, moved = step(member.part, member.state, a, b)
            member.sent[t] = spikes
            member.updates += moved.sum()
            for record in member.records.values():
                now = member.state[record.place]
                record.values[t] = now if record.neurons is None else now[:, record.neurons]


def _at(values: Tensor, t: int) -> Tensor:
    """Values of step t out of those of all steps, or of one that stands for all."""
    return values[min(t, len(values) - 1)]


def _keep(job: Job, member: _Member, chosen: slice, results: Results) -> None:
    """Move the results of a population to the host."""
    part, spikes = member.part, member.sent
    results.updates[part.name] += int(member.updates)
    for delay in {0, *job.plan.delays[part.name]}:
        arrived = spikes[: max(job.network.steps - delay, 0)].sum((0, 1), dtype=torch.int64)
        before = results.arrived.get((part.name, delay), 0)
        results.arrived[part.name, delay] = before + arrived.cpu().numpy()
    for readout in job.network.readouts:
        if readout.population == part.name:
            if readout.kind is ReadoutKind.SPIKES:
                scores = spikes.sum(0, dtype=torch.int64)
            else:
                names = [variable.name for variable in part.STATE]
                scores = member.state[names.index("v")].to(torch.int64)
            results.scores.setdefault(part.name, []).append(scores.cpu().numpy())
    if job.trace is None:
        return
    kept = {variable: record.values for variable, record in member.records.items()}
    if part.name in job.trace.spikes:
        neurons = _chosen(job, "spikes", part.name)
        kept["spikes"] = spikes if neurons is None else spikes[:, :, neurons]
    for variable, values in kept.items():
        room = job.trace[variable][part.name][:, chosen]
        room[...] = values.cpu().numpy().reshape(room.shape)
