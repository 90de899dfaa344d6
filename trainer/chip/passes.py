"""The passes of a `QATNetwork`: spikes in exact integers, rates on the values they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spikeport.errors import InputError
from spikeport.network import Population, WeightedConnection
from spikeport.network import fixed_point as fx
from spikeport.trainer.chip.neurons import ChipSteps, run_population
from spikeport.trainer.chip.sums import weighted
from spikeport.trainer.measure.connections import weighted_sum
from spikeport.trainer.network import PassRecord
from spikeport.trainer.network.layers import with_value
from spikeport.trainer.neurons import rate_rule

if TYPE_CHECKING:
    from spikeport.trainer.chip.network import QATNetwork

EXACT_FLOAT32 = 2**24
"""Below this every whole number, and so every partial sum of them, is exact in float32."""
EXACT_FLOAT64 = 2**53
WRAP = 2**23
"""Sums of a connection that `wraps` do so here."""


@dataclass(frozen=True, slots=True, eq=False)
class Integers:
    """What the chip holds.

    Attributes:
        weights: by connection, int16.
        reach: by connection, the largest sum of |W| over the weights into one neuron.
        biases: mantissas and their exponent by population.
    """

    weights: Mapping[str, Tensor]
    reach: Mapping[str, int]
    biases: Mapping[str, tuple[Tensor, int]]


StepObserver = Callable[[str, ChipSteps], None]
"""Told what each population did, in the order of computation."""


@torch.no_grad()
def spiking_pass(
    network: QATNetwork,
    whole: Integers,
    messages: Tensor,
    watch: StepObserver = lambda name, ran: None,
) -> PassRecord:
    """Run the chip on messages (1 or T, B, *shape); everything is exact.

    Raises:
        InputError: a weighted sum could leave the range in which it is exact.
    """
    template, sent = network.template, {network.input.name: messages}
    rates, gains, updates = {}, {}, {}
    scores: Tensor | None = None
    with torch.autocast(messages.device.type, enabled=False):
        for name in template.order:
            part = template.by_name[name]
            current = _current(network, part, whole, sent)
            mantissa, exponent = whole.biases[name]
            bias = (mantissa * 2**exponent).expand(part.shape)
            ran = run_population(part, bias, current, template.steps)
            updates[name] = ran.updates
            watch(name, ran)
            if name == network.output and network.reads_membrane:
                scores = (ran.last.double() * _score_unit(network, part)).flatten(1).float()
                continue
            sent[name], rates[name], gains[name] = ran.spikes, ran.rate, ran.gain
    scores = rates[network.output].flatten(1) if scores is None else scores
    return PassRecord(scores, rates, gains, {}, {}, {}, updates)


def rate_pass(
    network: QATNetwork, whole: Integers, messages: Tensor, record: PassRecord
) -> tuple[Tensor, PassRecord]:
    """The chip's scores (B, N), differentiable in the masters, and the record with such rates."""
    scores, rates = rate_scores(network, whole, messages, record)
    return with_value(scores, record.scores), replace(record, rates=rates)


def rate_scores(
    network: QATNetwork, whole: Integers, messages: Tensor, record: PassRecord
) -> tuple[Tensor, dict[str, Tensor]]:
    """Scores (B, N) and rates (B, *shape) of one pass on mean messages, differentiable.

    c = W r + b with the values that the integers stand for, neurons by the rate rule. The scores
    equal the chip's but for rounding in floats, unless a readout is leaky or saturates.
    """
    template = network.template
    sent = {network.input.name: messages.mean(0) / network.input.scale}
    rates: dict[str, Tensor] = {}
    for name in template.order:
        part = template.by_name[name]
        mantissa, exponent = whole.biases[name]
        value = mantissa * (2**exponent / (part.scale * (1 << fx.ACTIVATION_SHIFT)))
        total = with_value(network.biases[name], value)
        for connection in network.incoming(name):
            value = whole.weights[connection.name] * network.grids[connection.name].unit
            weight = with_value(network.weights[connection.name], value)
            total = total + weighted_sum(connection, weight, sent[connection.source]).view(
                -1, *part.shape
            )
        if name == network.output and network.reads_membrane:
            kept = 1 - part.decay_v / fx.DECAY_UNITY
            steps = 1 if network.counts_per_step else sum(kept**k for k in range(template.steps))
            return (total * steps).flatten(1), rates
        sent[name] = rates[name] = rate_rule(total, record.rates[name], record.gains[name])
    return rates[network.output].flatten(1), rates


def _score_unit(network: QATNetwork, part: Population) -> float:
    """Float units of the score per unit of the readout's v."""
    steps = network.steps if network.counts_per_step else 1
    return 1 / (part.scale * (1 << fx.ACTIVATION_SHIFT) * steps)


def _current(
    network: QATNetwork, part: Population, whole: Integers, sent: Mapping[str, Tensor]
) -> Tensor:
    """Summed weights that a population receives, (T or 1, B, *shape), whole numbers."""
    connections = network.incoming(part.name)
    bounds = [
        _bound(network, connection, whole.reach[connection.name]) for connection in connections
    ]
    for connection, bound in zip(connections, bounds, strict=True):
        limit = WRAP if connection.wraps else EXACT_FLOAT64
        if bound >= limit:
            raise InputError(
                f"connection '{connection.name}': a weighted sum could reach {bound:.3g}, "
                f"must stay below {limit} to be exact"
            )
    device = next(iter(sent.values())).device
    # other devices choose among algorithms that round, such as Winograd's
    single = sum(bounds) < EXACT_FLOAT32 and device.type == "cpu"
    kind = torch.float32 if single else torch.float64
    total: Tensor | None = None
    for connection in connections:
        grid, weight = network.grids[connection.name], whole.weights[connection.name]
        got = weighted(connection, grid, weight, sent[connection.source], kind)
        got = got.view(*got.shape[:2], *part.shape)
        total = got if total is None else total + got
    if total is None:  # bias alone drives it
        total = torch.zeros((1, next(iter(sent.values())).shape[1], *part.shape), device=device)
    return total


def _bound(network: QATNetwork, connection: WeightedConnection, reach: int) -> int:
    """What no weighted sum of a connection exceeds in magnitude."""
    low, high = network.template.message_range(connection.source)
    area = 1 if connection.pool is None else connection.pool.area
    return max(-low, high) * area * reach
