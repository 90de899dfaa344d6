"""Energy of a run from its event counts and a hardware profile, always as a range.

    E = e_syn S + e_visit N T + e_update U + e_fire F + (e_packet + hops e_hop) P + P_static t

with S synaptic events, N T neuron visits, U updates, F spikes, P packets (one destination core per
message and connection as long as no mapping is known) and t the computing time of the chip. S
counts the events on non-zero weights, plus those on stored zeros at the levels at which the profile
charges them for that storage format (`HardwareProfile.charged`). Each price has a low, a nominal
and a high value; the report lists terms, sources, assumptions, omissions and warnings. Units: pJ,
ns, mW (1 pJ = 1 mW ns). The dynamic terms are the rows of `TERMS`.

t = (time of one barrier) * steps + work, where n_p, the time that population p needs for its share,
is spread over the ceil(N_p / neurons per core) cores that p fills. Work is: low, the sum of n_p
spread evenly over all cores; nominal, the slowest population with all others in parallel; high, one
population after another. A host in the loop makes real steps longer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from spikeport.energy.interval import LEVELS, ZERO, Interval
from spikeport.energy.profile import HardwareProfile
from spikeport.energy.report import EnergyReport, Term
from spikeport.energy.terms import (
    STATIC_COLOUR,
    STATIC_POWER,
    TERMS,
    EnergyTerm,
    EventKind,
    EventScope,
    SynapseKind,
)
from spikeport.energy.topology import Topology, topology_of
from spikeport.errors import InputError
from spikeport.network import DeployedNetwork, other_arithmetic
from spikeport.runs import Counts, EventCounts


def estimate_energy(
    network: DeployedNetwork | Topology,
    counts: EventCounts,
    profile: HardwareProfile,
    *,
    table: Sequence[EnergyTerm] | None = None,
) -> EnergyReport:
    """Estimate the energy of a run from its event counts.

    Args:
        counts: of a run of the network; those of a float run may be used too if its populations and
            connections have the same names.
        profile: the prices of a chip, each with its source; see `load_profile`.
        table: the terms of dynamic energy; None for those of `spikeport.energy.terms`.

    Returns:
        Energies in pJ for the whole run, as low, nominal and high values.

    Raises:
        InputError: the counts cover no samples or no steps, or their connections and populations
            are not those of the network.
    """
    table = TERMS if table is None else table
    topology = topology_of(network) if isinstance(network, DeployedNetwork) else network
    _check(topology, counts)
    cores = {
        name: math.ceil(visits / (counts.samples * counts.steps) / profile.neurons_per_core)
        for name, visits in counts.visits.items()
    }
    chips = math.ceil(sum(cores.values()) / profile.cores)
    terms, unpriced = _dynamic_terms(topology, counts, profile, table)
    time_ns = _computing_time(topology, counts, profile, cores, chips, table)
    if profile.static_mw is not None:
        static = profile.static_mw.interval * time_ns * chips
        what = profile.static_mw.what
        terms.append(Term(STATIC_POWER, what, None, {"chip": static}, STATIC_COLOUR))
    else:
        unpriced.append(STATIC_POWER)
    unpriced += _untimed(topology, profile, table)
    unpriced += [f"writing of biases by the host ('{name}')" for name in topology.injections]
    mac = profile.int8_mac_pj
    report = EnergyReport(
        profile=profile,
        samples=counts.samples,
        steps=counts.steps,
        chips=chips,
        terms=tuple(terms),
        time_ns=time_ns,
        int8_ann=mac.interval * (topology.macs * counts.samples) if mac and topology.macs else None,
        assumptions=_assumptions(profile, topology),
        unpriced=(*unpriced, *profile.unpriced),
        warnings=(),
    )
    return dataclasses.replace(report, warnings=_warnings(report, topology))


def _check(topology: Topology, counts: EventCounts) -> None:
    if counts.samples < 1 or counts.steps < 1:
        raise InputError(
            f"energy: the counts cover {counts.samples} samples and {counts.steps} steps, "
            "must cover at least one of each"
        )
    for name in counts.messages:
        if name not in topology.connections and name not in topology.injections:
            raise InputError(f"energy: connection '{name}' has counts but is not in the network")
    for name, connection in topology.connections.items():
        if name not in counts.messages:
            raise InputError(f"energy: connection '{name}' has no counts")
        if not counts.visits.get(connection.target):
            raise InputError(f"energy: population '{connection.target}' has no counts")


def _dynamic_terms(
    topology: Topology, counts: EventCounts, profile: HardwareProfile, table: Sequence[EnergyTerm]
) -> tuple[list[Term], list[str]]:
    """The terms caused by events, and the names of those without a price in the profile."""
    terms: list[Term] = []
    unpriced: list[str] = []
    stored = {connection.kind for connection in topology.connections.values()}
    for term in table:
        if term.storage is not None and term.storage not in stored:
            continue
        each = profile.pj_per_event(term)
        if each is None:
            unpriced.append(term.title)
            continue
        events = _events(term, topology, counts, profile)
        energies = {part: number * each for part, number in events.items()}
        total = sum(events.values(), Interval.same(0))
        what = profile.energy_pj[term.price].what
        terms.append(Term(term.title, what, total, energies, term.colour))
    return terms, unpriced


def _untimed(
    topology: Topology, profile: HardwareProfile, table: Sequence[EnergyTerm]
) -> list[str]:
    """What takes time, but has no time in the profile."""
    stored = {connection.kind for connection in topology.connections.values()}
    taking = {
        term.price: term.title
        for term in table
        if term.timed and (term.storage is None or term.storage in stored)
    }
    taking |= {"receive": "receiving messages", "barrier": "barrier synchronisation"}
    return [f"time of {what}" for key, what in taking.items() if key not in profile.time_ns]


def _events(
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


def _computing_time(
    topology: Topology,
    counts: EventCounts,
    profile: HardwareProfile,
    cores: Mapping[str, int],
    chips: int,
    table: Sequence[EnergyTerm],
) -> Interval:
    """Computing time of the whole run in ns, by the model of the module docstring.

    Messages take time at the source of a connection, all other events at its target. An input
    occupies no core, so that neither its events nor its messages take time at the source.
    """
    each = {key: price.interval for key, price in profile.time_ns.items()}

    def spent(key: str, number: Interval) -> Interval:
        return number * each.get(key, ZERO)

    counted = [(term, _events(term, topology, counts, profile)) for term in table]
    busy = dict.fromkeys(cores, ZERO)
    for term, events in counted:
        if term.events.scope is EventScope.POPULATION:
            for name in busy:
                busy[name] += spent(term.price, events[name])
    for name, connection in topology.connections.items():
        at_source = at_target = ZERO
        for term, events in counted:
            if term.events.scope is EventScope.CONNECTION and name in events:
                if term.events is EventKind.MESSAGES:
                    at_source += spent(term.price, events[name])
                else:
                    at_target += spent(term.price, events[name])
        at_target += spent("receive", Interval.same(counts.messages[name]))
        busy[connection.target] += at_target
        if connection.source in busy:
            busy[connection.source] += at_source
    spread = [busy[name] * (1 / cores[name]) for name in busy]
    work = Interval(
        low=sum(interval.low for interval in busy.values()) / (profile.cores * chips),
        nominal=max(interval.nominal for interval in spread),
        high=sum(interval.high for interval in spread),
    )
    return work + spent("barrier", Interval.same(counts.steps * counts.samples))


def _assumptions(profile: HardwareProfile, topology: Topology) -> tuple[str, ...]:
    found = []
    kinds = {connection.kind for connection in topology.connections.values()}
    for kind in (kind for kind in SynapseKind if kind in kinds):
        rule = profile.counts_zeros[kind]
        charged = " and ".join(level for level in LEVELS if rule.at(level)) or "no"
        found.append(
            f"Synaptic events, {kind}: zero weights are charged at {charged} level. {rule.reason}"
        )
    if "packet" in profile.energy_pj:
        found.append(
            "Routing: each message of a connection is one packet to one destination core; a "
            "layer split over several cores causes more."
        )
    if (hops := profile.hops_per_packet) is not None:
        values = ", ".join(f"{hops.at(level).value:g}" for level in LEVELS)
        found.append(f"Hops per packet: {values} (low, nominal, high), as no mapping is known.")
    found.append(
        f"Time: {profile.neurons_per_core} neurons per core. Low: all work spread evenly over "
        "the whole chip; nominal: the slowest population sets the pace; high: one population "
        "after another. One barrier per step is added; no host is included."
    )
    return tuple(found)


def _warnings(report: EnergyReport, topology: Topology) -> tuple[str, ...]:
    profile = report.profile
    overhead = _overhead(report)
    found = [overhead] if overhead else []
    if reason := other_arithmetic(topology.arithmetic, profile.arithmetic, profile.title):
        found.append(
            f"The network has arithmetic '{topology.arithmetic}', but {reason}: its prices are "
            "for numbers of those widths."
        )
    if not profile.graded_payloads:
        found += [
            f"Input '{name}' carries graded values, which {profile.title} cannot send as spikes: "
            "priced as one packet per non-zero value."
            for name in topology.graded_inputs
        ]
    found += [
        f"The readout uses the membrane of '{name}': reading it off the chip is not included."
        for name in topology.membrane_readouts
    ]
    if report.chips > 1:
        found.append(f"Needs at least {report.chips} chips; traffic between them is not included.")
    total = report.total
    if not total.low <= total.nominal <= total.high:
        found.append("The price lists cross: for these events the low prices are not the cheapest.")
    return tuple(found)


def _overhead(report: EnergyReport) -> str:
    """A warning if dynamic power is below static power, else an empty string."""
    static, host = report.profile.static_mw, report.profile.host_step_us
    if static is None or not report.time_ns.nominal:
        return ""
    dynamic_mw = report.dynamic.nominal / report.time_ns.nominal
    static_mw = static.nominal.value * report.chips
    if dynamic_mw >= static_mw:
        return ""
    text = (
        f"Overhead-dominated: {dynamic_mw:.3g} mW dynamic against {static_mw:.3g} mW static while "
        "computing. The length of a step determines the energy, not the events."
    )
    if host is not None:
        held_uj = static_mw * host.value * report.steps * 1e-3
        text += (
            f" A measured step with a host in the loop took {host.value:g} µs; at that rate static "
            f"power alone amounts to {held_uj:.3g} µJ per sample."
        )
    return text
