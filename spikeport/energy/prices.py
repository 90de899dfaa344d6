"""Prices of a chip: constants with their sources, and what they are for; see `HardwareProfile`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from spikeport.energy.interval import LEVELS, ZERO, Interval
from spikeport.energy.terms import MAC, EnergyTerm, EventKind, SynapseKind, east_west
from spikeport.hardware import Source
from spikeport.network import LOIHI

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Constant:
    """A number and its source."""

    value: float
    source: Source

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "value": self.value,
            "source": self.source.citation,
            "url": self.source.url,
            "basis": str(self.source.basis),
            "conditions": self.source.conditions,
            "includes_static": self.source.includes_static,
            "all_in": self.source.all_in,
        }


@dataclass(frozen=True, slots=True)
class Price:
    """A constant for each level, and a description of what is charged."""

    what: str
    low: Constant
    nominal: Constant
    high: Constant

    def at(self, level: str) -> Constant:
        """The constant of `level`, one of LEVELS."""
        constant: Constant = getattr(self, level)
        return constant

    @property
    def interval(self) -> Interval:
        """The values without their sources."""
        return Interval(self.low.value, self.nominal.value, self.high.value)


@dataclass(frozen=True, slots=True)
class CountsZeros:
    """Whether each level charges events on zero weights, for one storage format, and the reason."""

    low: bool
    nominal: bool
    high: bool
    reason: str

    def at(self, level: str) -> bool:
        """The rule of `level`, one of LEVELS."""
        return bool(getattr(self, level))


NO_RULE = CountsZeros(low=True, nominal=True, high=True, reason="The profile states no rule.")


@dataclass(frozen=True, slots=True)
class HostPrices:
    """A host that takes part in every step.

    Attributes:
        step_us: length of a step.
        step_uj: energy of host and synchronisation per step, beyond static power.
    """

    step_us: Price
    step_uj: Price


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """Prices of one chip.

    Attributes:
        counts_zeros: by storage format; a profile file may give one rule for all of them, and
            leave out formats without a price.
        energy_pj: per event, by the keys of the energy terms; missing ones are unpriced.
        time_ns: per event, by the keys of the terms whose events take time, `receive` (a message)
            and `barrier` (a step).
        static_mw: power of one chip that computes nothing.
        hops_per_packet: assumed mesh distance if no mapping is known.
        int8_mac_pj: an int8 multiply-accumulate with its operand reads, for comparison.
        graded_payloads: whether a spike can carry a value.
        host_step_us: measured length of a step with a host in the loop, for comparison.
        host: prices of a host in every step, part of `EnergyReport.with_host` only.
        instead_pj: the same metered energy that all-in synaptic prices state, attributed to other
            events: an alternative, never added (see `estimate_energy`).
        unpriced: further costs of a real system for which this profile has no number.
        arithmetic: name of the arithmetic of networks that the chip is made for.
        synapse_bits_per_core: memory for weights; None if unknown.
        neurons_on_core: neurons that a core held on average in a metered run; the cores of a
            network without a placement at the nominal level.
    """

    name: str
    title: str
    cores: int
    neurons_per_core: int
    graded_payloads: bool
    counts_zeros: Mapping[SynapseKind, CountsZeros]
    energy_pj: Mapping[str, Price]
    time_ns: Mapping[str, Price]
    static_mw: Price | None
    hops_per_packet: Price | None
    int8_mac_pj: Price | None
    host_step_us: Constant | None
    unpriced: tuple[str, ...]
    arithmetic: str = LOIHI.name
    host: HostPrices | None = None
    instead_pj: Mapping[str, Price] = field(default_factory=dict)
    synapse_bits_per_core: int | None = None
    neurons_on_core: Constant | None = None

    @property
    def constants(self) -> Iterator[dict[str, Any]]:
        """Every constant as plain data for JSON; one without levels is nominal."""
        for name, unit, price in self.prices():
            for level in LEVELS:
                told = {"name": name, "what": price.what, "unit": unit, "level": level}
                yield told | price.at(level).as_dict()
        if self.neurons_on_core is not None:
            what = "neurons on a core in a metered run"
            told = {"name": "neurons_on_core", "what": what, "unit": "neurons", "level": "nominal"}
            yield told | self.neurons_on_core.as_dict()

    @property
    def all_in(self) -> bool:
        """Whether the price of a synaptic event includes all other dynamic energy."""
        return any(
            price.at(level).source.all_in for price in self.energy_pj.values() for level in LEVELS
        )

    def charged(self, kind: SynapseKind, level: str, nonzero: T, stored: T) -> T:
        """`nonzero` or `stored`, whichever `level` charges for synapses stored as `kind`."""
        return stored if self.counts_zeros[kind].at(level) else nonzero

    def key(self, term: EnergyTerm, *, graded: bool = False) -> str:
        """Key of the price of an event of `term`.

        Args:
            graded: the event multiplies a value with a weight; where the profile has no price for
                that, it costs as much as an event of a spike.
        """
        multiplies = graded and term.events is EventKind.SYNAPTIC_EVENTS
        return MAC if multiplies and MAC in self.energy_pj else term.price

    def pj_per_event(self, term: EnergyTerm, *, graded: bool = False) -> Interval | None:
        """Price of an event of `term`, including the hops of its packet; None if unpriced."""
        if (price := self.energy_pj.get(self.key(term, graded=graded))) is None:
            return None
        each = price.interval
        hop = self.energy_pj.get(term.per_hop) if term.per_hop else None
        if hop is not None and self.hops_per_packet is not None:
            each += hop.interval * self.hops_per_packet.interval
        return each

    def pj_per_hop(self, term: EnergyTerm) -> tuple[Interval, Interval]:
        """Price of a hop east-west and of one north-south; the latter where there is only one."""
        if term.per_hop is None or (price := self.energy_pj.get(term.per_hop)) is None:
            return ZERO, ZERO
        return self.energy_pj.get(east_west(term.per_hop), price).interval, price.interval

    def prices(self) -> Iterator[tuple[str, str, Price]]:
        """Every price as (name, unit, price)."""
        yield from ((name, "pJ", price) for name, price in self.energy_pj.items())
        yield from ((f"{name} (instead)", "pJ", price) for name, price in self.instead_pj.items())
        yield from ((name, "ns", price) for name, price in self.time_ns.items())
        for name, unit, price in (
            ("static", "mW", self.static_mw),
            ("hops_per_packet", "hops", self.hops_per_packet),
            ("int8_mac", "pJ", self.int8_mac_pj),
            ("host_step", "µs", self.host.step_us if self.host else None),
            ("host_step", "µJ", self.host.step_uj if self.host else None),
        ):
            if price is not None:
                yield name, unit, price
