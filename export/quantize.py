"""Post-training quantization: a float network becomes a `DeployedNetwork` in chip integers."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.calibrate import (
    Calibrated,
    ChipSimulator,
    FloatAnswer,
    FloatSimulator,
    calibrate,
    float_answers,
)
from spikeport.export.lower import lower
from spikeport.export.lowered import LoweredNetwork
from spikeport.export.plausibility import implausible
from spikeport.export.quantization_report import (
    InputReport,
    QuantizationReport,
    report_connection,
    report_population,
)
from spikeport.export.quantization_warnings import summarize, warnings
from spikeport.export.room import shared_room
from spikeport.export.rounding_loss import COARSE_BITS
from spikeport.fixed_point import WEIGHT_BITS
from spikeport.float_network import FloatNetwork
from spikeport.network import BiasInjection, DeployedNetwork, Input
from spikeport.outputs import compare_outputs
from spikeport.runs import Run
from spikeport.samples import Samples, check_float_samples, encode_samples, sample_count

_log = logging.getLogger(__name__)

CLIP_FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
COARSE_FRACTIONS = (0.4, 0.3, 0.25, 0.2, 0.15)


@dataclass(frozen=True, slots=True)
class QuantizeConfig:
    """How to round.

    Attributes:
        weight_bits: 2..8 per weight, the sign included where a matrix has both signs.
        clip_fractions: scales to try, as the fraction of the largest weight that the grid still
            reaches; weights beyond are clipped. 1 clips nothing. By default 1 to 0.5, with few bits
            down to 0.15: of a coarse grid more is lost between its values than beyond its ends.
        search_wider: where these leave spike counts far off, most weights rounded to zero or a
            threshold of a few units, try smaller fractions as well, until half of the weights would
            be clipped. By default where `clip_fractions` are not given.
    """

    weight_bits: int = WEIGHT_BITS
    clip_fractions: tuple[float, ...] | None = None
    search_wider: bool | None = None

    def __post_init__(self) -> None:
        if self.search_wider is None:
            object.__setattr__(self, "search_wider", self.clip_fractions is None)
        default = CLIP_FRACTIONS + COARSE_FRACTIONS * (self.weight_bits <= COARSE_BITS)
        given = default if self.clip_fractions is None else tuple(self.clip_fractions)
        object.__setattr__(self, "clip_fractions", given)
        if self.weight_bits not in range(2, WEIGHT_BITS + 1):
            raise InputError(f"weight_bits is {self.weight_bits}, must lie in 2..{WEIGHT_BITS}")
        if not given or not all(0 < f <= 1 for f in given):
            raise InputError(f"clip_fractions is {given}, must be numbers in (0, 1]")


@dataclass(frozen=True, slots=True, eq=False)
class QuantizationResult:
    """The integer network and what rounding did to it."""

    network: DeployedNetwork
    report: QuantizationReport


def quantize(
    network: FloatNetwork,
    samples: Samples,
    *,
    run_float: FloatSimulator,
    run_chip: ChipSimulator,
    config: QuantizeConfig | None = None,
) -> QuantizationResult:
    """Round a float network to the chip's grid, with scales chosen on calibration samples.

    A population and the connections into it share one scale S, in weight units per unit of the
    float membrane:

        weight     round(S w / source scale) on the grid of its signs; exponent 0
        threshold  S v_threshold as vth, see `rounding.round_threshold` for ties
        bias       round(64 S b) as 13-bit mantissa and the smallest exponent that holds it
        decay      round(4096 (1 - dt/tau kept))

    Graded inputs give up low bits where the weights behind them need the room more (see
    `shared_room`). Equal arguments give an equal network: nothing is drawn at random.

    What a user should look at is in `report.warnings` and logged.

    Args:
        samples: calibration samples in the float units of the inputs.
        run_float, run_chip: simulators to calibrate with, `run_float` and `run_native`.

    Raises:
        InputError: the graph holds what the chip cannot express (all of it is listed), a scale
            that fits does not exist, or the samples are empty, not finite or of wrong shape.
    """
    config = config or QuantizeConfig()
    floats = check_float_samples(network.inputs, network.steps, samples)
    lowered = lower(network)
    answers, wanted = float_answers(network, lowered, floats, run_float)
    options: Any = {
        "weight_bits": config.weight_bits,
        "clip_fractions": config.clip_fractions or (),
        "search_wider": bool(config.search_wider),
    }
    inputs = shared_room(lowered, answers, floats, run_chip, **options)
    lowered = replace(lowered, inputs=inputs)
    integers = encode_samples(inputs, network.steps, floats)
    made = calibrate(lowered, integers, answers, run_chip, **options)
    deployed = DeployedNetwork(
        inputs=inputs,
        populations=tuple(part.population for part in made),
        connections=tuple(c for part in made for c in part.connections),
        readouts=lowered.readouts,
        steps=network.steps,
        provenance={
            "tool": f"spikeport {version('spikeport')}",
            "quantize": json.dumps(asdict(config), sort_keys=True),
            "dt_s": repr(network.dt_s),
            "calibration_samples": str(sample_count(network.inputs, floats)),
        },
    )
    report = _report(lowered, made, answers, floats, wanted, run_chip(deployed, integers))
    for warning in report.warnings:
        _log.warning("%s", warning)
    odd = implausible(network.graph, network.dt_s)  # the reader of a file has logged these
    return QuantizationResult(deployed, replace(report, warnings=(*odd, *report.warnings)))


def _report(
    lowered: LoweredNetwork,
    made: tuple[Calibrated, ...],
    answers: Mapping[str, FloatAnswer],
    floats: Mapping[str, NDArray[np.float64]],
    wanted: Run,
    got: Run,
) -> QuantizationReport:
    populations = tuple(
        report_population(real, part, answers[real.name], lowered, got)
        for real, part in zip(lowered.populations, made, strict=True)
    )
    rounded = {c.name: (c, part.population.scale) for part in made for c in part.connections}
    connections = []
    for real in lowered.connections:
        wire, scale = rounded[real.name]
        if not isinstance(wire, BiasInjection):
            scale /= lowered.source_scale(real.source)
            connections.append(report_connection(real, wire, scale))
    predictions = compare_outputs(wanted, got)
    return QuantizationReport(
        samples=sample_count(lowered.inputs, floats),
        agreement=float(np.mean(wanted.predictions == got.predictions)),
        predictions=predictions,
        summary=summarize(predictions),
        inputs=tuple(_report_input(part, floats[part.name]) for part in lowered.inputs),
        populations=populations,
        connections=tuple(connections),
        warnings=warnings(lowered, populations, connections, predictions),
    )


def _report_input(part: Input, values: NDArray[Any]) -> InputReport:
    scaled = values * part.scale
    error = np.clip(np.rint(scaled), part.low, part.high) / part.scale - values
    return InputReport(
        name=part.name,
        scale=part.scale,
        max_error=float(np.abs(error).max()),
        rms_error=float(np.sqrt(np.mean(error**2))),
        clipped=int(((scaled < part.low - 0.5) | (scaled > part.high + 0.5)).sum()),
    )
