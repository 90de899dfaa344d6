"""The first differing spikes of a ladder, as a section of a report."""

from __future__ import annotations

from spikeport.parity import ParityReport
from spikeport.report.section import Section, Topic, section_of
from spikeport.traces.divergence import number


def divergence_section(report: ParityReport) -> Section:
    """Where each stage first differs from the stage above; empty if none does."""
    compared = [row for row in report.rows if row.rule is not None and not row.rule.on_purpose]
    rows = [
        {
            "stage": row.stage,
            "sample": first.sample,
            "step": first.step,
            "population": first.population,
            "neuron": ", ".join(map(str, first.neuron)),
            "variable": first.variable,
            "above": number(first.values[0]),
            "here": number(first.values[1]),
            "allowed": "yes, a tie" if row.passed else "no",
        }
        for row in compared
        if row.difference is not None and (first := row.difference.first) is not None
    ]
    differing = sum((row.difference.total_spikes or 0) for row in compared if row.difference)
    return section_of(
        "First divergence", rows, _note(len(rows), differing, len(compared)), topic=Topic.PARITY
    )


def _note(found: int, differing: int, compared: int) -> str:
    if found:
        return (
            "The earliest step at which a stage differs from the stage above; populations in the "
            "order of the network, so that it is a cause and not a consequence."
        )
    if differing:
        return f"{differing:,} spikes differ; where they do was not recorded."
    if compared:
        return (
            f"None: no spike differs in any of {compared} comparisons of stages that must be equal."
        )
    return "No two stages that must be equal were compared."
