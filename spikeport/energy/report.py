"""`EnergyReport`: an energy estimate, with everything needed to judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spikeport.energy.interval import LEVELS, ZERO, Interval
from spikeport.energy.profile import HardwareProfile


@dataclass(frozen=True, slots=True)
class Term:
    """One summand: its events (None for static power) and its energy in pJ, by part.

    Attributes:
        what: what the price is for.
        colour: class of the report's style sheet.
    """

    name: str
    what: str
    events: Interval | None
    by_part: Mapping[str, Interval]
    colour: str

    @property
    def energy(self) -> Interval:
        """Sum over the parts, pJ."""
        return sum(self.by_part.values(), ZERO)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "what": self.what,
            "colour": self.colour,
            "events": self.events.as_dict() if self.events else None,
            "energy": self.energy.as_dict(),
            "by_part": {name: interval.as_dict() for name, interval in self.by_part.items()},
        }


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """The estimate for a whole run of `samples` samples; every energy in pJ.

    Attributes:
        chips: minimum number of chips whose cores hold all populations.
        time_ns: computing time of the run on the chip, without a host.
        int8_ann: the same layers once per sample, as an int8 network on a digital accelerator.
        assumptions, unpriced, warnings: what was assumed, what is not included, and what makes the
            figure doubtful for this network.
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

    @property
    def dynamic(self) -> Interval:
        """All terms caused by events."""
        return sum((term.energy for term in self.terms if term.events is not None), ZERO)

    @property
    def static(self) -> Interval:
        """Static power times computing time."""
        return sum((term.energy for term in self.terms if term.events is None), ZERO)

    @property
    def total(self) -> Interval:
        """Dynamic and static."""
        return self.dynamic + self.static

    @property
    def total_per_sample(self) -> Interval:
        """`total` divided by the samples."""
        return self.per_sample(self.total)

    def per_sample(self, energy: Interval) -> Interval:
        """An energy of the run divided by its samples."""
        return energy * (1 / self.samples)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with every constant and its source."""
        return {
            "profile": self.profile.name,
            "title": self.profile.title,
            "samples": self.samples,
            "steps": self.steps,
            "chips": self.chips,
            "unit": "pJ, an estimate, for all samples together",
            "total": self.total.as_dict(),
            "dynamic": self.dynamic.as_dict(),
            "static": self.static.as_dict(),
            "total_per_sample": self.total_per_sample.as_dict(),
            "time_ns": self.time_ns.as_dict(),
            "int8_ann": self.int8_ann.as_dict() if self.int8_ann else None,
            "terms": [term.as_dict() for term in self.terms],
            "assumptions": list(self.assumptions),
            "unpriced": list(self.unpriced),
            "warnings": list(self.warnings),
            "constants": [
                {
                    "name": name,
                    "what": price.what,
                    "unit": unit,
                    "level": level,
                    **price.at(level).as_dict(),
                }
                for name, unit, price in self.profile.prices()
                for level in LEVELS
            ],
            "host_step_us": host.as_dict() if (host := self.profile.host_step_us) else None,
        }
