"""Whether a chip can run a network, as a section of a report."""

from __future__ import annotations

from dataclasses import dataclass

from spikeport.backends import TargetCheck
from spikeport.report.section import Section, Topic, section_of

UNVERIFIED = " (not verified)"


@dataclass(frozen=True, slots=True)
class Fit:
    """The result of `spikeport.check` for the chip that a network is priced on.

    Attributes:
        target, title: its name, and how it is called.
        stopping: features that the chip cannot run, as text.
        workarounds: number of features that it can only run in another way.
        cores, chips: that the network takes; 0 if it was not mapped.
    """

    target: str
    title: str
    stopping: tuple[str, ...]
    workarounds: int
    cores: int = 0
    chips: int = 0

    @property
    def runs(self) -> bool:
        """Whether nothing stops the network from running there."""
        return not self.stopping


def fit_of(found: TargetCheck, title: str, cores: int = 0, chips: int = 0) -> Fit:
    """The numbers of a check.

    Args:
        title: how the chip is called.
        cores, chips: of a map.
    """
    stopping = tuple(
        f"{feature.part}: {feature.construct}, limit {feature.limit}"
        for feature in found.unsupported
        if feature.stops
    )
    workarounds = len(found.unsupported) - len(stopping)
    return Fit(found.target, title, stopping, workarounds, cores, chips)


def fit_section(found: TargetCheck, title: str) -> Section:
    """Every feature that the chip does not support natively, with its limit and the source."""
    rows = [
        {
            "part": feature.part,
            "has": feature.construct,
            "limit": feature.limit,
            "what to do": feature.remedy,
            "stops it": "yes" if feature.stops else "no",
            "source": feature.source + ("" if feature.verified else UNVERIFIED),
        }
        for feature in found.unsupported
    ]
    note = (
        "Numbers of the network beyond the limits of the chip, as listed by spikeport check. "
        + ("" if rows else "It supports every feature of this network.")
    )
    return section_of(title, rows, note, topic=Topic.FIT)
