"""`EnergyReport`: an energy estimate, with everything needed to judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spikeport.energy.comparison import DeviceComparison, SpikingCost
from spikeport.energy.interval import ZERO, Interval
from spikeport.energy.prices import HardwareProfile
from spikeport.energy.terms import Regime


@dataclass(frozen=True, slots=True)
class Term:
    """One summand: its events (None for static power) and its energy in pJ, by part.

    Attributes:
        what: what the price is for.
        colour: class of the report's style sheet.
        regime: the part of the bill that it belongs to.
        fixed: whether it stays the same if fewer spikes are sent.
    """

    name: str
    what: str
    events: Interval | None
    by_part: Mapping[str, Interval]
    colour: str
    regime: Regime
    fixed: bool = False

    @property
    def energy(self) -> Interval:
        """Sum over the parts, pJ."""
        return sum(self.by_part.values(), ZERO)

    def scaled(self, factor: Interval) -> Term:
        """The same events with their energy multiplied, level by level."""
        by_part = {name: energy * factor for name, energy in self.by_part.items()}
        return Term(
            self.name, self.what, self.events, by_part, self.colour, self.regime, self.fixed
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "what": self.what,
            "colour": self.colour,
            "regime": str(self.regime),
            "events": self.events.as_dict() if self.events else None,
            "energy": self.energy.as_dict(),
            "by_part": {name: interval.as_dict() for name, interval in self.by_part.items()},
        }


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """The estimate for a whole run of `samples` samples; every energy in pJ.

    Attributes:
        chips: minimum number of chips whose cores hold all populations.
        time_ns: computing time of the run on the chip, without a host; 0 if the profile has no
            times.
        int8_ann: the ANN once per sample, as an int8 network on a digital accelerator.
        assumptions, unpriced, warnings: what was assumed, what is not included, and what makes the
            figure doubtful for this network.
        host: what a host in every step adds: its own energy, and static power while it works.
            Empty if the profile has no price for it; never part of `total`.
        host_time_ns: time of the run with a host in every step.
        input_values: values that a host must encode and send, per input.
        cores: cores per population, of the placement or as `spikeport.energy.latency` assumes.
        slowest: populations of the core that sets the length of a step.
        placed: whether cores, packets and hops are those of a placement.
        macs: MACs of one pass through the same layers.
        ann_macs: MACs of the ANN that the network was converted from, which is then compared with;
            None if it is one of the same layers.
        synaptic_events: of the run, on non-zero weights.
        graded_macs: multiplications by values of graded inputs, in all steps, per connection;
            without zero weights.
        layers: the population that each part of a term belongs to: its own, or, for a connection,
            the one that it leads to.
        accuracy: share of samples whose class is right, None if unknown.
        comparisons: the ANN on other devices.
    """

    profile: HardwareProfile
    samples: int
    steps: int
    chips: int
    terms: tuple[Term, ...]
    time_ns: Interval
    int8_ann: Interval | None
    assumptions: tuple[str, ...]
    unpriced: tuple[str, ...]
    warnings: tuple[str, ...]
    host: tuple[Term, ...]
    host_time_ns: Interval | None
    input_values: Mapping[str, int]
    cores: Mapping[str, int]
    slowest: tuple[str, ...]
    placed: bool
    macs: int
    synaptic_events: int
    graded_macs: Mapping[str, int]
    layers: Mapping[str, str]
    accuracy: float | None = None
    comparisons: tuple[DeviceComparison, ...] = ()
    ann_macs: int | None = None

    @property
    def dynamic(self) -> Interval:
        """All terms caused by events."""
        return sum((term.energy for term in self.terms if term.events is not None), ZERO)

    @property
    def static(self) -> Interval:
        """Static power times computing time."""
        return sum((term.energy for term in self.terms if term.events is None), ZERO)

    @property
    def fixed(self) -> Interval:
        """The dynamic energy that does not depend on activity."""
        return sum((term.energy for term in self.terms if term.fixed), ZERO)

    @property
    def total(self) -> Interval:
        """Dynamic and static."""
        return self.dynamic + self.static

    @property
    def total_per_sample(self) -> Interval:
        """`total` divided by the samples."""
        return self.per_sample(self.total)

    @property
    def with_host(self) -> Interval | None:
        """`total` with a host in every step; None if the profile has no price for a host."""
        if not self.host:
            return None
        return self.total + sum((term.energy for term in self.host), ZERO)

    @property
    def regime(self) -> Regime:
        """What decides the bill of the chip alone: the largest part at the nominal level."""
        return max(self.shares, key=self.shares.__getitem__)

    @property
    def regime_with_host(self) -> Regime | None:
        """The same with a host in every step, to whose part its waiting time belongs."""
        if not self.host:
            return None
        shares = {**self.shares}
        for term in self.host:
            shares[term.regime] = shares.get(term.regime, 0.0) + term.energy.nominal
        return max(shares, key=shares.__getitem__)

    @property
    def shares(self) -> Mapping[Regime, float]:
        """Nominal energy of the run by part of the bill, pJ."""
        found = dict.fromkeys((term.regime for term in self.terms), 0.0)
        for term in self.terms:
            found[term.regime] += term.energy.nominal
        return found

    @property
    def graded_input(self) -> Interval:
        """The part of `dynamic` that is synaptic events of graded inputs: a direct-coded layer."""
        return sum(
            (
                term.by_part[name]
                for term in self.terms
                for name in self.graded_macs
                if term.regime is Regime.SYNAPSES and name in term.by_part
            ),
            ZERO,
        )

    @property
    def by_layer(self) -> Mapping[str, Interval]:
        """Dynamic energy by population, with that of the connections to it."""
        found: dict[str, Interval] = {}
        for term in self.terms:
            if term.events is not None:
                for part, energy in term.by_part.items():
                    layer = self.layers.get(part, part)
                    found[layer] = found.get(layer, ZERO) + energy
        return found

    @property
    def cost(self) -> SpikingCost:
        """What is compared with ordinary networks."""
        each = self.per_sample
        events = self.synaptic_events / self.samples
        macs = self.macs if self.ann_macs is None else self.ann_macs
        return SpikingCost(
            self.steps, each(self.dynamic), each(self.fixed), each(self.static), events, macs
        )

    @property
    def summary(self) -> tuple[str, ...]:
        """What decides the bill and what would lower it, in sentences."""
        whole = sum(self.shares.values()) or 1.0
        parts = sorted(self.shares.items(), key=lambda item: -item[1])
        rest = ", ".join(f"{part} {energy / whole:.0%}" for part, energy in parts[1:])
        first = f"Dominated by the {parts[0][0]} part, {parts[0][1] / whole:.0%} of nominal"
        found = [
            first + (f" ({rest})." if rest else "."),
            f"What would lower it: {self.regime.remedy}.",
        ]
        if (other := self.regime_with_host) not in (None, self.regime):
            assert other is not None
            found.append(
                f"With a host in every step: {other}-dominated. What would lower it: "
                f"{other.remedy}."
            )
        return tuple(found)

    @property
    def step_ns(self) -> Interval:
        """Mean computing time of a step."""
        return self.time_ns * (1 / (self.samples * self.steps))

    @property
    def edp(self) -> Interval:
        """Energy times delay of one sample, pJ ns."""
        return self.total_per_sample * self.per_sample(self.time_ns)

    @property
    def per_correct_answer(self) -> Interval | None:
        """`total` divided by the right answers; None without any, or if they are unknown."""
        return self.total_per_sample * (1 / self.accuracy) if self.accuracy else None

    def per_sample(self, energy: Interval) -> Interval:
        """An energy of the run divided by its samples."""
        return energy * (1 / self.samples)

    def per_step(self, energy: Interval) -> Interval:
        """An energy of the run divided by its samples and steps."""
        return energy * (1 / (self.samples * self.steps))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with every constant and its source."""
        host = self.profile.host_step_us
        return {
            "profile": self.profile.name,
            "title": self.profile.title,
            "samples": self.samples,
            "steps": self.steps,
            "chips": self.chips,
            "cores": dict(self.cores),
            "placed": self.placed,
            "unit": "pJ, an estimate, for all samples together",
            "total": self.total.as_dict(),
            "dynamic": self.dynamic.as_dict(),
            "static": self.static.as_dict(),
            "total_per_sample": self.total_per_sample.as_dict(),
            "total_per_step": self.per_step(self.total).as_dict(),
            "total_per_correct_answer": _plain(self.per_correct_answer),
            "accuracy": self.accuracy,
            "edp_pj_ns_per_sample": self.edp.as_dict(),
            "regime": str(self.regime),
            "summary": list(self.summary),
            "regime_shares": {str(name): share for name, share in self.shares.items()},
            "with_host": _plain(self.with_host),
            "regime_with_host": str(self.regime_with_host) if self.host else None,
            "host_terms": [term.as_dict() for term in self.host],
            "time_ns": self.time_ns.as_dict(),
            "time_per_step_ns": self.step_ns.as_dict(),
            "time_with_host_ns": _plain(self.host_time_ns),
            "slowest": list(self.slowest),
            "int8_ann": _plain(self.int8_ann),
            "macs_per_sample": self.macs,
            "ann_macs_per_sample": self.ann_macs,
            "synaptic_events": self.synaptic_events,
            "comparisons": [found.as_dict() for found in self.comparisons],
            "input_values": dict(self.input_values),
            "graded_macs": dict(self.graded_macs),
            "graded_input": self.graded_input.as_dict(),
            "terms": [term.as_dict() for term in self.terms],
            "by_layer": {name: energy.as_dict() for name, energy in self.by_layer.items()},
            "assumptions": list(self.assumptions),
            "unpriced": list(self.unpriced),
            "warnings": list(self.warnings),
            "constants": list(self.profile.constants),
            "host_step_us": host.as_dict() if host else None,
        }


def _plain(interval: Interval | None) -> dict[str, float] | None:
    return interval.as_dict() if interval else None
