"""Computing time of a run from its event counts and a profile's times.

    t = steps (barrier) + work of the slowest core

Messages take time at the source of a connection, once for each core that they are sent to, and at
their target; all other events take time where they are counted. Inputs occupy no core, so that
sending their messages takes no time.

With a `Placement`, the work of each core follows from its shares of the populations. Without one,
the work n_p of a population is spread over the cores that its neurons or its weights fill, and the
work of a step is: low, the sum of all n_p spread evenly over the chip; nominal, that of the slowest
population with all others in parallel, on cores with as many neurons as in a metered run
(`HardwareProfile.neurons_on_core`) if that is known; high, one population after another, on cores
filled to their limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spikeport.energy.dynamic import events_of
from spikeport.energy.interval import ZERO, Interval
from spikeport.energy.placement import Placement
from spikeport.energy.prices import HardwareProfile
from spikeport.energy.terms import MAC, TERMS, EnergyTerm, EventKind, EventScope
from spikeport.energy.topology import Topology, topology_of
from spikeport.network import DeployedNetwork
from spikeport.runs import EventCounts


@dataclass(frozen=True, slots=True)
class Cores:
    """Cores and chips that a network takes.

    Attributes:
        by_population: cores per population; without a placement as the module docstring says.
        slowest: populations on the core whose work decides, at the nominal level.
    """

    by_population: Mapping[str, int]
    chips: int
    slowest: tuple[str, ...] = ()


def filled_cores(
    topology: Topology, counts: EventCounts, profile: HardwareProfile, neurons: float
) -> dict[str, int]:
    """Cores that each population fills with `neurons` per core, or with its weights."""
    bits = dict.fromkeys(counts.visits, 0)
    for connection in topology.connections.values():
        bits[connection.target] += connection.weight_bits
    runs = counts.samples * counts.steps
    cores = {}
    for name, visits in counts.visits.items():
        by_neurons = math.ceil(visits / runs / neurons)
        memory = profile.synapse_bits_per_core
        cores[name] = max(by_neurons, math.ceil(bits[name] / memory) if memory else 0)
    return cores


def computing_time(
    topology: Topology,
    counts: EventCounts,
    profile: HardwareProfile,
    table: Sequence[EnergyTerm],
    placement: Placement | None,
) -> tuple[Interval, Cores]:
    """Time of the whole run in ns, and the cores that it was computed for."""
    busy = _busy(topology, counts, profile, table, placement)
    barriers = _spent(profile, "barrier", Interval.same(counts.steps * counts.samples))
    if placement is not None:
        found = {name: placement.cores_of(name) for name in busy}
        return _placed(busy, placement, barriers, Cores(found, placement.chips))
    full = filled_cores(topology, counts, profile, profile.neurons_per_core)
    metered = profile.neurons_on_core
    usual = filled_cores(topology, counts, profile, metered.value) if metered else full
    chips = math.ceil(sum(full.values()) / profile.cores)
    spread = {name: busy[name].nominal / usual[name] for name in busy}
    slowest = max(spread, key=spread.__getitem__)
    work = Interval(
        low=sum(each.low for each in busy.values()) / (profile.cores * chips),
        nominal=spread[slowest],
        high=sum(each.high / full[name] for name, each in busy.items()),
    )
    return work + barriers, Cores(usual, chips, (slowest,))


def population_work(
    network: DeployedNetwork, counts: EventCounts, profile: HardwareProfile
) -> dict[str, float]:
    """Nominal time in ns that each population would take on one core, in the whole run.

    This is what `spikeport.map_network` divides among cores. A message counts as one packet.

    Raises:
        InputError: the counts are not those of a run of the network.
    """
    topology = topology_of(network)
    topology.check(counts)
    busy = _busy(topology, counts, profile, TERMS, None)
    return {name: time.nominal for name, time in busy.items()}


def untimed(topology: Topology, profile: HardwareProfile, table: Sequence[EnergyTerm]) -> list[str]:
    """What takes time, but has no time in the profile."""
    if not profile.time_ns:
        return ["time"]
    stored = {connection.kind for connection in topology.connections.values()}
    taking = {
        term.price: term.title
        for term in table
        if term.timed and (term.storage is None or term.storage in stored)
    }
    taking |= {"receive": "receiving messages", "barrier": "barrier synchronisation"}
    return [f"time of {what}" for key, what in taking.items() if key not in profile.time_ns]


def _placed(
    busy: Mapping[str, Interval], placement: Placement, barriers: Interval, cores: Cores
) -> tuple[Interval, Cores]:
    work, slowest, longest = ZERO, cores.slowest, -1.0
    for core in placement.cores:
        each = sum((busy[name] * share for name, share in core.items()), ZERO)
        if each.nominal > longest:
            longest, slowest = each.nominal, tuple(name for name, share in core.items() if share)
        work = work.largest(each)
    return work + barriers, Cores(cores.by_population, cores.chips, slowest)


def _busy(
    topology: Topology,
    counts: EventCounts,
    profile: HardwareProfile,
    table: Sequence[EnergyTerm],
    placement: Placement | None,
) -> dict[str, Interval]:
    """Work of each population in ns, as if on one core."""
    busy = dict.fromkeys(counts.visits, ZERO)
    packets = placement.packets if placement else {}
    for term in table:
        events = events_of(term, topology, counts, profile)
        if term.events.scope is EventScope.POPULATION:
            for name, number in events.items():
                busy[name] += _spent(profile, term.price, number)
        elif term.events is EventKind.MESSAGES:
            for name, number in events.items():
                if (source := topology.connections[name].source) in busy:
                    busy[source] += _spent(profile, term.price, number * packets.get(name, 1.0))
        elif term.events.scope is EventScope.CONNECTION:
            for name, number in events.items():
                connection = topology.connections[name]
                graded = connection.source in topology.graded_inputs
                key = MAC if graded and MAC in profile.time_ns else term.price
                busy[connection.target] += _spent(profile, key, number)
    for name, connection in topology.connections.items():
        received = Interval.same(counts.messages[name] * packets.get(name, 1.0))
        busy[connection.target] += _spent(profile, "receive", received)
    return busy


def _spent(profile: HardwareProfile, key: str, number: Interval) -> Interval:
    price = profile.time_ns.get(key)
    return number * price.interval if price else ZERO
