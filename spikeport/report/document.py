"""`Document`: everything that a report states, as plain data, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from spikeport.energy import EnergyReport
from spikeport.parity import ParityReport
from spikeport.report.divergence import divergence_section
from spikeport.report.fit import Fit
from spikeport.report.section import Section, Topic
from spikeport.report.verdict import Verdict, verdict_of
from spikeport.text import json_text

SCHEMA = "spikeport.report/1"

Facts = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Document:
    """What the page, the Markdown and the JSON of a report are made from.

    Attributes:
        energy: `EnergyReport.as_dict` by stage.
        priced: the stage whose energy is shown in detail; empty for all.
        sections: tables and figures, in order within each topic.
        fit: None if the network was not checked against the chip.
        network, data: facts, by name.
        limits: how much a stage may lose, as in `Limits`.
    """

    parity: ParityReport
    energy: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()
    priced: str = ""
    fit: Fit | None = None
    network: Facts = field(default_factory=dict)
    data: Facts = field(default_factory=dict)
    limits: Facts = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """Whether to trust the deployment."""
        return verdict_of(self.parity, self.fit, {**self.shown_energy, **self.mapped_energy})

    @property
    def shown_energy(self) -> Mapping[str, Mapping[str, Any]]:
        """The estimates to show in detail."""
        if self.priced not in self.energy:
            return self.energy
        return {self.priced: self.energy[self.priced]}

    @property
    def mapped_energy(self) -> Mapping[str, Mapping[str, Any]]:
        """The estimates after mapping, by how."""
        return {name: found for name, found in self.energy.items() if found.get("placed")}

    def about(self, topic: Topic) -> tuple[Section, ...]:
        """The sections of one topic."""
        own = (divergence_section(self.parity),) if topic is Topic.PARITY else ()
        return (*own, *(section for section in self.sections if section.topic is topic))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, described by `report.schema.json`."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict.as_dict(),
            "parity": self.parity.as_dict(),
            "energy": dict(self.energy),
            "priced": self.priced,
            "sections": [section.as_dict() for section in self.sections],
            "fit": None if self.fit is None else asdict(self.fit),
            "network": dict(self.network),
            "data": dict(self.data),
            "limits": dict(self.limits),
        }


def document_of(
    report: ParityReport,
    energy: Mapping[str, EnergyReport] | None = None,
    sections: Sequence[Section] = (),
    **facts: Any,
) -> Document:
    """A document.

    Args:
        energy: estimates by the names under which they are shown.
        sections: further tables and figures.
        facts: other fields of `Document`.
    """
    found = {name: estimate.as_dict() for name, estimate in (energy or {}).items()}
    return Document(report, found, tuple(sections), **facts)


def to_json(document: Document) -> str:
    """JSON text with keys in a fixed order; `schema` changes whenever the meaning of a key does."""
    return json_text(document.as_dict(), allow_nan=False) + "\n"
