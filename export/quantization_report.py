"""What rounding did to every part of a network, in figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeport import fixed_point as fx
from spikeport.export.calibrate import Calibrated, FloatAnswer
from spikeport.export.lowered import FloatConnection, FloatPopulation, LoweredNetwork
from spikeport.export.rounding import STATE_PER_WEIGHT, settle
from spikeport.network import BiasInjection, Coding, Input, Synapses
from spikeport.sample_values import COARSE, Change

CLIPPED_FRACTION = 0.01
"""Above this share of clipped weights a user should know."""

HALF_GRID = 128
"""Weights that stay below use less than their bits."""


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """Rounding of one weight array.

    Attributes:
        scale: integers per float unit of weight.
        exponent: of the accumulated sum.
        levels: different values in use, of the `2^weight_bits` the grid has.
        largest: largest magnitude in use, of 256.
        clipped: weights beyond the ends of the grid, by more than half a grid step.
        max_error, rms_error: in float units of the folded weights; float32 noise does not count.
        sqnr_db: signal power over rounding error power; infinite where nothing was lost.
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
    max_error: float
    rms_error: float
    sqnr_db: float


@dataclass(frozen=True, slots=True)
class PopulationReport:
    """Rounding of one population, and how it did on the calibration samples.

    Attributes:
        scale: weight units per float membrane unit.
        threshold: float, None for a population that only integrates.
        threshold_error: relative; v > vth is v >= vth + 1 on whole weight units, the nearer counts.
        decay_u, decay_v: float fractions lost per step, next to their integers in 1/4096.
        decay_u_error, decay_v_error: absolute errors of these fractions.
        bias_max_error: in float membrane units.
        bias_clipped: mantissas at the end of their range because the bias was beyond it.
        activation_bound: largest |sum| of inputs that weights and input ranges allow, in weight
            units; below 2^17 = 131072 u cannot wrap within a step.
        u_peak, v_peak: largest magnitudes on calibration, as fractions of the range.
        saturated: neuron-steps on calibration in which v stood at its limit.
        rms_error: of the spike count per neuron and sample (or of the final membrane, in float
            units) against the float network, alone on its rounded sources' spikes.
        float_mean: mean of that spike count (or |membrane|) in the float network.
    """

    name: str
    neurons: int
    scale: float
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
    bias_clipped: int
    activation_bound: int
    u_peak: float
    v_peak: float
    saturated: int
    rms_error: float
    float_mean: float


@dataclass(frozen=True, slots=True)
class InputReport:
    """Rounding of an input's calibration samples; errors in its float units.

    Attributes:
        clipped: values beyond the declared range, clipped because that was asked for.
    """

    name: str
    scale: float
    max_error: float
    rms_error: float
    clipped: int


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """All of the above, and how often the whole networks agree.

    Attributes:
        agreement: fraction of calibration samples with the same prediction in float and integers.
        warnings: what a user should look at, one sentence each.
    """

    samples: int
    agreement: float
    inputs: tuple[InputReport, ...]
    populations: tuple[PopulationReport, ...]
    connections: tuple[ConnectionReport, ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers; an infinite ratio becomes None."""
        plain = dataclasses.asdict(self)
        for part in plain["connections"]:
            if math.isinf(part["sqnr_db"]):
                part["sqnr_db"] = None
        return plain


def report_input(part: Input, values: NDArray[Any], clipped: int) -> InputReport:
    """Compare calibration samples in float units with what the chip is sent of them."""
    error = np.clip(np.rint(values * part.scale), part.low, part.high) / part.scale - values
    return InputReport(
        name=part.name,
        scale=part.scale,
        max_error=float(np.abs(error).max()),
        rms_error=float(np.sqrt(np.mean(error**2))),
        clipped=clipped,
    )


def report_connection(real: FloatConnection, made: Synapses, scale: float) -> ConnectionReport:
    """Compare one connection with what it was made of."""
    error = (made.weight - settle(real.weight * scale)) / scale
    mixed = bool((real.weight < 0).any() and (real.weight > 0).any())
    _, _, step = fx.weight_grid(mixed=mixed, bits=made.weight_bits)
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
        max_error=float(np.abs(error).max()),
        rms_error=math.sqrt(noise),
        sqnr_db=10 * math.log10(signal / noise) if noise > 0 < signal else math.inf,
    )


def report_population(
    real: FloatPopulation, made: Calibrated, wanted: FloatAnswer, lowered: LoweredNetwork
) -> PopulationReport:
    """Compare one population with what it was made of."""
    part = made.population
    exact = STATE_PER_WEIGHT * part.scale * real.bias
    reach = np.array([fx.BIAS_MANTISSA_MIN, fx.BIAS_MANTISSA_MAX]) << part.bias_exponent
    half = 2**part.bias_exponent / 2
    missed = 0.0
    if real.threshold is not None:
        scaled = real.threshold * part.scale
        missed = min((part.vth - scaled, part.vth + 1 - scaled), key=abs) / scaled
    return PopulationReport(
        name=part.name,
        neurons=part.size,
        scale=part.scale,
        threshold=real.threshold,
        vth=part.vth,
        threshold_error=missed,
        decay_u=1 - real.keep_u,
        decay_u_int=part.decay_u,
        decay_u_error=part.decay_u / fx.DECAY_UNITY - (1 - real.keep_u),
        decay_v=1 - real.keep_v,
        decay_v_int=part.decay_v,
        decay_v_error=part.decay_v / fx.DECAY_UNITY - (1 - real.keep_v),
        bias_exponent=part.bias_exponent,
        bias_max_error=float(np.abs(part.bias_current - exact).max())
        / (STATE_PER_WEIGHT * part.scale),
        bias_clipped=int(((exact < reach[0] - half) | (exact > reach[1] + half)).sum()),
        activation_bound=activation_bound(made, lowered),
        u_peak=made.peak_u / fx.STATE_WRAP,
        v_peak=made.peak_v / fx.STATE_MAX,
        saturated=made.saturated,
        rms_error=made.rms_error,
        float_mean=float(np.abs(wanted.answer).mean()),
    )


def activation_bound(made: Calibrated, lowered: LoweredNetwork) -> int:
    """Largest |u| in weight units that weights, input ranges and decay_u allow."""
    ranges = {i.name: (i.low, i.high) for i in lowered.inputs if i.coding is not Coding.SPIKES}
    total = 0
    for wire in made.connections:
        if isinstance(wire, BiasInjection):
            continue
        low, high = ranges.get(wire.source, (0, 1))
        area = int(np.prod(wire.pool.kernel_size)) if wire.pool else 1
        rows = wire.weight.astype(np.int64).reshape(wire.weight.shape[0], -1)
        up, down = np.maximum(rows, 0).sum(axis=1), np.minimum(rows, 0).sum(axis=1)
        most = np.maximum(np.abs(up * high + down * low), np.abs(up * low + down * high))
        total += area * int(most.max())
    decay = made.population.decay_u
    steps = lowered.steps if decay == 0 else min(lowered.steps, fx.DECAY_UNITY / decay)
    return math.ceil(total * steps)


def input_warnings(inputs: Sequence[InputReport], changes: Sequence[Change]) -> Iterator[str]:
    """What a user should know of the inputs: clipped samples, and integers that are coarse.

    Args:
        changes: what rounding to the chip's integers did to the samples.
    """
    for part, found in zip(inputs, changes, strict=True):
        if part.clipped:
            yield (
                f"input '{part.name}': {part.clipped} of {found.values} calibration values lie "
                "beyond the declared range and are clipped"
            )
        if found.rounding > COARSE:
            yield (
                f"input '{part.name}': rounding to multiples of 1/{part.scale:g} changes the "
                f"calibration samples by {100 * found.rounding:.0f} % (rms)"
            )


def warnings(
    lowered: LoweredNetwork,
    populations: tuple[PopulationReport, ...],
    connections: tuple[ConnectionReport, ...],
) -> tuple[str, ...]:
    """What a user should look at."""
    found = list(lowered.notes)
    for c in connections:
        if c.clipped_fraction > CLIPPED_FRACTION:
            found.append(f"connection '{c.name}': {c.clipped} of {c.weights} weights are clipped")
    for p in populations:
        names = {w.name for w in lowered.incoming(p.name) if w.weight.any()}
        wires = [c for c in connections if c.name in names]
        if wires and max(c.largest for c in wires) < HALF_GRID:
            found.append(
                f"population '{p.name}': scale {p.scale:g} is held down by its threshold, biases "
                f"or states; weights use {max(c.largest for c in wires)} of 256"
            )
        subject = f"population '{p.name}'"
        for which, lost, kept in (
            ("decay_u", p.decay_u, p.decay_u_int),
            ("decay_v", p.decay_v, p.decay_v_int),
        ):
            if lost > 0 and kept == 0:
                found.append(f"{subject}: {which} {lost:.2e} is below 1/4096 and vanishes")
        if p.activation_bound > fx.STATE_WRAP >> fx.ACTIVATION_SHIFT:
            found.append(
                f"{subject}: u can reach {p.activation_bound} weight units in the worst case and "
                f"wraps beyond {fx.STATE_WRAP >> fx.ACTIVATION_SHIFT}; "
                f"calibration reached {100 * p.u_peak:.0f} % of that"
            )
        if p.saturated:
            found.append(f"{subject}: v saturated in {p.saturated} neuron-steps of calibration")
        if p.bias_clipped:
            found.append(f"{subject}: {p.bias_clipped} biases are clipped to 13 bits")
    return tuple(found)
