"""Post-training quantization of a float network to a `DeployedNetwork` in chip integers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError, UnsupportedError
from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.plausibility import implausible
from spikeport.export.quantize.activity import FloatActivity, FloatSimulator, float_activity
from spikeport.export.quantize.calibrate import Calibrated, calibrate
from spikeport.export.quantize.config import BINARY, GRADED, RATE, QuantizeConfig
from spikeport.export.quantize.connections import draft
from spikeport.export.quantize.input_precision import as_digits, halved, share_precision
from spikeport.export.quantize.input_rate import rate_coded
from spikeport.export.quantize.lower import lower
from spikeport.export.quantize.lowered import LoweredNetwork
from spikeport.export.quantize.report import (
    QuantizationReport,
    TargetConstraint,
    report_connection,
    report_input,
    report_population,
    report_target,
)
from spikeport.export.quantize.report_warnings import input_warnings, summarize, to_log, warnings
from spikeport.export.quantize.reset import subtracting_at_once
from spikeport.export.quantize.target import ANY, FORMATS
from spikeport.export.quantize.trial import ChipSimulator
from spikeport.network import DeployedNetwork, weighted_among
from spikeport.runs import (
    Run,
    Samples,
    SampleSet,
    check_float_samples,
    check_scale,
    compare_outputs,
    round_samples,
    sample_count,
)
from spikeport.runs.sample_values import Change
from spikeport.version import __version__

_log = logging.getLogger(__name__)
Stopping = Callable[[DeployedNetwork, str], Sequence[str]]
"""What stops a network from running on a chip or a backend, a sentence each."""


@dataclass(frozen=True, slots=True, eq=False)
class QuantizationResult:
    """The integer network and the report on its rounding."""

    network: DeployedNetwork
    report: QuantizationReport


def quantize_float_network(
    network: FloatNetwork,
    samples: Samples,
    *,
    run_float: FloatSimulator,
    run_chip: ChipSimulator,
    stopping: Stopping,
    config: QuantizeConfig | None = None,
    labels: NDArray[np.integer] | None = None,
    static: bool = False,
    clip: bool = False,
) -> QuantizationResult:
    """Round a float network to the grid of the chip, with scales chosen on calibration samples.

    A population and the connections into it share one scale S, in weight units per unit of the
    float membrane:

        weight     round(S w / source scale) on the grid of its signs; exponent 0, but for a graded
                   input the lowest from -6 to 0 at which none is clipped
        threshold  S v_threshold as vth, see `rounding.round_threshold` for ties
        bias       round(64 S b) as 13-bit mantissa and the smallest exponent that holds it
        decay      round(4096 (1 - dt/tau kept))

    Graded inputs give up low bits where the following weights need the range more (see
    `share_precision`). Equal arguments give an equal network: nothing is random. A target of the
    options narrows these choices (see `target`); the network is then also rounded without it, and
    without each constraint that changes something, and the report compares them.

    Warnings are stored in `report.warnings` and logged, the first and last if they are many.

    Args:
        samples: calibration samples in the float units of the inputs.
        run_float, run_chip: simulators to calibrate with, `run_float` and `run_native`.
        stopping: what `check` finds.
        labels: of the samples, for accuracies in the report on a target.
        static: the samples are (B, *shape), even if B = T.
        clip: clip samples beyond the declared input range instead of refusing them; the report
            counts them.

    Raises:
        InputError: the graph contains something that the chip cannot express (everything is
            listed) or something that the target cannot take, no scale fits, or the samples are
            empty, not finite, of the wrong shape, or contain values that the declared inputs do not
            accept (see `sample_values`).
    """
    config = config or QuantizeConfig()
    asked = config
    config = replace(config, weight_bits=min(config.weight_bits, config.constraints.weight_bits))
    floats = check_float_samples(network.inputs, network.steps, samples, static=static, clip=clip)
    for part in network.inputs:
        check_scale(part, floats[part.name])
    given = network
    if config.input_coding == RATE:
        network = rate_coded(network)
    network = subtracting_at_once(network)  # with v as it is on the chip
    lowered = lower(network, pools=config.constraints.pools)
    config.constraints.check_lowered(lowered)
    coded = _coded(lowered, config, stopping)
    activity, wanted = float_activity(network, lowered, floats, run_float)
    if config.input_coding == RATE:
        wanted = run_float(given, floats)
    provenance = {
        **network.provenance,
        "tool": f"spikeport {__version__}",
        "quantize": json.dumps(asked.stated(), sort_keys=True),
        "dt_s": repr(network.dt_s),
        "calibration_samples": str(sample_count(network.inputs, floats)),
    }

    def rounded(config: QuantizeConfig) -> tuple[DeployedNetwork, QuantizationReport, Run]:
        coding = coded if config.sends_digits else lowered
        inputs = share_precision(coding, activity, floats, run_chip, config)
        final = replace(lowered, inputs=inputs)
        integers = round_samples(inputs, floats)
        made = calibrate(final, integers, activity, run_chip, config)
        deployed = DeployedNetwork(
            inputs=inputs,
            populations=tuple(part.population for part in made),
            connections=tuple(c for part in made for c in part.connections),
            readouts=lowered.readouts,
            steps=network.steps,
            provenance=provenance,
        )
        got = run_chip(deployed, integers)
        most = config.constraints.sum_max
        report = _report(final, made, activity, floats, integers.changes, wanted, got, most)
        return deployed, report, got

    def accuracy(run: Run) -> float | None:
        return None if labels is None else float(np.mean(run.predictions == labels))

    deployed, report, got = rounded(config)
    _refuse(deployed, config, stopping)
    if config.target is not None:
        without, free, freely = rounded(replace(asked, target=None, constraints=ANY))
        binding = list(config.constraints.binding(without))
        found = []
        for constraint, others in binding:
            changed, run = free, freely
            if len(binding) > 1:
                bits = min(asked.weight_bits, others.weight_bits)
                _, changed, run = rounded(replace(asked, constraints=others, weight_bits=bits))
            found.append(TargetConstraint(constraint, changed.agreement, accuracy(run)))
        target = replace(
            report_target(config.target, report, free),
            constraints=tuple(found),
            accuracy_float=accuracy(wanted),
            accuracy=accuracy(got),
            accuracy_without=accuracy(freely),
        )
        report = replace(report, target=target)
    for warning in to_log(report.warnings):
        _log.warning("%s", warning)
    # already logged when the file was read
    odd = implausible(network.graph, network.dt_s, network.semantics)
    return QuantizationResult(deployed, replace(report, warnings=(*odd, *report.warnings)))


def _coded(lowered: LoweredNetwork, config: QuantizeConfig, stopping: Stopping) -> LoweredNetwork:
    """With inputs as they are sent, and as few binary digits as the target has axons for.

    Raises:
        InputError: the target cannot run a network of this structure.
    """
    inputs = lowered.inputs
    if config.input_coding == GRADED and not config.constraints.graded:
        for part in (one for one in inputs if one.graded):
            raise UnsupportedError(
                f"input '{part.name}': values {part.low}..{part.high} are to be sent as graded "
                f"spikes, but spikes of {config.target} carry no value; leave out input coding "
                f"'{GRADED}', or ask for '{BINARY}' or '{RATE}'"
            )
    if config.sends_digits:
        inputs = tuple(as_digits(part, config) for part in inputs)
    while True:
        coded = replace(lowered, inputs=inputs)
        sketch, most = draft(coded, config), max(part.digits for part in inputs)
        try:
            _refuse(sketch, config, stopping)
        except InputError:
            if most == 1:
                raise
            inputs = tuple(halved(p, 1) if p.digits == most else p for p in inputs)
        else:
            return coded


def _refuse(network: DeployedNetwork, config: QuantizeConfig, stopping: Stopping) -> None:
    """Refuse what the target cannot take.

    Raises:
        InputError: names each part, its value, the limit and the remedy.
    """
    config.constraints.check(network)
    if config.target is None or config.target in FORMATS:
        return
    if found := stopping(network, config.target):
        raise UnsupportedError(
            f"network: cannot be quantized for {config.target}, {len(found)} "
            f"limit{'s' * (len(found) > 1)} exceeded:",
            *(f"- {reason}" for reason in found),
        )


def _report(
    lowered: LoweredNetwork,
    made: tuple[Calibrated, ...],
    activity: Mapping[str, FloatActivity],
    floats: SampleSet,
    changes: Sequence[Change],
    wanted: Run,
    got: Run,
    sum_max: int | None,
) -> QuantizationReport:
    populations = tuple(
        report_population(part, activity[part.trial.real.name], lowered, got) for part in made
    )
    rounded = {
        connection.name: (connection, part.population.scale)
        for part in made
        for connection in weighted_among(part.connections)
    }
    connections = []
    for real in lowered.connections:
        connection, scale = rounded[real.name]
        scale /= lowered.source_scale(real.source) * 2**connection.exponent
        connections.append(report_connection(real, connection, scale))
    clipped = {found.input: found.clipped for found in floats.changes}
    inputs = tuple(
        report_input(part, floats[part.name], clipped.get(part.name, 0)) for part in lowered.inputs
    )
    predictions = compare_outputs(wanted, got)
    return QuantizationReport(
        samples=sample_count(lowered.inputs, floats),
        agreement=float(np.mean(wanted.predictions == got.predictions)),
        predictions=predictions,
        summary=summarize(predictions),
        inputs=inputs,
        populations=populations,
        connections=tuple(connections),
        warnings=(
            *input_warnings(inputs, changes),
            *warnings(lowered, populations, connections, predictions, sum_max),
        ),
        rewrites=lowered.rewrites,
    )
