"""Rounding real parameters to chip integers, given the scale of a population.

The scale S is the number of weight units (v >> 6) per unit of the float membrane; a state v in
chip units is 64 S times the float one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeport import fixed_point as fx
from spikeport.export.lowered import FloatConnection, FloatPopulation
from spikeport.network import Conv1d, Conv2d, Dense, Population, Reset, Synapses

Array = NDArray[np.float64]
STATE_PER_WEIGHT = 1 << fx.ACTIVATION_SHIFT
_NOISE = 2e-7
"""Relative error of parameters that went through float32: closer than this counts as equal."""


def settle(values: ArrayLike) -> Array:
    """Numbers that are whole but for float32 noise, made whole; others unchanged."""
    exact = np.asarray(values, np.float64)
    whole = np.rint(exact)
    return np.where(np.abs(exact - whole) <= _NOISE * np.maximum(np.abs(exact), 1), whole, exact)


def round_decay(keep: float) -> int:
    """Decay in 1/4096 of a state that keeps the fraction `keep` per step."""
    return int(np.rint(fx.DECAY_UNITY * (1 - keep)))


def round_weights(scaled: Array, bits: int) -> NDArray[np.int16]:
    """Nearest values on the legal grid, clipped to its ends.

    The grid depends on the signs present *after* rounding: where all weights of one sign round to
    zero, the rest is rounded again on the finer grid of a single sign.

    Args:
        scaled: weights in weight units.
    """
    mixed = bool((scaled < 0).any() and (scaled > 0).any())
    rounded = _nearest(scaled, mixed, bits)
    if mixed and not fx.is_mixed(rounded):
        rounded = _nearest(scaled, False, bits)
    return rounded


def _nearest(scaled: Array, mixed: bool, bits: int) -> NDArray[np.int16]:
    low, high, step = fx.weight_grid(mixed=mixed, bits=bits)
    sign = -1 if not mixed and -scaled.min() > scaled.max() else 1
    nearest = sign * np.clip(np.rint(sign * scaled / step) * step, low, high)
    return np.asarray(nearest, np.int16)


def largest_scale(weight: Array, bits: int) -> float:
    """Largest factor that leaves `weight` unclipped; infinite where all weights are zero."""
    mixed = bool((weight < 0).any() and (weight > 0).any())
    low, high, _ = fx.weight_grid(mixed=mixed, bits=bits)
    down = -low if mixed else high
    with np.errstate(divide="ignore", over="ignore"):
        return float(min(high / np.maximum(weight.max(), 0), down / np.maximum(-weight.min(), 0)))


def bias_exponent(state: Array) -> int:
    """Smallest exponent at which 13-bit mantissas hold a bias in chip units, at most 7."""
    return fx.bias_exponent(float(np.abs(state).max()))


def round_bias(state: Array, exponent: int) -> NDArray[np.int32]:
    """Nearest mantissas for a bias in chip units, clipped to 13 bits."""
    mantissa = np.rint(state / 2**exponent)
    return np.asarray(np.clip(mantissa, fx.BIAS_MANTISSA_MIN, fx.BIAS_MANTISSA_MAX), np.int32)


def round_threshold(scaled: float, *, strict: bool, whole: bool) -> int:
    """vth for a real rule v > scaled (strict) or v >= scaled, in weight units.

    The chip spikes where v > vth << 6. The largest state that must stay silent is
    floor(64 scaled), or ceil(64 scaled) - 1 where equality spikes too. If v only takes whole
    weight units, its floor to whole units is exact: v >= x becomes vth = ceil(x) - 1. If v also
    takes fractions (a decay or a bias leaves them), no vth is exact and the nearest one is taken.
    """
    state = STATE_PER_WEIGHT * float(settle(scaled))
    silent = np.floor(state) if strict else np.ceil(state) - 1
    units = silent / STATE_PER_WEIGHT
    return int(np.floor(units) if whole else np.rint(units))


def round_population(
    part: FloatPopulation,
    scale: float,
    *,
    reset: Reset,
    strict: bool,
    injected_exponent: int | None = None,
) -> Population:
    """A population in chip integers.

    Reset by subtraction takes vth away, so there vth must be the threshold itself and not one
    less: vth = round(64 S threshold / 64). `v >= threshold` is then restored where v keeps whole
    units for ever, by starting 1/64 of a unit above zero; elsewhere a tie does not spike.

    Args:
        injected_exponent: of the bias, where an injected input dictates it.
    """
    state = settle(STATE_PER_WEIGHT * scale * part.bias)
    injected = injected_exponent is not None
    exponent = bias_exponent(state) if injected_exponent is None else injected_exponent
    bias = round_bias(state, exponent)
    decay_u, decay_v = round_decay(part.keep_u), round_decay(part.keep_v)
    unit = STATE_PER_WEIGHT >> min(exponent, fx.ACTIVATION_SHIFT)
    whole = {decay_u, decay_v} <= {0, fx.DECAY_UNITY} and not (bias % unit).any()
    whole = whole and (not injected or unit == 1)
    v_init = 0
    if part.threshold is None:
        vth = fx.VTH_MAX
    elif reset is Reset.SUBTRACT and decay_v < fx.DECAY_UNITY:
        vth = round(scale * part.threshold)
        v_init = int(whole and decay_v == 0 and not strict)
    else:
        vth = round_threshold(scale * part.threshold, strict=strict, whole=whole)
    return Population(
        name=part.name,
        shape=part.shape,
        vth=vth,
        decay_u=decay_u,
        decay_v=decay_v,
        bias=bias,
        bias_exponent=exponent,
        reset=reset,
        v_init=v_init,
        scale=scale,
    )


def round_connection(part: FloatConnection, scale: float, bits: int) -> Synapses:
    """A connection in chip integers; `scale` is weight units per unit of weight."""
    return integer_connection(part, round_weights(part.weight * scale, bits), bits)


def integer_connection(
    part: FloatConnection, weight: NDArray[np.int16], bits: int = fx.WEIGHT_BITS
) -> Synapses:
    """The same map with integer weights."""
    if weight.ndim == 2:
        return Dense(
            source=part.source,
            target=part.target,
            weight=weight,
            weight_bits=bits,
            delay=part.delay,
            pool=part.pool,
            name=part.name,
        )
    if weight.ndim == 3:
        return Conv1d(
            source=part.source,
            target=part.target,
            weight=weight,
            stride=part.stride[1],
            padding=part.padding[1],
            dilation=part.dilation[1],
            groups=part.groups,
            weight_bits=bits,
            delay=part.delay,
            name=part.name,
        )
    return Conv2d(
        source=part.source,
        target=part.target,
        weight=weight,
        stride=part.stride,
        padding=part.padding,
        dilation=part.dilation,
        groups=part.groups,
        weight_bits=bits,
        delay=part.delay,
        pool=part.pool,
        name=part.name,
    )
