"""Energy caused by events: counts times prices, term by term.

An all-in profile prices synaptic events only. It can also state the same metered energy per event
of another kind (`instead_pj`): one metered run fixes the sum of both, not how it is divided. The
low level is then the lower of the two attributions, the high level the higher, and the nominal
level the one by synaptic events; nothing is added.
"""

from __future__ import annotations

from collections.abc import Sequence

from spikeport.energy.interval import LEVELS, ZERO, Interval
from spikeport.energy.placement import Hops, Placement
from spikeport.energy.prices import HardwareProfile
from spikeport.energy.report import Term
from spikeport.energy.terms import MAC, EnergyTerm, EventKind, EventScope
from spikeport.energy.topology import Topology
from spikeport.runs import Counts, EventCounts


def dynamic_terms(
    topology: Topology,
    counts: EventCounts,
    profile: HardwareProfile,
    table: Sequence[EnergyTerm],
    placement: Placement | None,
) -> tuple[list[Term], list[str]]:
    """The terms caused by events, and the names of those without a price in the profile."""
    terms: list[Term] = []
    unpriced: list[str] = []
    stored = {connection.kind for connection in topology.connections.values()}
    for term in table:
        if term.storage is not None and term.storage not in stored:
            continue
        events = events_of(term, topology, counts, profile)
        for graded, part in _by_payload(term, topology, events, apart=MAC in profile.energy_pj):
            title = f"{term.title}, graded (MACs)" if graded else term.title
            key = profile.key(term, graded=graded)
            if key not in profile.energy_pj:
                if title not in unpriced and not profile.all_in:
                    unpriced.append(title)
                continue
            sent, energies = _priced(term, part, profile, placement, graded=graded)
            total = sum(sent.values(), ZERO)
            what = profile.energy_pj[key].what
            terms.append(Term(title, what, total, energies, term.colour, term.regime, term.fixed))
    return _attributed(terms, topology, counts, profile, table), unpriced


def events_of(
    term: EnergyTerm, topology: Topology, counts: EventCounts, profile: HardwareProfile
) -> dict[str, Interval]:
    """Events of a term by part: connections, populations or inputs."""
    counted: Counts = getattr(counts, term.events)
    if term.events.scope is not EventScope.CONNECTION:
        return {name: Interval.same(number) for name, number in counted.items()}
    covered = {n: c.kind for n, c in topology.connections.items() if term.covers(c.kind)}
    if term.events is not EventKind.SYNAPTIC_EVENTS:
        return {name: Interval.same(counted[name]) for name in covered}
    stored = counts.synaptic_events_all
    return {
        name: Interval(
            *(profile.charged(kind, level, counted[name], stored[name]) for level in LEVELS)
        )
        for name, kind in covered.items()
    }


def _by_payload(
    term: EnergyTerm, topology: Topology, events: dict[str, Interval], *, apart: bool
) -> list[tuple[bool, dict[str, Interval]]]:
    """Synaptic events, those of graded inputs apart if multiplications have their own price."""
    if term.events is not EventKind.SYNAPTIC_EVENTS or not apart:
        return [(False, events)]
    graded = {
        name: number
        for name, number in events.items()
        if topology.connections[name].source in topology.graded_inputs
    }
    spikes = {name: number for name, number in events.items() if name not in graded}
    return [(flag, part) for flag, part in ((False, spikes), (True, graded)) if part]


def _priced(
    term: EnergyTerm,
    events: dict[str, Interval],
    profile: HardwareProfile,
    placement: Placement | None,
    *,
    graded: bool,
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Events and energies by part; with a placement, messages are packets that travel hops."""
    price = profile.energy_pj[profile.key(term, graded=graded)].interval
    if placement is None or term.events is not EventKind.MESSAGES:
        each = profile.pj_per_event(term, graded=graded) or ZERO
        return events, {name: number * each for name, number in events.items()}
    east_west, north_south = profile.pj_per_hop(term)
    sent = {name: number * placement.packets.get(name, 1.0) for name, number in events.items()}
    energies = {}
    for name, number in sent.items():
        hops = placement.hops.get(name, Hops())
        way = east_west * hops.east_west + north_south * hops.north_south
        energies[name] = number * (price + way)
    return sent, energies


def _attributed(
    terms: list[Term],
    topology: Topology,
    counts: EventCounts,
    profile: HardwareProfile,
    table: Sequence[EnergyTerm],
) -> list[Term]:
    """With alternatives: at low and high those terms whose sum is least and greatest, else 0."""
    if not profile.instead_pj:
        return terms
    groups = [terms]
    for term in table:
        if (price := profile.instead_pj.get(term.price)) is not None:
            events = events_of(term, topology, counts, profile)
            energies = {name: number * price.interval for name, number in events.items()}
            total = sum(events.values(), ZERO)
            title = f"{term.title}, all-in"
            groups.append(
                [Term(title, price.what, total, energies, term.colour, term.regime, term.fixed)]
            )
    sums = [sum((term.energy for term in group), ZERO) for group in groups]
    low = min(range(len(groups)), key=lambda index: sums[index].low)
    high = max(range(len(groups)), key=lambda index: sums[index].high)
    return [
        term.scaled(Interval(float(index == low), float(index == 0), float(index == high)))
        for index, group in enumerate(groups)
        for term in group
        if index in (0, low, high)
    ]
