"""Report of a quantization: rounding errors and activity of every part of a network."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport.export.quantize.activity import FloatActivity
from spikeport.export.quantize.calibrate import Calibrated
from spikeport.export.quantize.lowered import FloatConnection, FloatPopulation, LoweredNetwork
from spikeport.export.quantize.rounding import keeps_threshold, settle, start_error, tie_bias
from spikeport.export.quantize.rounding_loss import (
    emptied_rows,
    relative_error,
    zeroed,
    zeroed_fraction,
)
from spikeport.network import (
    LOIHI,
    Coding,
    Input,
    WeightedConnection,
    largest_sum,
    step_bound,
    weighted_among,
)
from spikeport.runs import Agreement, Run


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """Rounding of one weight array.

    Attributes:
        scale: integers per float unit of weight.
        exponent: of the accumulated sum.
        levels: number of different values in use, of the `2^weight_bits` of the grid.
        largest: largest magnitude in use, of 256.
        clipped: weights beyond the ends of the grid by more than half a grid step.
        zeroed: non-zero weights rounded to zero; `zeroed_fraction` of all non-zero weights.
        emptied: target neurons or channels that lost all their weights.
        max_error, rms_error: in float units of the folded weights; float32 noise does not count.
        sqnr_db: signal power over rounding error power; infinite if rounding changed nothing.
    """

    name: str
    weights: int
    weight_bits: int
    scale: float
    exponent: int
    levels: int
    largest: int
    clipped: int
    clipped_fraction: float
    zeroed: int
    zeroed_fraction: float
    emptied: int
    max_error: float
    rms_error: float
    sqnr_db: float


@dataclass(frozen=True, slots=True)
class Activity:
    """Activity of a spiking population on the calibration samples, in both complete networks.

    Attributes:
        float_spikes, spikes: total number of spikes, in floats and in integers.
        float_silent, silent: neurons that never fire.
        silenced: neurons that fire in the float network but not in the integer network.
        float_rate, rate: spikes per neuron and step.
        float_peak: highest membrane in the float network, in units of the threshold.
        ties: neuron-steps in which the membrane equals the threshold in the float network.
        spike_mismatches: neuron-steps in which the spike differs from the float network's, with the
            population run alone on the spikes of its rounded sources.
    """

    float_spikes: int
    spikes: int
    float_silent: int
    silent: int
    silenced: int
    float_rate: float
    rate: float
    float_peak: float
    ties: int
    spike_mismatches: int


@dataclass(frozen=True, slots=True)
class PopulationReport:
    """Rounding of one population, and its results on the calibration samples.

    Attributes:
        scale: weight units per float membrane unit.
        scales_tried: number of scales tried; 1 if nothing is lost or an input fixes the scale.
        reach: end of the grid as a fraction of the largest weight; 1 clips nothing.
        lossless: no weight, bias, threshold or start had to be rounded.
        threshold: float, None for a population that only integrates.
        threshold_error: relative; in whole weight units v > vth is v >= vth + 1, and the closer of
            the two counts.
        decay_u, decay_v: float fractions lost per step, next to their integers in 1/4096; of the
            neuron with the largest error, if they differ.
        decay_u_error, decay_v_error: absolute errors of these fractions.
        bias_max_error: in float membrane units, without `tie_bias`.
        tie_bias: offset added to the bias, in float membrane units, so that membranes at the
            threshold compare as in the float network.
        bias_clipped: mantissas at the end of their range because the bias was out of range.
        v_init: v at the start of every sample, in chip units.
        start_error: of that start, in float membrane units, without the unit of v_init by which
            membranes at the threshold fire.
        activation_bound: largest |sum| of inputs that weights and input ranges allow, in weight
            units; below 2^17 = 131072 u cannot wrap within a step.
        sum_bound: largest |sum| of the inputs of one step, in weight units.
        u_peak, v_peak: largest magnitudes on the calibration samples, as fractions of the range.
        saturated: neuron-steps on the calibration samples in which v was at its limit.
        rms_error: of the spike count per neuron and sample (or of the final membrane, in float
            units) against the float network, run alone on the spikes of its rounded sources.
        relative_error: rms_error / rms of the float output.
        float_mean: mean of that spike count (or |membrane|) in the float network.
        activity: None for a population that only integrates.
    """

    name: str
    neurons: int
    scale: float
    scales_tried: int
    reach: float
    lossless: bool
    threshold: float | None
    vth: int
    threshold_error: float
    decay_u: float
    decay_u_int: int
    decay_u_error: float
    decay_v: float
    decay_v_int: int
    decay_v_error: float
    bias_exponent: int
    bias_max_error: float
    tie_bias: float
    bias_clipped: int
    v_init: int
    start_error: float
    activation_bound: int
    sum_bound: int
    u_peak: float
    v_peak: float
    saturated: int
    rms_error: float
    relative_error: float
    float_mean: float
    activity: Activity | None


@dataclass(frozen=True, slots=True)
class InputReport:
    """Rounding of the calibration samples of an input, with errors in its float units.

    Attributes:
        clipped: values beyond the declared range that were clipped, as requested.
        coding: how its values are sent.
        levels: number of different values.
        lines: for each value, more than one for binary digits.
    """

    name: str
    scale: float
    max_error: float
    rms_error: float
    clipped: int
    coding: str
    levels: int
    lines: int


@dataclass(frozen=True, slots=True)
class TargetChange:
    """A number of the report that differs because of the target.

    Attributes:
        part: such as "population 'lif'".
        quantity: name of the number in the report of the part.
        without, kept: without the target, and for it.
    """

    part: str
    quantity: str
    without: float | None
    kept: float | None


@dataclass(frozen=True, slots=True)
class TargetConstraint:
    """A constraint that changed something, and the network quantized without this one.

    Attributes:
        constraint: in words.
        agreement_without, accuracy_without: of the network that keeps to all others.
    """

    constraint: str
    agreement_without: float
    accuracy_without: float | None


@dataclass(frozen=True, slots=True)
class TargetReport:
    """What it costs to keep to a target, measured on the calibration samples.

    Accuracies are None if no labels were given.

    Attributes:
        name: of the target.
        predictions_without: `predictions` of the same network quantized without the target.
        agreement_without: `agreement` of that network.
        changes: numbers that the target changed, and the errors and spike counts that follow.
        constraints: those that changed something.
        accuracy_float: of the float network.
        accuracy, accuracy_without: quantized for the target, and without it.
    """

    name: str
    agreement_without: float
    predictions_without: Agreement
    changes: tuple[TargetChange, ...]
    constraints: tuple[TargetConstraint, ...] = ()
    accuracy_float: float | None = None
    accuracy: float | None = None
    accuracy_without: float | None = None


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """Rounding of all parts, and the agreement of the complete networks.

    Attributes:
        agreement: fraction of calibration samples with the same prediction in floats and integers,
            including silent and tied outputs, which predict the lowest index.
        predictions: the number of samples on which both networks decide, and of those on which
            they agree.
        summary: the same as a sentence.
        warnings: points that a user should check, one sentence each.
        rewrites: layers and nodes that were replaced by an exact equivalent, one sentence each.
        target: None if the network was not quantized for a target.
    """

    samples: int
    agreement: float
    predictions: Agreement
    summary: str
    inputs: tuple[InputReport, ...]
    populations: tuple[PopulationReport, ...]
    connections: tuple[ConnectionReport, ...]
    warnings: tuple[str, ...]
    rewrites: tuple[str, ...] = ()
    target: TargetReport | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers; an infinite ratio becomes None."""
        plain = dataclasses.asdict(self)
        for key, ratio in (("connections", "sqnr_db"), ("populations", "relative_error")):
            for part in plain[key]:
                if math.isinf(part[ratio]):
                    part[ratio] = None
        return plain


_COMPARED = {
    "input": ("scale", "levels", "lines"),
    "population": (
        *("scale", "vth", "sum_bound", "bias_exponent", "bias_max_error", "bias_clipped"),
        "rms_error",
    ),
    "connection": ("weight_bits", "clipped", "zeroed", "rms_error"),
}
"""What a target may change of each kind of part."""


def report_target(name: str, kept: QuantizationReport, free: QuantizationReport) -> TargetReport:
    """Compare a network quantized for a target with the same one quantized without it."""
    changes = []
    for kind, quantities in _COMPARED.items():
        for now, before in zip(getattr(kept, f"{kind}s"), getattr(free, f"{kind}s"), strict=True):
            for quantity in quantities:
                values = getattr(before, quantity), getattr(now, quantity)
                if values[0] != values[1]:
                    changes.append(TargetChange(f"{kind} '{now.name}'", quantity, *values))
    return TargetReport(name, free.agreement, free.predictions, tuple(changes))


def report_input(part: Input, values: NDArray[Any], clipped: int) -> InputReport:
    """Compare calibration samples, in float units, with the integers sent to the chip."""
    error = np.asarray(values * part.scale)  # one array for all that follows: it may be large
    np.clip(np.rint(error, out=error), part.low, part.high, out=error)
    error /= part.scale
    error -= values
    largest = float(np.abs(error, out=error).max())
    return InputReport(
        name=part.name,
        scale=part.scale,
        max_error=largest,
        rms_error=float(np.sqrt(np.mean(np.square(error, out=error)))),
        clipped=clipped,
        coding=str(part.coding),
        levels=part.high - part.low + 1,
        lines=part.digits,
    )


def report_connection(
    real: FloatConnection, made: WeightedConnection, scale: float
) -> ConnectionReport:
    """Compare one rounded connection with its float original."""
    error = (made.weight - settle(real.weight * scale)) / scale
    mixed = bool((real.weight < 0).any() and (real.weight > 0).any())
    _, _, step = LOIHI.weight_grid(mixed=mixed, bits=made.weight_bits)
    clipped = int((np.abs(error) * scale > step / 2 * (1 + 1e-9)).sum())
    noise = float(np.mean(error**2))
    signal = float(np.mean(real.weight**2))
    return ConnectionReport(
        name=real.name,
        weights=error.size,
        weight_bits=made.weight_bits,
        scale=scale,
        exponent=made.exponent,
        levels=int(np.unique(made.weight).size),
        largest=int(np.abs(made.weight.astype(np.int64)).max()),
        clipped=clipped,
        clipped_fraction=clipped / error.size,
        zeroed=int(zeroed(real.weight, made.weight).sum()),
        zeroed_fraction=zeroed_fraction(real.weight, made.weight),
        emptied=emptied_rows(real.weight, made.weight),
        max_error=float(np.abs(error).max()),
        rms_error=math.sqrt(noise),
        sqnr_db=10 * math.log10(signal / noise) if noise > 0 < signal else math.inf,
    )


def report_population(
    made: Calibrated,
    wanted: FloatActivity,
    lowered: LoweredNetwork,
    run: Run,
) -> PopulationReport:
    """Compare a rounded population with its float original.

    Args:
        run: of the complete integer network on the calibration samples.
    """
    trial, real, part = made.trial, made.trial.real, made.population
    unit = LOIHI.weight_unit * part.scale
    exact = unit * real.bias
    reach = np.array([LOIHI.bias_mantissa_min, LOIHI.bias_mantissa_max]) << part.bias_exponent
    half = 2**part.bias_exponent / 2
    moved = tie_bias(real, part)
    missed = 0.0
    if real.threshold is not None:
        scaled = real.threshold * part.scale
        missed = min((part.vth - scaled, part.vth + 1 - scaled), key=abs) / scaled
    keep_u, keep_v = _farthest(real.keep_u, part.decay_u), _farthest(real.keep_v, part.decay_v)
    return PopulationReport(
        name=part.name,
        neurons=part.size,
        scale=part.scale,
        scales_tried=made.tried,
        reach=trial.candidate.reach,
        lossless=trial.candidate.lossless and keeps_threshold(real, part),
        threshold=real.threshold,
        vth=part.vth,
        threshold_error=missed,
        decay_u=1 - keep_u,
        decay_u_int=part.decay_u,
        decay_u_error=part.decay_u / LOIHI.decay_unity - (1 - keep_u),
        decay_v=1 - keep_v,
        decay_v_int=part.decay_v,
        decay_v_error=part.decay_v / LOIHI.decay_unity - (1 - keep_v),
        bias_exponent=part.bias_exponent,
        bias_max_error=float(np.abs(part.bias_current / unit - real.bias - moved).max()),
        tie_bias=float(moved.flat[np.abs(moved).argmax()]),
        bias_clipped=int(((exact < reach[0] - half) | (exact > reach[1] + half)).sum()),
        v_init=part.v_init,
        start_error=start_error(real, part),
        activation_bound=activation_bound(made, lowered),
        sum_bound=step_bound(
            (c, *lowered.message_range(c.source)) for c in weighted_among(made.connections)
        ),
        u_peak=made.state.peak_u / LOIHI.state_wrap,
        v_peak=made.state.peak_v / LOIHI.state_max,
        saturated=made.state.saturated,
        rms_error=trial.rms_error,
        relative_error=relative_error(trial.rms_error, wanted.output),
        float_mean=float(np.abs(wanted.output).mean()),
        activity=(
            None
            if real.threshold is None
            else _activity(real, real.threshold, wanted, run, trial.spike_mismatches)
        ),
    )


def _farthest(keep: NDArray[np.float64] | float, decay: int) -> float:
    """The fraction kept by the neuron whose decay is rounded most."""
    each = np.ravel(keep)
    return float(each[np.abs(decay / LOIHI.decay_unity - (1 - each)).argmax()])


def _activity(
    real: FloatPopulation, threshold: float, wanted: FloatActivity, run: Run, spike_mismatches: int
) -> Activity:
    before = wanted.spikes.sum(axis=(0, 1), dtype=np.int64)
    after = run.spike_counts[real.name]
    visits = run.samples * run.steps * real.size
    return Activity(
        float_spikes=int(before.sum()),
        spikes=int(after.sum()),
        float_silent=int((before == 0).sum()),
        silent=int((after == 0).sum()),
        silenced=int(((before > 0) & (after == 0)).sum()),
        float_rate=int(before.sum()) / visits,
        rate=int(after.sum()) / visits,
        float_peak=wanted.highest / threshold,
        ties=wanted.ties,
        spike_mismatches=spike_mismatches,
    )


def activation_bound(made: Calibrated, lowered: LoweredNetwork) -> int:
    """Largest |u| in weight units that weights, input ranges and decay_u allow."""
    ranges = {i.name: (i.low, i.high) for i in lowered.inputs if i.coding is not Coding.SPIKES}
    total = 0.0
    for connection in weighted_among(made.connections):
        largest = largest_sum(connection, *ranges.get(connection.source, (0, 1)))
        total += largest * 2.0**connection.exponent
    decay = made.population.decay_u
    steps = lowered.steps if decay == 0 else min(lowered.steps, LOIHI.decay_unity / decay)
    return math.ceil(total * steps)
