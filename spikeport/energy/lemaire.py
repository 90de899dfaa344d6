"""Energy by the formulas of Lemaire et al. (ICONIP 2022, arXiv 2210.13107), term by term.

With S_in spikes that arrive over a connection and S_out spikes of a population of N neurons, in all
T steps and samples (numbers of equations as cited in Qualia's implementation by a co-author):

    synapses per spike    k  = C_out K (convolution with a kernel of K taps), N (dense)
    accumulations         S_in k' + N T + S_out, k' = C_out ceil(KH / stride) ceil(KW / stride) or N
                          (1.4, 2.4, with the reset, and without the factor N_in that is too many)
    multiplications       N T if neurons leak (1.3, 2.3)
    addressing            2 S_in multiply-accumulates and S_in k additions, or S_in N additions
                          (16.2, 16.3, 17.2)
    accesses              S_in inputs (5), S_in k weights (7, 8), N T biases if any, S_out outputs
                          (13), S_in k + N T potentials read and as many written (9, 10, 14, 15)

An access costs base + slope x bits stored in that memory. The published formulas ignore borders and
strides of convolutions in k; exact event counts would be lower. What they do not cover is treated
as follows: a sparse connection has its stored synapses per spike, groups divide C_out, a sum-pool
costs nothing, a neuron with several connections pays N T and S_out once, the values of a graded
input are multiplied in every step, each binary digit of an input is a spike, and a bias that is
injected is read like any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spikeport.network import AnyPopulation, DeployedNetwork, Population, WeightedConnection
from spikeport.runs import EventCounts

OPERATIONS, ADDRESSING = "operations", "addressing"
WEIGHTS, BIASES, POTENTIALS, QUEUES = "weights", "biases", "potentials", "inputs and outputs"


@dataclass(frozen=True, slots=True)
class Lemaire:
    """Constants of the method, in pJ.

    Attributes:
        bits: of a value in a memory.
        queue_values: values that a queue of inputs or outputs holds.
    """

    bits: float
    add_pj: float
    multiply_pj: float
    memory_base_pj: float
    memory_per_bit_pj: float
    queue_values: float

    def access_pj(self, values: float) -> float:
        """Energy of an access to a memory of so many values."""
        return self.memory_base_pj + self.memory_per_bit_pj * self.bits * values

    def charges(
        self, network: DeployedNetwork, counts: EventCounts
    ) -> Iterator[tuple[str, str, float, float]]:
        """(term, part, events, pJ) of each connection and population."""
        for connection in network.weighted_connections:
            yield from self._connection(network, connection, counts)
        for population in network.populations:
            biased = bool(np.any(population.bias) or network.injections_into(population.name))
            yield from self._population(
                population, counts, leaks=leaks(population, network), biased=biased
            )

    def _connection(
        self, network: DeployedNetwork, part: WeightedConnection, counts: EventCounts
    ) -> Iterator[tuple[str, str, float, float]]:
        name, source = part.name, network.sources[part.source]
        arrived = counts.messages[name]
        reached, added = reached_and_added(part, counts)
        mac = self.multiply_pj + self.add_pj
        each = mac if getattr(source, "graded", False) else self.add_pj
        yield OPERATIONS, name, added, added * each
        yield ADDRESSING, name, reached, reached * self.add_pj
        if part.spatial:
            yield ADDRESSING, name, 2 * arrived, 2 * arrived * mac
        yield QUEUES, name, arrived, arrived * self.access_pj(self.queue_values)
        yield WEIGHTS, name, reached, reached * self.access_pj(part.weight.size)
        neurons = network.by_name[part.target].size
        yield POTENTIALS, name, 2 * reached, 2 * reached * self.access_pj(neurons)

    def _population(
        self, part: AnyPopulation, counts: EventCounts, *, leaks: bool, biased: bool
    ) -> Iterator[tuple[str, str, float, float]]:
        name, visits, fired = part.name, counts.visits[part.name], counts.spikes[part.name]
        yield OPERATIONS, name, visits + fired, (visits + fired) * self.add_pj
        if leaks:
            yield OPERATIONS, name, visits, visits * (self.multiply_pj + self.add_pj)
        if biased:
            yield BIASES, name, visits, visits * self.access_pj(part.size)
        yield QUEUES, name, fired, fired * self.access_pj(self.queue_values)
        yield POTENTIALS, name, 2 * visits, 2 * visits * self.access_pj(part.size)


def leaks(part: AnyPopulation, network: DeployedNetwork) -> bool:
    """Whether neurons multiply their state in every step; integrate-and-fire neurons do not."""
    return not (
        isinstance(part, Population)
        and part.decay_v == 0
        and part.decay_u == network.arithmetic.decay_unity
    )


def reached_and_added(part: WeightedConnection, counts: EventCounts) -> tuple[int, int]:
    """Synapses that the messages of a connection reach, and those that the formula adds up."""
    if not part.spatial:
        stored = counts.synaptic_events_all[part.name]
        return stored, stored
    arrived = counts.messages[part.name]
    channels, _, *taps = part.weight.shape
    channels //= getattr(part, "groups", 1)
    strides = np.broadcast_to(getattr(part, "stride", 1), len(taps))
    added = math.prod(math.ceil(n / int(s)) for n, s in zip(taps, strides, strict=True))
    return arrived * channels * math.prod(taps), arrived * channels * added
