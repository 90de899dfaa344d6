"""Energy of a run from its event counts and a hardware profile, always as a range.

    E = e_syn S + e_visit N T + e_update U + e_fire F + (e_packet + hops e_hop) P + P_static t

with S synaptic events, N T neuron visits, U updates, F spikes, P packets and t the computing time
of the chip (`spikeport.energy.latency`). S counts the events on non-zero weights, plus those on
stored zeros at the levels at which the profile charges them for that storage format
(`HardwareProfile.charged`). Events of a graded input are MACs; they are reported apart
(`EnergyReport.graded_input`), and a profile may give them a price of their own. Each price has a
low, a nominal and a high value; the report lists terms, sources, assumptions, omissions and
warnings. Units: pJ, ns, mW (1 pJ = 1 mW ns). The dynamic terms are the rows of `TERMS`.

A host in every step makes steps longer and takes energy of its own; both give a separate total,

    E_host = E + e_host T + P_static (t_host T - t), at least E.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from spikeport.energy.comparison import compare
from spikeport.energy.devices import Device, builtin_devices
from spikeport.energy.dynamic import dynamic_terms
from spikeport.energy.interval import ZERO, Interval
from spikeport.energy.latency import computing_time, untimed
from spikeport.energy.notes import assumptions, placed, warnings
from spikeport.energy.placement import Placement
from spikeport.energy.prices import HardwareProfile
from spikeport.energy.report import EnergyReport, Term
from spikeport.energy.terms import (
    HOST_COLOUR,
    STATIC_COLOUR,
    STATIC_POWER,
    TERMS,
    EnergyTerm,
    Regime,
)
from spikeport.energy.topology import Topology, topology_of
from spikeport.errors import EnergyError
from spikeport.network import DeployedNetwork
from spikeport.runs import EventCounts

PJ_PER_UJ, NS_PER_US = 1e6, 1e3


def estimate_energy(
    network: DeployedNetwork | Topology,
    counts: EventCounts,
    profile: HardwareProfile,
    *,
    table: Sequence[EnergyTerm] | None = None,
    placement: Placement | None = None,
    accuracy: float | None = None,
    devices: Sequence[Device] | None = None,
    ann_macs: int | None = None,
) -> EnergyReport:
    """Estimate the energy of a run from its event counts.

    Args:
        counts: of a run of the network; those of a float run may be used too if its populations and
            connections have the same names.
        profile: the prices of a chip, each with its source; see `load_profile`.
        table: the terms of dynamic energy; None for those of `spikeport.energy.terms`.
        placement: where the network is on the chip; without one, cores are a lower bound, a message
            is one packet, and its distance is the profile's assumption.
        accuracy: share of the samples whose class is right, for the energy per correct answer.
        devices: those to compare with; None for Spikeport's own (`builtin_devices`).
        ann_macs: MACs per sample of the ANN to compare with, such as the one that the network was
            converted from; None for one of the same layers.

    Returns:
        Energies in pJ for the whole run, as low, nominal and high values.

    Raises:
        InputError: the counts cover no samples or no steps, or their connections and populations
            or those of the placement are not those of the network; the accuracy is not in 0..1, or
            `ann_macs` not positive.
    """
    table = TERMS if table is None else table
    topology = topology_of(network) if isinstance(network, DeployedNetwork) else network
    topology.check(counts)
    if accuracy is not None and not 0 <= accuracy <= 1:
        raise EnergyError(f"energy: accuracy is {accuracy}, must lie in 0..1")
    if ann_macs is not None and ann_macs < 1:
        raise EnergyError(f"energy: ann_macs is {ann_macs}, must be at least 1")
    if placement is not None:
        placement.check(counts.visits, topology.connections)
    terms, unpriced = dynamic_terms(topology, counts, profile, table, placement)
    time_ns, cores = computing_time(topology, counts, profile, table, placement)
    if profile.static_mw is not None:
        static = profile.static_mw.interval * time_ns * cores.chips
        what, chip = profile.static_mw.what, {"chip": static}
        terms.append(Term(STATIC_POWER, what, None, chip, STATIC_COLOUR, Regime.STATIC))
    else:
        unpriced.append(STATIC_POWER)
    unpriced += untimed(topology, profile, table)
    unpriced += [f"writing of biases by the host ('{name}')" for name in topology.injections]
    mac = profile.int8_mac_pj
    compared = topology.macs if ann_macs is None else ann_macs
    host, host_time_ns = _host(profile, counts, time_ns, cores.chips)
    report = EnergyReport(
        profile=profile,
        samples=counts.samples,
        steps=counts.steps,
        chips=cores.chips,
        terms=tuple(terms),
        time_ns=time_ns,
        int8_ann=mac.interval * (compared * counts.samples) if mac and compared else None,
        assumptions=assumptions(profile, topology, placement),
        unpriced=(*unpriced, *(text for text in profile.unpriced if not placed(text, placement))),
        warnings=(),
        host=host,
        host_time_ns=host_time_ns,
        input_values=counts.input_events,
        cores=cores.by_population,
        slowest=cores.slowest,
        placed=placement is not None,
        macs=topology.macs,
        ann_macs=ann_macs,
        synaptic_events=counts.total("synaptic_events"),
        graded_macs={
            name: counts.synaptic_events[name]
            for name, part in topology.connections.items()
            if part.source in topology.graded_inputs
        },
        layers={name: part.target for name, part in topology.connections.items()},
        accuracy=accuracy,
    )
    beside = builtin_devices() if devices is None else devices
    return dataclasses.replace(
        report,
        comparisons=tuple(compare(report.cost, one) for one in beside) if compared else (),
        warnings=warnings(report, topology),
    )


def _host(
    profile: HardwareProfile, counts: EventCounts, time_ns: Interval, chips: int
) -> tuple[tuple[Term, ...], Interval | None]:
    """What a host in every step adds, and the time of the run with it; nothing if unpriced."""
    if (host := profile.host) is None:
        return (), None
    steps = Interval.same(counts.steps * counts.samples)
    whole = (steps * host.step_us.interval * NS_PER_US).largest(time_ns)
    own = steps * host.step_uj.interval * PJ_PER_UJ
    static = profile.static_mw.interval * chips if profile.static_mw else ZERO
    waiting = static * (whole - time_ns)
    return (
        Term(
            "host and synchronisation", host.step_uj.what, steps, {"host": own},
            HOST_COLOUR, Regime.HOST,
        ),
        Term(
            "static power, waiting", host.step_us.what, None, {"chip": waiting},
            STATIC_COLOUR, Regime.HOST,
        ),
    ), whole  # fmt: skip
