"""Room that graded inputs and the weights behind them share in the chip's 24-bit sums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from spikeport import fixed_point as fx
from spikeport.export.calibrate import ChipSimulator, FloatAnswer, calibrate
from spikeport.export.lowered import LoweredNetwork
from spikeport.export.rounding import round_weights, settle
from spikeport.export.scales import candidates, largest_allowed
from spikeport.network import Coding, Input
from spikeport.samples import SampleSet, round_samples


def shared_room(
    lowered: LoweredNetwork,
    answers: Mapping[str, FloatAnswer],
    floats: SampleSet,
    run_chip: ChipSimulator,
    *,
    weight_bits: int,
    clip_fractions: tuple[float, ...],
) -> tuple[Input, ...]:
    """The inputs, graded ones coarser where the populations behind them then come nearer.

    Sums of weights times inputs must fit the chip's 24 bits, so wide inputs leave small integers to
    the weights. An input that reaches up to X, before weights of up to W in steps of d, is halved
    k times: W doubles k times as X halves, and X 2^-k = W 2^k / d is where both lose alike, unless
    the weights' grid ends before. That is so of pixels; event counts, most of which are one, lose
    all. So both ways are calibrated, and the one with the smaller error is kept.

    Args:
        answers: of the float network, per population.
        floats: calibration samples in float units.
    """
    chosen = lowered.inputs

    def error(part: Input, inputs: tuple[Input, ...]) -> float:
        behind = {wire.target for wire in lowered.connections if wire.source == part.name}
        first = [target for target in lowered.populations if target.name in behind]
        sent = round_samples(inputs, floats)
        network = replace(lowered, inputs=inputs, populations=tuple(first))
        made = calibrate(
            network,
            sent,
            answers,
            run_chip,
            weight_bits=weight_bits,
            clip_fractions=clip_fractions,
        )
        return sum(found.rms_error**2 for found in made)

    for part in lowered.inputs:
        coarser = _coarser(part, lowered, answers, weight_bits)
        if coarser is part:
            continue
        tried = tuple(coarser if own is part else own for own in chosen)
        if error(part, tried) < error(part, chosen):
            chosen = tried
    return chosen


def _coarser(
    part: Input, lowered: LoweredNetwork, answers: Mapping[str, FloatAnswer], bits: int
) -> Input:
    if part.coding is not Coding.GRADED:
        return part
    divisor = 2 ** min(_halvings(part, lowered, answers, bits), default=0)
    if divisor == 1:
        return part
    return replace(
        part,
        scale=part.scale / divisor,
        low=math.floor(part.low / divisor),
        high=math.ceil(part.high / divisor),
    )


def _halvings(
    part: Input, lowered: LoweredNetwork, answers: Mapping[str, FloatAnswer], bits: int
) -> Iterator[int]:
    """How often each connection would have the input halved."""
    reach = max(abs(part.low), abs(part.high))
    populations = {target.name: target for target in lowered.populations}
    for wire in lowered.connections:
        if wire.source != part.name:
            continue
        target = populations[wire.target]
        peaks = {"peak_u": answers[wire.target].peak_u, "peak_v": answers[wire.target].peak_v}
        first = candidates(lowered, target, **peaks, weight_bits=bits, clip_fractions=(1.0,))[0]
        scaled = settle(wire.weight * (first.scale / part.scale))
        rounded = round_weights(scaled, bits)
        roomy = 2 * first.scale <= largest_allowed(target, **peaks)
        if roomy or np.array_equal(rounded, scaled):
            yield 0
            continue
        _, high, step = fx.weight_grid(mixed=fx.is_mixed(rounded), bits=bits)
        largest = float(np.abs(scaled).max())
        even = math.log2(max(reach * step / largest, 1)) / 2
        room = math.log2(max(2 * high / largest, 1))  # large ones may be clipped by half
        yield min(round(even), math.floor(room))
