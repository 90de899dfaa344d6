"""Published methods of estimating energy, by name, on the events of a run.

`methods.toml` states the constants of each with their source and how they were confirmed. A method
has a formula of its own:

- lemaire: operations, addressing and memory accesses (`spikeport.energy.lemaire`);
- operations: an accumulation per synaptic event on a non-zero weight, a multiply-accumulate per
  event of a graded input, nothing else;
- rates: mean activity of a source times all connections of the layer, borders of convolutions
  included, and every neuron in every step.

Nothing here uses the prices of a hardware profile. Energies in pJ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from spikeport.energy.lemaire import Lemaire, leaks
from spikeport.errors import UnknownNameError
from spikeport.hardware import Source, read_sources, source_of
from spikeport.network import DeployedNetwork
from spikeport.runs import EventCounts
from spikeport.storage import nearest, parse_toml, read_text
from spikeport.storage.toml_table import Table
from spikeport.text import quoted

FILE = Path(__file__).parent / "methods.toml"
Charges = Iterator[tuple[str, str, float, float]]
"""(term, connection or population, events, pJ)."""


@dataclass(frozen=True, slots=True)
class Operations:
    """Accumulations and multiply-accumulates, and nothing else."""

    accumulate_pj: float
    multiply_accumulate_pj: float

    def charges(self, network: DeployedNetwork, counts: EventCounts) -> Charges:
        """The events of each connection."""
        graded = {part.name for part in network.inputs if part.graded}
        for part in network.weighted_connections:
            events = counts.synaptic_events[part.name]
            if part.source in graded:
                yield (
                    "multiply-accumulates",
                    part.name,
                    events,
                    events * self.multiply_accumulate_pj,
                )
            else:
                yield "accumulations", part.name, events, events * self.accumulate_pj


@dataclass(frozen=True, slots=True)
class Rates:
    """Mean activity times connections, and neurons times steps, as in KerasSpiking."""

    synop_pj: float
    neuron_pj: float

    def charges(self, network: DeployedNetwork, counts: EventCounts) -> Charges:
        """Synaptic operations of each connection, updates of each population."""
        for part in network.weighted_connections:
            size, target = network.sources[part.source].size, network.by_name[part.target].size
            synops = counts.messages[part.name] * part.macs(target) / size
            yield "synaptic operations", part.name, synops, synops * self.synop_pj
        for name, visits in counts.visits.items():
            yield "neurons", name, visits, visits * self.neuron_pj


FORMULAS: Mapping[str, type[Lemaire | Operations | Rates]] = {
    "lemaire": Lemaire,
    "operations": Operations,
    "rates": Rates,
}
METHOD_KEYS = ("title", "formula", "source", "certainty")


@dataclass(frozen=True, slots=True)
class Method:
    """A published method.

    Attributes:
        certainty: how its formula and constants were confirmed.
    """

    name: str
    title: str
    formula: Lemaire | Operations | Rates
    source: Source
    certainty: str


@dataclass(frozen=True, slots=True)
class MethodTerm:
    """One summand: its events, and its energy in pJ, by connection or population."""

    name: str
    events: float
    by_part: Mapping[str, float]

    @property
    def energy(self) -> float:
        """Sum over the parts, pJ."""
        return sum(self.by_part.values())


@dataclass(frozen=True, slots=True)
class MethodEstimate:
    """What a method gives for a whole run of `samples` samples; energies in pJ.

    Attributes:
        notes: where the network is beyond what the method covers.
    """

    method: Method
    samples: int
    terms: tuple[MethodTerm, ...]
    notes: tuple[str, ...]

    @property
    def total(self) -> float:
        """Sum of all terms."""
        return sum(term.energy for term in self.terms)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        method, source = self.method, self.method.source
        return {
            "method": method.name,
            "title": method.title,
            "unit": "pJ, an estimate, for all samples together",
            "samples": self.samples,
            "total": self.total,
            "total_per_sample": self.total / self.samples,
            "terms": [
                {
                    "name": term.name,
                    "events": term.events,
                    "energy": term.energy,
                    "by_part": dict(term.by_part),
                }
                for term in self.terms
            ],
            "notes": list(self.notes),
            "source": source.citation,
            "url": source.url,
            "basis": str(source.basis),
            "conditions": source.conditions,
            "certainty": method.certainty,
        }


@cache
def builtin_methods() -> Mapping[str, Method]:
    """The methods that come with Spikeport, by name."""
    top = Table(parse_toml(read_text(FILE), "methods"), "methods", ("sources", "methods"))
    sources = read_sources(top.table("sources"))
    listed = top.table("methods")
    return {name: _method(name, listed, sources) for name in listed}


def method_named(name: str) -> Method:
    """The method of a name.

    Raises:
        InputError: there is none.
    """
    known = builtin_methods()
    if name not in known:
        raise UnknownNameError(
            f"energy: method {quoted(name)} is unknown{nearest(name, known)}; there are "
            f"{', '.join(known)}"
        )
    return known[name]


def estimate_by_method(
    network: DeployedNetwork, counts: EventCounts, method: str
) -> MethodEstimate:
    """Estimate the energy of a run by a published method.

    Args:
        counts: of a run of the network.
        method: one of `builtin_methods`.

    Raises:
        InputError: there is no such method.
    """
    chosen = method_named(method)
    events: dict[str, float] = {}
    energies: dict[str, dict[str, float]] = {}
    for term, part, number, energy in chosen.formula.charges(network, counts):
        events[term] = events.get(term, 0) + number
        parts = energies.setdefault(term, {})
        parts[part] = parts.get(part, 0.0) + energy
    terms = tuple(MethodTerm(term, events[term], parts) for term, parts in energies.items())
    return MethodEstimate(chosen, counts.samples, terms, tuple(_notes(chosen, network)))


def _notes(method: Method, network: DeployedNetwork) -> Iterator[str]:
    """Where the network is beyond what the method covers."""
    for part in network.inputs:
        if part.digits > 1:
            yield f"Input '{part.name}' sends binary digits: each is counted as a spike."
    if isinstance(method.formula, Rates):
        yield from _rate_notes(network)
    if not isinstance(method.formula, Lemaire):
        return
    for part in network.inputs:
        if part.graded:
            yield f"Input '{part.name}' is graded: its values are multiplied in every step."
    for one in network.weighted_connections:
        if one.pool is not None:
            yield f"The sum-pool of '{one.name}' costs nothing; its spikes are counted before it."
        if one.storage == "sparse":
            yield f"'{one.name}' is sparse: each stored synapse is one weight, without its index."
    for population in network.populations:
        if leaks(population, network) and getattr(population, "decay_u", 0) < (
            network.arithmetic.decay_unity
        ):
            yield f"'{population.name}' has a synaptic current, a second state: counted once."


def _rate_notes(network: DeployedNetwork) -> Iterator[str]:
    for part in network.inputs:
        if part.graded:
            yield f"Input '{part.name}' is graded: a value that is not 0 is counted as a spike."
    for one in network.weighted_connections:
        if one.pool is not None:
            yield (
                f"The mean rate before the sum-pool of '{one.name}' is taken for its sums, as for "
                "an average pool; each spike reaches the weights behind it."
            )


def _method(name: str, listed: Table, sources: Mapping[str, Source]) -> Method:
    kind = FORMULAS[listed.table(name).take("formula", str)]
    constants = [field.name for field in fields(kind)]
    table = listed.table(name, (*METHOD_KEYS, *constants))
    return Method(
        name,
        table.take("title", str),
        kind(**{key: table.number(key) for key in constants}),
        source_of(table, sources),
        table.take("certainty", str),
    )
