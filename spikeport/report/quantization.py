"""The quantization report as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spikeport.report.section import Section, section_of

_CONNECTION = {
    "name": "connection",
    "weights": "weights",
    "weight_bits": "bits",
    "levels": "levels used",
    "scale": "integers per unit",
    "clipped": "clipped",
    "max_error": "max error",
    "rms_error": "rms error",
    "sqnr_db": "SQNR, dB",
}
_POPULATION = {
    "name": "population",
    "neurons": "neurons",
    "threshold": "threshold",
    "vth": "vth",
    "threshold_error": "relative error",
    "decay_v_int": "decay v / 4096",
    "bias_max_error": "max bias error",
    "bias_clipped": "biases clipped",
    "u_peak": "u peak / range",
    "v_peak": "v peak / range",
    "saturated": "saturated",
    "rms_error": "rms count error",
}


def quantization_sections(report: Mapping[str, Any]) -> tuple[Section, Section]:
    """Two tables out of `QuantizationReport.as_dict()`: connections and populations."""
    agreement = f"{100 * report['agreement']:.2f} %"
    warnings = " ".join(report["warnings"])
    return (
        section_of(
            "Quantization of weights",
            [_renamed(row, _CONNECTION) for row in report["connections"]],
            "Errors in float units of the folded weights; SQNR is signal over rounding error.",
        ),
        section_of(
            "Quantization of populations",
            [_renamed(row, _POPULATION) for row in report["populations"]],
            f"On {report['samples']} calibration samples float and integers agree in {agreement} "
            f"of the predictions. {warnings}".strip(),
        ),
    )


def _renamed(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {shown: row[key] for key, shown in names.items()}
