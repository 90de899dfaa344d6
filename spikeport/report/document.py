"""The report as JSON, for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spikeport.energy import EnergyReport
from spikeport.parity import ParityReport
from spikeport.report.section import Section
from spikeport.text import json_text

SCHEMA = "spikeport.report/1"


def to_json(
    report: ParityReport,
    energy: Mapping[str, EnergyReport] | None = None,
    sections: Sequence[Section] = (),
) -> str:
    """JSON text with keys in a fixed order; `schema` changes whenever a key's meaning does.

    Args:
        energy: estimates by the name they are shown under.
        sections: further tables, such as the quantization report.
    """
    document = {
        "schema": SCHEMA,
        "parity": report.as_dict(),
        "energy": {name: estimate.as_dict() for name, estimate in (energy or {}).items()},
        "sections": [section.as_dict() for section in sections],
    }
    return json_text(document, allow_nan=False) + "\n"
