"""Where a network is from: read from another tool's file, or converted from an ANN."""

from __future__ import annotations

from collections.abc import Mapping

from spikeport.report.section import Section

_SHOWN: Mapping[str, tuple[str, ...]] = {
    "Read from another tool": (
        *("source", "stated", "semantics", "not_reproduced"),
        *("assumed", "assumed_inputs", "assumed_parameters"),
    ),
    "Converted from an ANN": ("conversion", "conversion_label", "ann_sha256", "trained_further"),
}
"""The facts of a network's provenance that are shown, by title."""


def origin_facts(provenance: Mapping[str, str]) -> dict[str, str]:
    """The facts of a network's provenance that are shown; none for a network trained here."""
    return {fact: text for facts in origins(provenance).values() for fact, text in facts.items()}


def origins(provenance: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """`origin_facts` by the title of their table."""
    found = {
        title: {name: provenance[name] for name in names if name in provenance}
        for title, names in _SHOWN.items()
    }
    return {title: facts for title, facts in found.items() if facts}


def origin_sections(provenance: Mapping[str, str]) -> tuple[Section, ...]:
    """`origins` as tables."""
    return tuple(
        Section(
            title,
            ("fact", "value"),
            tuple((name.replace("_", " "), fact) for name, fact in facts.items()),
        )
        for title, facts in origins(provenance).items()
    )
