"""The quantization report as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from spikeport.network import LOIHI
from spikeport.report.section import Section, Topic, section_of
from spikeport.text import first_of

_CONNECTION = {
    "name": "name",
    "weights": "weights",
    "weight_bits": "bits",
    "levels": "levels",
    "scale": "scale",
    "clipped": "clipped",
    "zeroed": "zeroed",
    "emptied": "emptied",
    "max_error": "max error",
    "rms_error": "rms error",
    "sqnr_db": "SQNR, dB",
}
_ACTIVITY = {
    "name": "name",
    "neurons": "neurons",
    "scale": "scale",
    "scales_tried": "tried",
    "vth": "vth",
    "float_spikes": "float spikes",
    "spikes": "spikes",
    "float_silent": "float silent",
    "silent": "silent",
    "ties": "at threshold",
    "rms_error": "rms error",
}
_ROUNDING = {
    "name": "name",
    "threshold": "threshold",
    "threshold_error": "relative error",
    "decay_v_int": f"decay v / {LOIHI.decay_unity}",
    "bias_max_error": "max bias error",
    "bias_clipped": "biases clipped",
    "tie_bias": "tie bias",
    "v_init": "v_init",
    "start_error": "start error",
    "u_peak": "u peak / range",
    "v_peak": "v peak / range",
    "saturated": "saturated",
}


def quantization_sections(report: Mapping[str, Any]) -> tuple[Section, ...]:
    """Tables from `QuantizationReport.as_dict()`: activity with all warnings, weights, neurons, and
    what a target changed.
    """
    rewrites = report["rewrites"]
    activity = section_of(
        "Quantization: activity on the calibration samples",
        [_renamed({**row, **(row["activity"] or {})}, _ACTIVITY) for row in report["populations"]],
        f"{report['summary']} Scale: weight units per membrane unit, the best of those tried. "
        f"vth: in weight units; the largest weight is {LOIHI.weight_end}. Silent: neurons that "
        "never fire. At threshold: neuron-steps with a float membrane exactly at the threshold. "
        "Error: of the spike counts, or of the membrane if only the membrane is read out.",
    )
    sections = (
        replace(activity, warnings=tuple(report["warnings"])),
        section_of(
            "Quantization of weights",
            [_renamed(row, _CONNECTION) for row in report["connections"]],
            "Scale: integers per float unit. Zeroed: non-zero weights rounded to zero. Emptied: "
            "target neurons or channels that lost all their weights. Errors are in float units of "
            "the folded weights; SQNR is signal power over rounding error power."
            + (f" Exactly rewritten: {first_of(rewrites)}." if rewrites else ""),
        ),
        section_of(
            "Quantization of neurons",
            [_renamed(row, _ROUNDING) for row in report["populations"]],
        ),
        *_target(report.get("target"), report["agreement"]),
    )
    return tuple(replace(section, topic=Topic.QUANTIZATION) for section in sections)


def _target(found: Mapping[str, Any] | None, agreement: float) -> Iterator[Section]:
    """What it costs to keep to a target, if the network was quantized for one."""
    if found is None:
        return
    rows = [
        {"part": row["part"], "": row["quantity"].replace("_", " "),
         "without": row["without"], found["name"]: row["kept"]}
        for row in found["changes"]
    ]  # fmt: skip
    name, before, now = (
        found["name"], *(100 * rate for rate in (found["agreement_without"], agreement)),
    )  # fmt: skip
    accuracy = ""
    if found["accuracy"] is not None:
        whole, free, kept = (
            100 * found[f"accuracy{which}"] for which in ("_float", "_without", "")
        )
        accuracy = (
            f"Accuracy on them: {whole:.2f} % in floats, {free:.2f} % without the target, "
            f"{kept:.2f} % for {name}. "
        )
    yield section_of(
        f"Quantization for {name}",
        rows,
        f"Float and integer predictions agree on {now:.2f} % of the calibration samples, without "
        f"the target on {before:.2f} %. {accuracy}"
        + ("" if rows else "The target changes no number. "),
    )
    if found["constraints"]:
        yield section_of(
            f"Quantization for {name}: the cost of each constraint",
            [
                {
                    "constraint": row["constraint"],
                    "agreement without it, %": 100 * row["agreement_without"],
                    **(
                        {}
                        if row["accuracy_without"] is None
                        else {"accuracy without it, %": 100 * row["accuracy_without"]}
                    ),
                }
                for row in found["constraints"]
            ],
            f"Each row: quantized with all other constraints of {name}. With all of them, "
            f"agreement is {now:.2f} %.",
        )


def _renamed(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {shown: row.get(key) for key, shown in names.items()}
