"""Round the connections of a lowered network to chip integers, given their scales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spikeport.export.quantize.config import QuantizeConfig
from spikeport.export.quantize.lowered import FloatConnection, FloatPopulation, LoweredNetwork
from spikeport.export.quantize.rounding import (
    round_decay,
    round_layer,
    round_weights,
    settle,
    weight_exponent,
)
from spikeport.network import (
    LOIHI,
    BiasInjection,
    Connection,
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Population,
    WeightedConnection,
    largest_sum,
)

Array = NDArray[np.float64]


def round_connections(
    lowered: LoweredNetwork, population: str, scale: float, config: QuantizeConfig, raised: int = 0
) -> tuple[WeightedConnection, ...]:
    """Round all connections into a population to chip integers.

    Args:
        scale: weight units per unit of the membrane.
        raised: the exponent of the weights of neurons, added to the exponent of all others.
    """
    parts = lowered.incoming(population)
    scaled = {p.name: p.weight * (scale / lowered.source_scale(p.source)) for p in parts}
    made: dict[str, WeightedConnection] = {}
    shared = [part for part in parts if not part.biases]
    lower = [scaled[part.name] / 2.0**raised for part in shared]
    own = [input_exponent(lowered, *each, config) for each in zip(shared, lower, strict=True)]
    finer = [values / 2.0**e for values, e in zip(lower, own, strict=True)]
    rounded = round_layer(finer, config, dense=all_dense(parts))
    for part, exponent, (weight, bits) in zip(shared, own, rounded, strict=True):
        made[part.name] = integer_connection(part, weight, bits, exponent + raised)
    for part in parts:
        if part.biases:
            weight, exponent = round_biases(scaled[part.name], config)
            made[part.name] = integer_connection(part, weight, config.weight_bits, exponent)
    return tuple(made[part.name] for part in parts)


def input_exponent(
    lowered: LoweredNetwork, part: FloatConnection, scaled: Array, config: QuantizeConfig
) -> int:
    """The exponent of weights of a graded input: the lowest at which none is clipped; else 0.

    An input of values up to X has weights of about 1 / X of those of spikes into the same neurons:
    in the same unit, few integers are left for them. A negative exponent divides their sum instead,
    which is exact down to -6. It stays 0 if they are integers as they are; sums that wrap before
    the exponent acts must fit as well.

    Args:
        scaled: the weights, in weight units.
    """
    least = config.constraints.exponent_min
    if not (least and lowered.is_graded(part.source) and scaled.any()):
        return 0
    exponent = min(weight_exponent(scaled, config, least), 0)
    if exponent and np.array_equal(round_weights(settle(scaled), config), settle(scaled)):
        return 0
    low, high = lowered.message_range(part.source)
    while exponent < 0:
        made = integer_connection(part, round_weights(scaled / 2.0**exponent, config))
        if not made.wraps or largest_sum(made, low, high) < LOIHI.state_wrap:
            break
        exponent += 1
    return exponent


def round_biases(scaled: Array, config: QuantizeConfig) -> tuple[NDArray[np.int16], int]:
    """Weights that are biases, with an exponent of their own, so that large ones are not clipped.

    Args:
        scaled: biases in weight units.
    """
    exponent = weight_exponent(scaled, config)
    return round_weights(scaled / 2**exponent, config), exponent


def remainder(
    part: FloatPopulation,
    parts: Sequence[FloatConnection],
    made: Sequence[WeightedConnection],
    scale: float,
    steps: int,
) -> Array:
    """What rounding leaves of biases that a constant source sends, as a bias added to v.

    Weights are whole weight units, in which an error adds up through both leaks, while biases are
    64 times finer. A remainder r would reach v as r (1 - keep_u^(t + 1)) / (1 - keep_u), with the
    decay of u on the chip; added to v, it is the mean of that over all steps. For the membrane of a
    readout, each step has the weight with which it is in the last v.
    """
    keep_u, keep_v = (
        1 - round_decay(keep) / LOIHI.decay_unity for keep in (part.keep_u, part.keep_v)
    )
    shares = np.ones(steps) if part.threshold else keep_v ** np.arange(steps)[::-1]
    kept = np.average(np.cumsum(keep_u ** np.arange(steps)), weights=shares)
    total = np.zeros(part.shape)
    for real, integer in zip(parts, made, strict=True):
        if real.biases:
            sent = integer.weight.astype(np.int64) << integer.exponent
            total += (settle(real.weight * scale) - sent).reshape(part.shape)
    return np.asarray(total * kept / scale)


def draft(lowered: LoweredNetwork, config: QuantizeConfig) -> DeployedNetwork:
    """A network of the same structure, with the least weights, thresholds of 1 and, where v does
    not start at 0, a start of 1, to be checked."""
    made: list[Connection] = []
    for part in lowered.connections:
        _, _, step = LOIHI.weight_grid(mixed=True, bits=config.weight_bits)
        weight = np.where(part.weight != 0, np.int16(step), np.int16(0))
        made.append(integer_connection(part, weight, config.weight_bits))
    made += [BiasInjection(i.source, i.target, i.name) for i in lowered.injections]
    return DeployedNetwork(
        inputs=lowered.inputs,
        populations=tuple(
            Population(
                part.name,
                part.shape,
                vth=1,
                bias_exponent=config.constraints.bias_exponents[-1],
                reset=lowered.reset,
                v_init=int(part.start != 0),
            )
            for part in lowered.populations
        ),
        connections=tuple(made),
        readouts=lowered.readouts,
        steps=lowered.steps,
    )


def all_dense(parts: Sequence[FloatConnection]) -> bool:
    """Whether all connections are matrices, none a convolution."""
    return bool(parts) and all(part.weight.ndim == 2 for part in parts)


def integer_connection(
    part: FloatConnection,
    weight: NDArray[np.int16],
    bits: int = LOIHI.weight_bits,
    exponent: int = 0,
) -> WeightedConnection:
    """The same map with integer weights."""
    if weight.ndim == 2:
        return Dense(
            source=part.source,
            target=part.target,
            weight=weight,
            exponent=exponent,
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
            exponent=exponent,
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
        exponent=exponent,
        weight_bits=bits,
        delay=part.delay,
        pool=part.pool,
        name=part.name,
    )
