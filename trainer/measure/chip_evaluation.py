"""Run and measure a network in chip arithmetic as in training: `evaluate_chip`."""

from __future__ import annotations

import time
from collections import defaultdict
from functools import partial

import torch
from torch import Tensor

from spikeport.network import Shape, WeightedConnection
from spikeport.runs import (
    RecordSpec,
    Run,
    Samples,
    Trace,
    check_float_samples,
    check_names,
    sample_count,
    select,
)
from spikeport.simulators.results import assembled_run
from spikeport.trainer.chip import QATNetwork
from spikeport.trainer.chip.connections import torch_kind
from spikeport.trainer.chip.network import spiking_pass
from spikeport.trainer.chip.neurons import ChipSteps
from spikeport.trainer.chip.sums import weighted_sum
from spikeport.trainer.measure.events import FanOut, Tally, fan_out, message_counts

BATCH = 256


def fan_outs(network: QATNetwork) -> dict[str, FanOut]:
    """Synapses reached by each source neuron, per connection, for the current integer weights."""
    weights, sources = network.integers().weights, network.template.sources
    return {
        part.name: synapses_reached(part, sources[part.source].shape, weights[part.name])
        for part in network.template.weighted_connections
    }


@torch.no_grad()
def evaluate_chip(network: QATNetwork, samples: Samples, record: RecordSpec = ()) -> Run:
    """Run the spiking pass of training in chip arithmetic, and count its events.

    The result equals a simulation of `network.deployed()`, integer for integer.

    Args:
        samples: float units, (B, *shape) presented at every step, or (T, B, *shape).
        record: may contain "spikes", to be kept in `Run.trace`.

    Raises:
        InputError: samples do not fit the network, or `record` contains another name.
    """
    record = check_names(record, ("spikes",))
    deployed, whole, reached = network.deployed(), network.integers(), fan_outs(network)
    arrays = check_float_samples(deployed.inputs, network.steps, samples)
    count = sample_count(deployed.inputs, arrays)
    started, tally = time.perf_counter(), Tally()
    fired = {part.name: torch.zeros(part.shape, dtype=torch.int64) for part in deployed.populations}
    last, kept = [], defaultdict(list)

    sent_by = {part.name: part for part in deployed.inputs}

    def deliver(source: str, values: Tensor, repeats: int = 1) -> None:
        for connection in deployed.weighted_connections:
            if connection.source == source:
                link = reached[connection.name]
                tally.deliver(connection.name, values, link, repeats, sent_by.get(source))

    def watch(name: str, ran: ChipSteps) -> None:
        tally.updates[name] += ran.updates
        tally.spikes[name] += int(ran.spikes.sum())
        fired[name] += (ran.spikes != 0).sum((0, 1))
        deliver(name, ran.spikes)
        if name == network.output:
            last.append(ran.last if network.reads_membrane else ran.spikes.sum(0).to(torch.int64))
        if record:
            kept[name].append(ran.spikes.to(torch.uint8))

    for first in range(0, count, BATCH):
        chosen = select(deployed.inputs, arrays, slice(first, first + BATCH))[network.input.name]
        messages = network.messages(torch.tensor(chosen, dtype=torch.float32))
        repeats = network.steps // len(messages)
        sent = int(message_counts(messages, network.input).sum()) * repeats
        tally.input_events[network.input.name] += sent
        deliver(network.input.name, messages, repeats)
        spiking_pass(network, whole, messages, watch)
    return assembled_run(
        "trainer-chip",
        deployed,
        scores={network.output: torch.cat(last).flatten(1).to(torch.int64).numpy()},
        fired={name: total.numpy() for name, total in fired.items()},
        counts=tally.counts(
            count,
            network.steps,
            {part.name: part.size for part in deployed.populations},
            [network.input.name],
            [connection.name for connection in deployed.weighted_connections],
        ),
        trace=Trace({k: torch.cat(v, 1).numpy() for k, v in kept.items()}) if record else None,
        wall_s=time.perf_counter() - started,
    )


def synapses_reached(connection: WeightedConnection, source: Shape, weight: Tensor) -> FanOut:
    """Fan-out of a connection with these weights, from as few outputs as possible.

    Only the sum of the outputs matters.
    """
    merged = torch_kind(connection).merged
    masks = weight != 0, torch.ones_like(weight, dtype=torch.bool)
    return FanOut(
        *(
            fan_out(
                partial(weighted_sum, connection, merged(connection, mask)), source, mask.device
            )
            for mask in masks
        )
    )
