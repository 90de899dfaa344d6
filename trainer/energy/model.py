"""Dynamic energy as a differentiable function of firing rates: `EnergyModel`.

Events are linear in the rates, so energy is too. Per sample, at a profile's nominal prices, with r
the messages per step of neuron i of source s, N neurons and U updates of population p:

    E = T sum_si r_si c_si + sum_p (e_visit T N_p + e_update U_p)
    c_si = e_fire + sum over connections (e_syn fan-out_i + e_packet + hops e_hop)

with the terms of `TERMS`. For an input there is no e_fire. Fan-outs are those charged at the
nominal level for each storage format (`HardwareProfile.charged`), so they change when weights
become zero. The result equals `estimate_energy(...).dynamic.nominal / samples` for counts that
follow from the same rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spikeport.energy import TERMS, EnergyTerm, EventKind, EventScope, HardwareProfile, Topology
from spikeport.errors import EnergyError
from spikeport.network import Shape
from spikeport.trainer.measure.events import Delivery

PJ_PER_UJ = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class EnergyModel:
    """Prices of the events of one network on one chip; called with rates.

    Attributes:
        steps: T.
        message_pj: c by source, float64 of the source's shape, or a single value if the neurons
            reach no synapses.
        inputs: the sources that are inputs.
        sizes: neurons per population.
        visit_pj, update_pj: prices per neuron and step.
    """

    steps: int
    message_pj: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    sizes: Mapping[str, int]
    visit_pj: float
    update_pj: float

    def __call__(
        self, rates: Mapping[str, Tensor], updates: Mapping[str, int] | None = None
    ) -> Tensor:
        """Mean dynamic energy per sample, µJ, a float64 scalar that is differentiable in rates.

        Args:
            rates: by source, messages per neuron and step, (B, *shape): spikes, or the share of
                non-zero values (`message_rate`). Populations that reach no synapses may be omitted
                if they do not spike, such as a membrane readout.
            updates: neuron-steps over all B samples, by population; where none is given, all
                T N B visits count, which is exact if every neuron has a bias.

        Raises:
            InputError: a source that reaches synapses has no rate.
        """
        for name, cost in self.message_pj.items():
            if cost.ndim and name not in rates:
                raise EnergyError(f"energy: source '{name}' has no rate")
        sending = [name for name in self.message_pj if name in rates]
        return self._total_uj(rates, sending, updates or {})

    def silent_uj(
        self, rates: Mapping[str, Tensor], updates: Mapping[str, int] | None = None
    ) -> Tensor:
        """The same if no neuron spiked: messages of inputs, visits and updates."""
        return self._total_uj(rates, self.inputs, updates or {})

    @property
    def ceiling_uj(self) -> float:
        """Energy per sample if every neuron sent a message at every step."""
        sent = sum(
            float(cost.sum()) * (1 if cost.ndim else self.sizes[name])
            for name, cost in self.message_pj.items()
        )
        return (self.steps * sent + self._neurons_pj(1, {})) / PJ_PER_UJ

    def _total_uj(
        self, rates: Mapping[str, Tensor], sources: Iterable[str], updates: Mapping[str, int]
    ) -> Tensor:
        spent, samples = torch.zeros((), dtype=torch.float64), 1
        for name in sources:
            rate = rates[name]
            samples = len(rate)
            cost = self.message_pj[name].to(rate.device)
            spent = spent.to(rate.device) + (rate.sum(0, dtype=torch.float64) * cost).sum()
        return (self.steps * spent / samples + self._neurons_pj(samples, updates)) / PJ_PER_UJ

    def _neurons_pj(self, samples: int, updates: Mapping[str, int]) -> float:
        """Energy of visits and updates, per sample."""
        visits = {name: self.steps * size for name, size in self.sizes.items()}
        updated = sum(updates.get(name, samples * visits[name]) for name in visits)
        return self.visit_pj * sum(visits.values()) + self.update_pj * updated / samples


def energy_model(
    wired_topology: Topology,
    deliveries: Iterable[Delivery],
    inputs: Mapping[str, Shape],
    populations: Mapping[str, Shape],
    steps: int,
    profile: HardwareProfile,
    table: Sequence[EnergyTerm] = TERMS,
) -> EnergyModel:
    """Build the energy model of a network with T = `steps`.

    Args:
        deliveries: every source of every connection, with fan-outs.
        inputs, populations: shapes by name; populations that never spike belong here too.
        table: the terms to add up.

    Raises:
        InputError: a connection has no deliveries, or a delivery no connection or source.
    """
    found = {term: profile.pj_per_event(term) for term in table}
    prices = {term: each.nominal for term, each in found.items() if each is not None}

    def per(kind: EventKind) -> float:
        return sum(each for term, each in prices.items() if term.events is kind)

    costs = {name: torch.tensor(per(EventKind.SPIKES)).double() for name in populations}
    costs |= {
        name: torch.full(shape, per(EventKind.INPUT_EVENTS), dtype=torch.float64)
        for name, shape in inputs.items()
    }
    bare = set(wired_topology.connections)
    for delivery in deliveries:
        name, source = delivery.connection, delivery.source
        if name not in wired_topology.connections or source not in costs:
            raise EnergyError(f"energy: '{source}' to '{name}' is not in the network")
        reached, storage = delivery.reached, wired_topology.connections[name].kind
        synapses = profile.charged(storage, "nominal", reached.nonzero, reached.stored).double()
        cost = torch.zeros_like(synapses)
        graded = source in wired_topology.graded_inputs
        for term in prices:
            if term.events.scope is EventScope.CONNECTION and term.covers(storage):
                each = profile.pj_per_event(term, graded=graded)
                assert each is not None  # `prices` holds priced terms only
                cost += each.nominal * (synapses if term.events is EventKind.SYNAPTIC_EVENTS else 1)
        costs[source] = costs[source].to(cost.device) + cost
        bare.discard(name)
    if bare:
        raise EnergyError(f"energy: connection '{min(bare)}' has no deliveries")
    return EnergyModel(
        steps=steps,
        message_pj=costs,
        inputs=tuple(inputs),
        sizes={name: math.prod(shape) for name, shape in populations.items()},
        visit_pj=per(EventKind.VISITS),
        update_pj=per(EventKind.UPDATES),
    )


def message_rate(x: Tensor, shape: Shape) -> Tensor:
    """Messages per step of an input of `shape`: (B, *shape) for samples (B, ...) or (T, B, ...)."""
    present = (x != 0).to(torch.float32)
    return present.mean(0) if x.ndim > len(shape) + 1 else present
