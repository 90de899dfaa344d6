"""Split the chip's 24-bit sums between the precision of inputs and of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError, UnsupportedError
from spikeport.export.quantize.activity import FloatActivity
from spikeport.export.quantize.calibrate import calibrate
from spikeport.export.quantize.config import QuantizeConfig
from spikeport.export.quantize.connections import input_exponent
from spikeport.export.quantize.lowered import FloatConnection, FloatPopulation, LoweredNetwork
from spikeport.export.quantize.rounding import largest_scale, round_weights, settle
from spikeport.export.quantize.rounding_loss import coarse_share, zeroed_fraction
from spikeport.export.quantize.scales import (
    Candidate,
    candidates,
    largest_allowed,
    sum_limit,
)
from spikeport.export.quantize.trial import ChipSimulator
from spikeport.network import LOIHI, Coding, Input, is_mixed
from spikeport.runs import SampleSet, round_samples

COARSEST = 8
"""Minimum number of steps that an input keeps."""


def share_precision(
    lowered: LoweredNetwork,
    activity: Mapping[str, FloatActivity],
    floats: SampleSet,
    run_chip: ChipSimulator,
    config: QuantizeConfig,
) -> tuple[Input, ...]:
    """Reduce the precision of graded inputs where that lowers the calibration error.

    Sums of weights times inputs must fit in the chip's 24 bits, so wide inputs leave only small
    integers for the weights. An input with values up to X, multiplied by weights up to W in steps
    of d, is halved k times: W doubles k times as X halves, and at X 2^-k = W 2^k / d both lose
    equally, unless the grid of the weights ends before. This works for pixels; event counts, most
    of which are 1, would be lost. So both options are calibrated, and the one with the smaller
    error is kept. If outliers leave only a few integers for most weights, or the accumulator of a
    target limits their sums, every number of halvings is tried, because that frees precision.

    Args:
        activity: of the float network on these samples, per population.
        floats: calibration samples in float units.
    """
    chosen = lowered.inputs

    def error(part: Input, inputs: tuple[Input, ...]) -> float:
        readers = {
            connection.target
            for connection in lowered.connections
            if connection.source == part.name
        }
        first = [target for target in lowered.populations if target.name in readers]
        sent = round_samples(inputs, floats)
        network = replace(lowered, inputs=inputs, populations=tuple(first))
        try:
            made = calibrate(network, sent, activity, run_chip, config)
        except (
            InputError
        ):  # no scale fits; if that is true for every option, `calibrate` raises this again
            return math.inf
        return sum(found.trial.rms_error**2 for found in made)

    for part in lowered.inputs:
        if part.coding not in (Coding.GRADED, Coding.BINARY):
            continue
        met = _met(part, lowered, activity, config)
        halvings = {min((_halvings(part, one, activity, config) for one in met), default=0)}
        if config.search_wider and any(_starved(part, one, config) for one in met):
            halvings |= set(range(max(_reach(part) // COARSEST, 1).bit_length()))
        if any(_summed(lowered, one, config) for one in met):
            halvings |= set(range(_reach(part).bit_length()))
        if halvings == {0}:
            continue
        options = [chosen]
        for times in sorted(halvings - {0}):
            coarser = halved(part, times)
            options.append(tuple(coarser if own is part else own for own in chosen))
        errors = [error(part, option) for option in options]
        chosen = options[int(np.argmin(errors))]
    return chosen


def as_digits(part: Input, config: QuantizeConfig) -> Input:
    """An input of graded values as one of binary digits, halved until these fit the exponents.

    Raises:
        InputError: some of its values are negative.
    """
    if not part.graded:
        return part
    if part.low < 0:
        whose = f"spikes of {config.target} carry no value" if config.target else "it is sent so"
        raise UnsupportedError(
            f"input '{part.name}': its values {part.low}..{part.high} include negative ones, which "
            f"have no binary digits, and {whose}; give positive and negative parts as channels of "
            "their own, or add an offset to all values"
        )
    most = LOIHI.weight_exponent_max + 1
    fitting = halved(
        replace(part, low=0, coding=Coding.GRADED), max(part.high.bit_length() - most, 0)
    )
    return replace(fitting, high=min(fitting.high, (1 << most) - 1), coding=Coding.BINARY)


def halved(part: Input, times: int) -> Input:
    """An input of values in fewer steps; each halving of binary digits leaves one digit less."""
    if part.coding is Coding.BINARY and times:
        high = (1 << part.digits - times) - 1  # all steps of these digits: 16 becomes 15, not 8
        return replace(part, scale=part.scale * high / part.high, high=high)
    divisor = 2**times
    return replace(
        part,
        scale=part.scale / divisor,
        low=math.floor(part.low / divisor),
        high=math.ceil(part.high / divisor),
    )


def _reach(part: Input) -> int:
    return max(abs(part.low), abs(part.high))


@dataclass(frozen=True, slots=True, eq=False)
class _Met:
    """A connection from an input.

    Attributes:
        unclipped: the scale that clips nothing, if one fits.
        scaled: weights at this scale, before rounding, with their exponent.
        sum_limit: largest scale of the target by the sums of a step.
    """

    target: FloatPopulation
    connection: FloatConnection
    unclipped: Candidate | None
    scaled: NDArray[np.float64]
    sum_limit: float


def _met(
    part: Input,
    lowered: LoweredNetwork,
    activity: Mapping[str, FloatActivity],
    config: QuantizeConfig,
) -> list[_Met]:
    populations = {target.name: target for target in lowered.populations}
    found = []
    for connection in lowered.connections:
        if connection.source == part.name:
            target = populations[connection.target]
            fitting = candidates(
                lowered,
                target,
                peak_u=activity[connection.target].peak_u,
                peak_v=activity[connection.target].peak_v,
                config=replace(config, clip_fractions=(1.0,)),
            )
            sums = sum_limit(lowered, target, config)
            unclipped = fitting[0] if fitting else None
            unit = unclipped.scale / 2.0**unclipped.exponent if unclipped else 0.0
            scaled = connection.weight * (unit / part.scale)
            exponent = input_exponent(lowered, connection, scaled, config)
            found.append(_Met(target, connection, unclipped, scaled / 2.0**exponent, sums))
    return found


def _summed(lowered: LoweredNetwork, met: _Met, config: QuantizeConfig) -> bool:
    """Whether the accumulator of a target limits the scale, rather than the grid of the weights."""
    weights = [c.weight / lowered.source_scale(c.source) for c in lowered.incoming(met.target.name)]
    return met.sum_limit < min(largest_scale(weight, config) for weight in weights)


def _starved(part: Input, met: _Met, config: QuantizeConfig) -> bool:
    """Whether its largest weights leave too few integers for most others."""
    if met.unclipped is None:
        return True
    weight = met.connection.weight
    rounded = round_weights(settle(met.scaled), config)
    return zeroed_fraction(weight, rounded) > coarse_share(config.weight_bits)


def _halvings(
    part: Input, met: _Met, activity: Mapping[str, FloatActivity], config: QuantizeConfig
) -> int:
    """The number of halvings of the input that this connection prefers."""
    if met.unclipped is None:
        return 0
    scaled = settle(met.scaled)
    rounded = round_weights(scaled, config)
    output = activity[met.target.name]
    bound = largest_allowed(met.target, config, peak_u=output.peak_u, peak_v=output.peak_v)
    bound = min(bound, met.sum_limit)
    if 2 * met.unclipped.scale <= bound or np.array_equal(rounded, scaled):
        return 0
    _, high, step = LOIHI.weight_grid(mixed=is_mixed(rounded), bits=config.weight_bits)
    largest = float(np.abs(scaled).max())
    even = math.log2(max(_reach(part) * step / largest, 1)) / 2
    room = math.log2(max(2 * high / largest, 1))  # large ones may be clipped by half
    return min(round(even), math.floor(room), _reach(part).bit_length() - 1)
