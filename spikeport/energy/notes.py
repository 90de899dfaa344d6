"""What an estimate assumes, and what makes it doubtful."""

from __future__ import annotations

from spikeport.energy.interval import LEVELS
from spikeport.energy.placement import Placement
from spikeport.energy.prices import HardwareProfile
from spikeport.energy.report import EnergyReport
from spikeport.energy.terms import SynapseKind
from spikeport.energy.topology import Topology
from spikeport.network import other_arithmetic

MORE_PACKETS = "packets to more than one destination core per connection"


def placed(text: str, placement: Placement | None) -> bool:
    """Whether an omission of the profile is none with this placement."""
    return placement is not None and text == MORE_PACKETS


def assumptions(
    profile: HardwareProfile, topology: Topology, placement: Placement | None
) -> tuple[str, ...]:
    """What the estimate assumes."""
    found = []
    if profile.all_in:
        found.append(
            "All-in prices: that of a synaptic event includes neurons, spikes and routing in the "
            "proportion of the metered network."
        )
    if profile.instead_pj:
        others = " or ".join(price.what for price in profile.instead_pj.values())
        found.append(
            "One metered run does not tell how its energy is divided. Nominal: all of it belongs "
            f"to synaptic events; low and high: the lower and the higher of that and: {others}."
        )
    kinds = {connection.kind for connection in topology.connections.values()}
    for kind in (kind for kind in SynapseKind if kind in kinds):
        rule = profile.counts_zeros[kind]
        charged = " and ".join(level for level in LEVELS if rule.at(level)) or "no"
        found.append(
            f"Synaptic events, {kind}: zero weights are charged at {charged} level. {rule.reason}"
        )
    if "packet" in profile.energy_pj and placement is None:
        found.append(
            "Routing: each message of a connection is one packet to one destination core; a "
            "layer split over several cores causes more."
        )
    if (hops := profile.hops_per_packet) is not None and placement is None:
        values = ", ".join(f"{hops.at(level).value:g}" for level in LEVELS)
        found.append(f"Hops per packet: {values} (low, nominal, high), as no mapping is known.")
    if not profile.time_ns:
        return tuple(found)
    if placement is not None:
        found.append(
            "Time: the slowest core of the placement sets the pace; one barrier per step is added; "
            "no host is included. The neurons of a population are equally busy."
        )
        return tuple(found)
    memory = profile.synapse_bits_per_core
    metered = profile.neurons_on_core
    usual = f", with {metered.value:g} neurons per core as in a metered run" if metered else ""
    limit = f" and {memory} bits of weights" if memory else ""
    found.append(
        f"Time: at most {profile.neurons_per_core} neurons{limit} per core. Low: all work spread "
        f"evenly over the whole chip; nominal: the slowest population sets the pace{usual}; high: "
        "one population after another. One barrier per step is added; no host is included."
    )
    return tuple(found)


def warnings(report: EnergyReport, topology: Topology) -> tuple[str, ...]:
    """What makes the figure doubtful for this network."""
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
        step_us = host.value
        held_uj = static_mw * step_us * report.steps * 1e-3
        text += (
            f" A measured step with a host in the loop took {step_us:g} µs; at that rate static "
            f"power alone amounts to {held_uj:.3g} µJ per sample."
        )
    return text
