"""Round real parameters to chip integers, given the scale of a population.

The scale S is the number of weight units (v >> 6) per unit of the float membrane; a state v in
chip units is 64 S times the float one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport.export.quantize.config import QuantizeConfig
from spikeport.export.quantize.lowered import FloatPopulation
from spikeport.network import LOIHI, Population, Reset, is_mixed

Array = NDArray[np.float64]
_NOISE = 4e-7
"""Relative error of parameters that went through float32: closer than this counts as equal. It
covers the two float32 steps by which an export moves thresholds off their ties."""


def settle(values: ArrayLike) -> Array:
    """Round numbers that are whole up to float32 noise; others are unchanged."""
    exact = np.asarray(values, np.float64)
    whole = np.rint(exact)
    return np.where(np.abs(exact - whole) <= _NOISE * np.maximum(np.abs(exact), 1), whole, exact)


def round_decays(keep: ArrayLike) -> NDArray[np.int64]:
    """Decays in 1/4096 of states that keep the fractions `keep` per step."""
    return np.rint(LOIHI.decay_unity * (1 - np.asarray(keep, np.float64))).astype(np.int64)


def round_decay(keep: ArrayLike) -> int:
    """The decay of a population, whose neurons have the same one after rounding."""
    return int(round_decays(keep).flat[0])


def round_weights(scaled: Array, config: QuantizeConfig) -> NDArray[np.int16]:
    """Nearest values on the legal grid, clipped to its ends.

    The grid depends on the signs present *after* rounding: if all weights of one sign round to
    zero, the others are rounded again on the finer grid of a single sign.

    Args:
        scaled: weights in weight units.
    """
    mixed = bool((scaled < 0).any() and (scaled > 0).any())
    rounded = _nearest(scaled, mixed, config)
    if mixed and not is_mixed(rounded):
        rounded = _nearest(scaled, False, config)
    return rounded


def round_layer(
    scaled: Sequence[Array], config: QuantizeConfig, *, dense: bool
) -> list[tuple[NDArray[np.int16], int]]:
    """Weights of all connections into a population as integers, each with its number of bits.

    If the target does not keep the nearest integers of dense matrices, those of a matrix of one
    sign are chosen from the grid of both signs, which is one bit coarser, and the largest integers
    of inhibitory matrices are moved by a step or two. What is then still not kept is returned as it
    is; the target's check refuses it.
    """
    keeps = config.constraints.keeps
    first = [(round_weights(one, config), config.weight_bits) for one in scaled]
    if not dense or keeps(*(weight for weight, _ in first)):
        return first
    bits = min(config.weight_bits, LOIHI.weight_bits - 1)
    narrow = replace(config, weight_bits=bits)
    coarse = [
        (weight, own) if is_mixed(weight) else (round_weights(one, narrow), bits)
        for one, (weight, own) in zip(scaled, first, strict=True)
    ]
    for found in (first, coarse):
        for steps in (0, -1, 1, 2):
            tried = [(_end_moved(weight, own, steps), own) for weight, own in found]
            if keeps(*(weight for weight, _ in tried)):
                return tried
    return first


def _end_moved(weight: NDArray[np.int16], bits: int, steps: int) -> NDArray[np.int16]:
    """An inhibitory matrix with its lowest value moved away from zero; others are unchanged."""
    low = int(weight.min())
    if weight.max() > 0 or low == 0:
        return weight
    _, high, step = LOIHI.weight_grid(mixed=False, bits=bits)
    return np.where(weight == low, max(low - steps * step, -high), weight).astype(np.int16)


def _nearest(scaled: Array, mixed: bool, config: QuantizeConfig) -> NDArray[np.int16]:
    low, high, step = LOIHI.weight_grid(mixed=mixed, bits=config.weight_bits)
    sign = -1 if not mixed and -scaled.min() > scaled.max() else 1
    nearest = sign * np.clip(np.rint(sign * scaled / step) * step, low, high)
    return np.asarray(nearest, np.int16)


def largest_scale(weight: Array, config: QuantizeConfig) -> float:
    """Largest factor that leaves `weight` unclipped; infinite if all weights are zero."""
    mixed = bool((weight < 0).any() and (weight > 0).any())
    low, high, _ = LOIHI.weight_grid(mixed=mixed, bits=config.weight_bits)
    down = -low if mixed else high
    with np.errstate(divide="ignore", over="ignore"):
        return float(min(high / np.maximum(weight.max(), 0), down / np.maximum(-weight.min(), 0)))


def weight_exponent(scaled: Array, config: QuantizeConfig, lowest: int = 0) -> int:
    """Smallest exponent from `lowest` on at which no weight is clipped, or the largest."""
    least = np.log2(1 / largest_scale(scaled, config)) if scaled.any() else 0.0
    return int(np.clip(np.ceil(least), lowest, LOIHI.weight_exponent_max))


def bias_exponent(state: Array, config: QuantizeConfig) -> int:
    """Smallest exponent at which 13-bit mantissas can hold a bias in chip units, or the largest."""
    allowed = config.constraints.bias_exponents
    return LOIHI.bias_exponent_for(float(np.abs(state).max()), allowed)


def round_bias(state: Array, exponent: int) -> NDArray[np.int32]:
    """Nearest mantissas for a bias in chip units, clipped to 13 bits."""
    mantissa = np.rint(state / 2**exponent)
    return np.asarray(np.clip(mantissa, LOIHI.bias_mantissa_min, LOIHI.bias_mantissa_max), np.int32)


def round_threshold(scaled: float, *, strict: bool, whole: bool) -> int:
    """vth for a real rule v > scaled (strict) or v >= scaled, in weight units.

    The chip spikes if v > vth << 6. The largest state that must stay silent is floor(64 scaled), or
    ceil(64 scaled) - 1 if equality spikes too. If v only takes whole weight units, its floor to
    whole units is exact: v >= x becomes vth = ceil(x) - 1. If v also takes fractions (because of a
    decay or a bias), no vth is exact and the nearest one is used.
    """
    state = LOIHI.weight_unit * float(settle(scaled))
    silent = np.floor(state) if strict else np.ceil(state) - 1
    units = silent / LOIHI.weight_unit
    return int(np.floor(units) if whole else np.rint(units))


@dataclass(frozen=True, slots=True)
class _Firing:
    """How a population fires: `vth`, an offset to its bias mantissa, and its initial v."""

    vth: int
    offset: int = 0
    v_init: int = 0


def _firing(
    scaled: float,
    *,
    reset: Reset,
    strict: bool,
    decay_v: int,
    exponent: int,
    whole: bool,
    ties: int,
) -> _Firing:
    """Express v > scaled (strict) or v >= scaled as the chip's v > vth << 6.

    If v takes whole units only, v >= N is v > N - 1. Otherwise v is raised slightly: once, by its
    initial value, if there is no leak and a spike subtracts; else by a bias at every step, whose
    effect a leak limits to bias / (1 - keep). If that limit is a whole unit or more, or if there is
    no leak and a spike resets to zero, the threshold is lowered by one unit instead. With a bias of
    1, ties fire exactly as long as the leak is exact: if the true state E stays on a grid under the
    leak, the chip has E + e with 1 <= e <= 1 / (1 - keep), because floor(keep (E + e)) + 1 does
    too. A rounded leak needs a larger bias; for `>` the bias is negative.
    """
    subtract = reset is Reset.SUBTRACT and decay_v < LOIHI.decay_unity
    if whole and not subtract:
        return _Firing(round_threshold(scaled, strict=strict, whole=True))
    nearest = round_threshold(scaled, strict=strict or subtract, whole=False)
    offset = -(-ties >> exponent)
    if strict:
        return _Firing(nearest, -offset if decay_v else 0)
    if subtract and decay_v == 0:
        return _Firing(nearest, v_init=int(whole or ties > 0))
    drift = (offset << exponent) * LOIHI.decay_unity / decay_v if decay_v else np.inf
    if ties and not subtract and drift >= LOIHI.weight_unit:
        return _Firing(int(np.ceil(settle(scaled))) - 1)
    return _Firing(nearest, offset)


def float_start(part: FloatPopulation, scale: float, reset: Reset) -> float:
    """v before the first step, in chip units.

    With reset by subtraction a start is a fraction of the threshold: it keeps that fraction of the
    vth that is subtracted, so that half a threshold stays half of it if vth had to be rounded.
    """
    start = part.start
    if reset is Reset.SUBTRACT and part.threshold is not None:
        rounded = round_threshold(scale * part.threshold, strict=True, whole=False)
        start *= rounded / (scale * part.threshold)
    return float(settle(LOIHI.weight_unit * scale * start))


def tie_bias(part: FloatPopulation, made: Population) -> Array:
    """The bias that rounding added to a population because of ties, in float membrane units."""
    unit = LOIHI.weight_unit * made.scale
    plain = round_bias(settle(unit * part.bias), made.bias_exponent) << made.bias_exponent
    return np.asarray((made.bias_current - plain) / unit, np.float64)


def start_error(part: FloatPopulation, made: Population) -> float:
    """Error of v before the first step, in float membrane units, without what ties need."""
    unit = LOIHI.weight_unit * made.scale
    rounded = np.rint(float_start(part, made.scale, made.reset))
    return float(rounded - settle(unit * part.start)) / unit


def keeps_threshold(part: FloatPopulation, made: Population) -> bool:
    """Whether vth is the float threshold: it is, or v takes whole weight units only.

    That presumes weights and biases of whole weight units.
    """
    leaks = {made.decay_u, made.decay_v} - {0, LOIHI.decay_unity}
    if part.threshold is None or not leaks:
        return True
    return made.vth == float(settle(part.threshold * made.scale))


def round_population(
    part: FloatPopulation,
    scale: float,
    *,
    reset: Reset,
    strict: bool,
    config: QuantizeConfig,
    ties: int = 0,
    injected_exponent: int | None = None,
    fractions: bool = False,
) -> Population:
    """Round a population to chip integers.

    Reset by subtraction subtracts vth, so in that case vth must be the rounded threshold itself and
    not one less. See `_firing` for v >= threshold, and `float_start` for where v starts.

    Args:
        ties: bias, in units of v per step, that moves membranes at the threshold to the side
            required by the comparison; 0 if no membrane equals the threshold.
        injected_exponent: exponent of the bias, if an injected input determines it.
        fractions: whether sums of weights take fractions of weight units.
    """
    state = settle(LOIHI.weight_unit * scale * part.bias)
    injected = injected_exponent is not None
    exponent = bias_exponent(state, config) if injected_exponent is None else injected_exponent
    bias = round_bias(state, exponent)
    decay_u, decay_v = round_decay(part.keep_u), round_decay(part.keep_v)
    unit = LOIHI.weight_unit >> min(exponent, LOIHI.activation_shift)
    whole = {decay_u, decay_v} <= {0, LOIHI.decay_unity} and not (bias % unit).any()
    start = int(np.rint(float_start(part, scale, reset)))
    whole = (
        whole and not fractions and (not injected or unit == 1) and start % LOIHI.weight_unit == 0
    )
    if part.threshold is None:
        firing = _Firing(LOIHI.vth_max)
    else:
        firing = _firing(
            scale * part.threshold,
            reset=reset,
            strict=strict,
            decay_v=decay_v,
            exponent=exponent,
            whole=whole,
            ties=ties,
        )
    return Population(
        name=part.name,
        shape=part.shape,
        vth=firing.vth,
        decay_u=decay_u,
        decay_v=decay_v,
        bias=np.clip(bias + firing.offset, config.constraints.bias_min, LOIHI.bias_mantissa_max),
        bias_exponent=exponent,
        reset=reset,
        v_init=start + firing.v_init,
        scale=scale,
    )
