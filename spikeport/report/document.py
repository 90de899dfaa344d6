"""The report as machine-readable JSON."""

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
    """JSON text with keys in a fixed order; `schema` changes whenever the meaning of a key does.

    Args:
        energy: estimates by the names under which they are shown.
        sections: further tables, such as the quantization report.
    """
    document = {
        "schema": SCHEMA,
        "parity": report.as_dict(),
        "energy": {name: estimate.as_dict() for name, estimate in (energy or {}).items()},
        "sections": [section.as_dict() for section in sections],
    }
    return json_text(document, allow_nan=False) + "\n"
