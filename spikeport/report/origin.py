"""Where a network of another tool is from: what was stated and assumed about its file."""

from __future__ import annotations

from collections.abc import Mapping

from spikeport.report.section import Section

ORIGIN_TITLE = "Read from another tool"
_SHOWN = (
    *("source", "stated", "semantics", "not_reproduced"),
    *("assumed", "assumed_inputs", "assumed_parameters"),
)


def origin_facts(provenance: Mapping[str, str]) -> dict[str, str]:
    """The facts of a network's provenance that are shown; none for a network of ours."""
    return {name: provenance[name] for name in _SHOWN if name in provenance}


def origin_sections(provenance: Mapping[str, str]) -> tuple[Section, ...]:
    """`origin_facts` as a table; none for a network of ours."""
    facts = origin_facts(provenance)
    rows = tuple((name.replace("_", " "), fact) for name, fact in facts.items())
    return (Section(ORIGIN_TITLE, ("fact", "value"), rows),) if facts else ()
