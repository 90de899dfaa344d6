"""Candidate scales of a population: the largest that fits, some that clip, or a lossless one.

Mild clipping is always tried. Outliers need more: one weight 300 times larger than the others
leaves them only a few integers, and clipping it to a hundredth gives a better result. Such scales
are tried only if the others have large errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import InputError, ValueRangeError
from spikeport.export.quantize.config import QuantizeConfig
from spikeport.export.quantize.connections import all_dense, round_biases
from spikeport.export.quantize.lowered import FloatInjection, FloatPopulation, LoweredNetwork, Role
from spikeport.export.quantize.rounding import (
    bias_exponent,
    largest_scale,
    round_bias,
    round_decay,
    round_layer,
    round_population,
    settle,
)
from spikeport.network import LOIHI, Reset, largest_total, products

Array = NDArray[np.float64]
_HALF_RANGE = 1 << (LOIHI.state_bits - 2 - LOIHI.activation_shift)
"""Half of the range of u and v, in weight units: a margin for samples not seen in calibration."""
_SILENT_WEIGHTS = 256.0
"""Threshold in weight units of a population whose weights are all zero."""
_FINER = 1.5
"""Largest ratio of consecutive scales in the wider search."""
_MOST = 40
"""Largest number of scales in the wider search."""
_BELOW = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7)
"""Scales to try where the sums of a step limit them, as fractions of that limit."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A scale to try.

    Attributes:
        injected_exponent: exponent of the bias, if an injected input determines it.
        exponent: exponent of weights of neurons; the weights are 2^exponent times coarser.
        ties: see `rounding.round_population`.
        lossless: only leaks are rounded.
        reach: fraction of the largest weight that the grid covers; 1 if no weight is clipped.
    """

    scale: float
    injected_exponent: int | None = None
    exponent: int = 0
    ties: int = 0
    lossless: bool = False
    reach: float = 1.0


def candidates(
    lowered: LoweredNetwork,
    part: FloatPopulation,
    *,
    peak_u: float,
    peak_v: float,
    config: QuantizeConfig,
    ties: bool = False,
) -> tuple[Candidate, ...]:
    """Scales for `part`, best guess first; empty if each puts the threshold below one unit.

    If some scale puts all weights, biases, the threshold and the start on the chip's grid, the best
    such scale is the only one (see `_lossless`), because nothing is lost. Otherwise they are
    `fit / f` for each clip fraction f, where `fit` is the largest scale that clips no weight,
    lowered to a whole threshold (the threshold is then exact) and limited by the ranges of vth,
    bias, u and v.

    Args:
        ties: whether membranes equalled the threshold in calibration; each scale is then tried
            with and without a bias that keeps them on the correct side.

    Raises:
        InputError: no scale fits an injected input; the message names the two.
    """
    if part.role is Role.CONSTANT:
        return (Candidate(_SILENT_WEIGHTS, lossless=True),)
    bound = largest_allowed(part, config, peak_u=peak_u, peak_v=peak_v)
    for biases in _filtered_biases(lowered, part):
        bound = min(bound, largest_scale(biases, config) * 2**LOIHI.weight_exponent_max)
    weights = _weights(lowered, part)
    fit = _fit(weights, config)
    if math.isinf(fit):
        fit = _SILENT_WEIGHTS / (part.threshold or max(peak_v, 1e-9))
    sums = sum_limit(lowered, part, config)
    bound = min(bound, sums)
    injected = lowered.injected(part.name)
    if injected:
        most = min(fit, bound)
        found: tuple[Candidate, ...] = (_dictated(lowered, part, injected[0], most, config),)
    elif lossless := _lossless(lowered, part, fit, bound, config):
        first = replace(lossless, ties=int(not lowered.strict))
        missed = _rounding_of_leaks(part, lossless.scale, peak_u, peak_v) if ties else 0
        powers = (1 << k for k in range(missed.bit_length()))
        more = [replace(first, ties=n) for n in powers if n > first.ties]
        plain = replace(first, ties=0, lossless=False)
        if _vth(lowered, part, plain, config) != _vth(lowered, part, first, config):
            more.append(plain)  # lowering vth moves more than ties
        return first, *more
    else:
        scales = [min(fit / f, bound) for f in config.fractions]
        if bound == sums < fit:
            scales += [bound * f for f in _BELOW]
        found = _whole(part, fit, scales)
    return (*found, *(replace(one, ties=1) for one in found if ties and not lowered.strict))


def _vth(
    lowered: LoweredNetwork, part: FloatPopulation, one: Candidate, config: QuantizeConfig
) -> int:
    reset, strict = lowered.reset, lowered.strict
    made = round_population(
        part, one.scale, reset=reset, strict=strict, config=config, ties=one.ties
    )
    return made.vth


def _rounding_of_leaks(part: FloatPopulation, scale: float, peak_u: float, peak_v: float) -> int:
    """Error of v per step, in its units, because leaks are multiples of 1/4096 and truncate."""
    missed = 0.0
    for keep, peak in ((part.keep_u, peak_u), (part.keep_v, peak_v)):
        kept = 1 - round_decay(keep) / LOIHI.decay_unity
        missed += float(np.abs(kept - keep).max()) * peak * LOIHI.weight_unit * scale + (
            kept not in (0, 1)
        )
    return math.ceil(missed)


def wider_candidates(
    lowered: LoweredNetwork,
    part: FloatPopulation,
    tried: tuple[Candidate, ...],
    config: QuantizeConfig,
) -> tuple[Candidate, ...]:
    """Larger scales than those `tried`, up to where the median weight reaches the end of the grid.

    They clip weights, and possibly biases and states; calibration decides whether that helps.
    """
    weights = _weights(lowered, part)
    fit = _fit(weights, config)
    if lowered.injected(part.name) or math.isinf(fit) or any(c.lossless for c in tried):
        return ()
    median = [np.median(np.abs(w[w != 0])) for w in weights if w.any()]
    top = LOIHI.weight_end / float(min(median))
    if part.threshold is not None:
        top = min(top, LOIHI.vth_max / part.threshold, _start_limit(part))
    start = max((c.scale for c in tried), default=fit)
    top = min(top, start * _FINER**_MOST)
    if top <= start:
        return ()
    count = math.ceil(math.log(top / start) / math.log(_FINER))
    return _whole(part, fit, np.geomspace(start, top, count + 1)[1:])


def no_scale(lowered: LoweredNetwork, part: FloatPopulation, config: QuantizeConfig) -> InputError:
    """The error for a population whose threshold is below one weight unit at every scale."""
    limits = {
        "its weights or biases are": min(
            _fit(_weights(lowered, part), config), _bias_limit(part, config)
        ),
        f"the start of v, {part.start:g}, is": _start_limit(part),
    }
    what, most = min(limits.items(), key=lambda item: item[1])
    return InputError(
        f"population '{part.name}': threshold {part.threshold:g} is below one weight unit at the "
        f"largest possible scale {most:g}; {what} too large in comparison"
    )


def _weights(lowered: LoweredNetwork, part: FloatPopulation) -> list[NDArray[np.float64]]:
    """Weights into `part`, in membrane units per integer unit of the source."""
    incoming = (c for c in lowered.incoming(part.name) if not c.biases)
    return [c.weight / lowered.source_scale(c.source) for c in incoming]


def _filtered_biases(lowered: LoweredNetwork, part: FloatPopulation) -> list[Array]:
    """Biases that a constant source sends, in membrane units."""
    return [c.weight for c in lowered.incoming(part.name) if c.biases]


def _fit(weights: list[NDArray[np.float64]], config: QuantizeConfig) -> float:
    return min((largest_scale(w, config) for w in weights), default=math.inf)


def largest_allowed(
    part: FloatPopulation, config: QuantizeConfig, *, peak_u: float, peak_v: float
) -> float:
    """Largest scale at which vth and biases fit, and u and v keep half of their range free."""
    limits = [math.inf]
    if part.threshold is not None:
        limits.append(LOIHI.vth_max / part.threshold)
    limits.append(_bias_limit(part, config))
    limits += [_HALF_RANGE / peak for peak in (peak_u, peak_v) if peak > 0]
    return min(limits)


def sum_limit(lowered: LoweredNetwork, part: FloatPopulation, config: QuantizeConfig) -> float:
    """Largest scale at which the sums of a step fit the accumulator, apart from rounding."""
    most = config.constraints.sum_max
    total = 0.0 if most is None else _largest_sum(lowered, part)
    return most / total if most is not None and total else math.inf


def _largest_sum(lowered: LoweredNetwork, part: FloatPopulation) -> float:
    """The largest sum of a step, in membrane units."""
    ends = []
    for connection in lowered.incoming(part.name):
        area = 1 if connection.pool is None else connection.pool.area
        low, high = (
            area * end / lowered.source_scale(connection.source)
            for end in lowered.message_range(connection.source)
        )
        rows = connection.weight.reshape(len(connection.weight), -1)
        up, down = np.maximum(rows, 0).sum(axis=1), np.minimum(rows, 0).sum(axis=1)
        ends.append(products(up, down, low, high))
    return float(largest_total(ends))


def _bias_limit(part: FloatPopulation, config: QuantizeConfig) -> float:
    bias = float(np.abs(part.bias).max())
    reach = LOIHI.bias_mantissa_max << config.constraints.bias_exponents[-1]
    return reach / (LOIHI.weight_unit * bias) if bias > 0 else math.inf


def _start_limit(part: FloatPopulation) -> float:
    """Largest scale at which v starts within half of its range."""
    return _HALF_RANGE / abs(part.start) if part.start else math.inf


def _whole(part: FloatPopulation, fit: float, scales: Iterable[float]) -> tuple[Candidate, ...]:
    """Scales lowered to a whole threshold, without those for which it would be 0."""
    if part.threshold is not None:
        whole = (math.floor(float(settle(scale * part.threshold))) for scale in scales)
        scales = (units / part.threshold for units in whole if units >= 1)
    return tuple(Candidate(s, reach=min(fit / s, 1.0)) for s in dict.fromkeys(map(float, scales)))


def _lossless(
    lowered: LoweredNetwork, part: FloatPopulation, fit: float, bound: float, config: QuantizeConfig
) -> Candidate | None:
    """The best scale at which nothing needs rounding.

    Weights are on the grid; biases and the start are whole weight units. Without a partial leak, v
    takes whole units only, any threshold is exact, and the largest scale is best; with reset by
    subtraction the threshold must be whole as well. With a partial leak, v takes values between
    whole units: scales with a whole threshold are then preferred and, if it keeps n/8, among those
    down to half of the largest the one whose integers share the most factors of two, so that most
    leak steps are exact. If they are too few, a weight exponent makes v finer.

    Args:
        fit: the largest scale that clips no weight at exponent 0.
        bound: the largest scale that the ranges of vth, biases, u and v allow.
    """
    most = min(fit, bound)
    weights = _weights(lowered, part)
    first = next((one for one in weights if one.any()), None)
    if first is None:
        return None
    filtered = _filtered_biases(lowered, part)
    dense = all_dense(lowered.incoming(part.name))
    leaks = {round_decay(part.keep_u), round_decay(part.keep_v)} - {0, LOIHI.decay_unity}
    binary = bool(leaks) and all(8 * decay % LOIHI.decay_unity == 0 for decay in leaks)
    best: tuple[tuple[bool, int], float] | None = None
    mixed = bool(first.min() < 0 < first.max())
    low, high, step = LOIHI.weight_grid(mixed=mixed, bits=config.weight_bits)
    largest = float(np.abs(first).max())
    # Reject most scales at little cost; of a residual, the first has the weight 1 only.
    probes = np.concatenate([one.ravel()[:: max(1, one.size // 32)] for one in weights])
    levels: list[Array] | None = None
    for mantissa in range(max(-low, high), 0, -step):
        scale = mantissa / largest
        if scale > most * (1 + 1e-12):
            continue
        if best is not None and not (leaks and scale >= best[1] / 2):
            break
        if (settle(scale * probes) % 1).any():
            continue
        threshold = float(settle(scale * (part.threshold or 0.0)))
        subtracted = threshold if lowered.reset is Reset.SUBTRACT else 0.0
        bias = settle(scale * part.bias)
        whole = np.append(bias, [subtracted, float(settle(scale * part.start))])
        if (whole % 1).any():
            continue
        state = LOIHI.weight_unit * bias
        exponent = bias_exponent(state, config)
        if (round_bias(state, exponent) << exponent != state).any():
            continue
        if not all(_on_grid(scale * biases, config) for biases in filtered):
            continue
        levels = levels or [np.unique(one) for one in weights]
        scaled = [scale * w for w in levels]
        rounded = round_layer(scaled, config, dense=dense)
        if not all((settle(w) == r).all() for w, (r, _) in zip(scaled, rounded, strict=True)):
            continue
        rank = threshold % 1 == 0, 0
        if binary and rank[0]:
            integers = np.concatenate([whole, [threshold], *(np.rint(scale * w) for w in levels)])
            common = int(np.gcd.reduce(integers.astype(np.int64)))
            rank = True, common & -common
        if best is None or rank > best[0]:
            best = rank, scale
    if best is None:
        return None
    (_, common), scale = best
    exponent = _exponent_for_leaks(lowered, part, scale, common, bound, config) if common else 0
    return Candidate(scale * 2**exponent, exponent=exponent, lossless=True)


def _exponent_for_leaks(
    lowered: LoweredNetwork,
    part: FloatPopulation,
    scale: float,
    common: int,
    bound: float,
    config: QuantizeConfig,
) -> int:
    """The least weight exponent at which all leaks are exact, or the largest if they cannot be.

    A leak that keeps n / 2^b halves the grid of v up to b times a step. After the last step the
    grid must still be as coarse as the bias for ties is large: a state below the threshold must not
    be lifted across it (see `rounding._firing`).

    Args:
        common: power of two, in weight units at `scale`, that all weights, biases and the threshold
            are multiples of.
    """
    kept = [LOIHI.decay_unity - round_decay(keep) for keep in (part.keep_u, part.keep_v)]
    bits = max(LOIHI.decay_unity // math.gcd(k, LOIHI.decay_unity) for k in kept).bit_length() - 1
    halvings = bits * (lowered.steps - 1)
    held = min(lowered.steps, LOIHI.decay_unity / max(LOIHI.decay_unity - kept[0], 1))
    sums = _largest_sum(lowered, part) * held
    if sums:
        bound = min(bound, (LOIHI.state_wrap >> LOIHI.activation_shift) / sums)
    digits = max((lowered.digits(c.source) for c in lowered.incoming(part.name)), default=1)
    found = 0
    for exponent in range(config.constraints.exponent_max - digits + 2):
        if exponent and scale * 2**exponent > bound:
            break
        found = exponent
        step = LOIHI.weight_unit * scale * 2**exponent * part.bias
        lift = 0.0 if lowered.strict else 2.0 ** bias_exponent(step, config)
        lift *= LOIHI.decay_unity / max(LOIHI.decay_unity - kept[1], 1)
        lowest = max(min(lift, LOIHI.weight_unit), 1)
        if math.log2(LOIHI.weight_unit * common / lowest) + exponent >= halvings:
            break
    return found


def _on_grid(scaled: Array, config: QuantizeConfig) -> bool:
    made, exponent = round_biases(scaled, config)
    return bool((settle(scaled) == made.astype(np.int64) << exponent).all())


def _dictated(
    lowered: LoweredNetwork,
    part: FloatPopulation,
    injected: FloatInjection,
    most: float,
    config: QuantizeConfig,
) -> Candidate:
    """An input injected as bias mantissas fixes 64 S gain = input scale * 2^exponent."""
    source = next(i for i in lowered.inputs if i.name == injected.source)
    unit = source.scale / (LOIHI.weight_unit * injected.gain)
    exponents = config.constraints.bias_exponents
    fits = [e for e in exponents if unit * 2**e <= most]
    if not fits:
        raise ValueRangeError(
            f"input '{source.name}': scale {source.scale:g} as bias of '{part.name}' requires "
            f"{unit * 2 ** exponents[0]:g} weight units per membrane unit, at most {most:g} fit; "
            "lower its scale"
        )
    return Candidate(unit * 2 ** fits[-1], fits[-1])
