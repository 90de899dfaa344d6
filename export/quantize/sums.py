"""Scales at which the sums of a step fit the accumulator of a target.

The bound is the one that `spikeport check` applies (`network.bounds`): all messages at the worse
end of their range at once.
"""

from __future__ import annotations

import math
from dataclasses import replace

from spikeport.errors import InputError, UnsupportedError
from spikeport.export.quantize.config import QuantizeConfig
from spikeport.export.quantize.connections import round_connections
from spikeport.export.quantize.lowered import FloatPopulation, LoweredNetwork
from spikeport.export.quantize.scales import Candidate
from spikeport.network import step_bound

_LOWER = 0.98
"""Least reduction of a scale at which the sums are still too large."""


def within(
    lowered: LoweredNetwork, part: FloatPopulation, candidate: Candidate, config: QuantizeConfig
) -> Candidate | None:
    """A candidate, lowered until its sums fit; None if its threshold would be below one unit."""
    limit, scale = config.constraints.sum_max, candidate.scale
    if limit is None:
        return candidate
    raised = candidate.exponent
    while (bound := rounded_sum(lowered, part, scale, config, raised)) > limit:
        if candidate.injected_exponent is not None:
            return None
        scale, raised = scale * min(limit / bound, _LOWER), 0
        if part.threshold is not None:
            units = math.floor(scale * part.threshold)
            if units < 1:
                return None
            scale = units / part.threshold
    if scale == candidate.scale:
        return candidate
    reach = min(candidate.reach * candidate.scale / scale, 1.0)
    return replace(candidate, scale=scale, exponent=raised, lossless=False, reach=reach)


def rounded_sum(
    lowered: LoweredNetwork,
    part: FloatPopulation,
    scale: float,
    config: QuantizeConfig,
    raised: int = 0,
) -> int:
    """The bound of the sums of a step into a population that is rounded at a scale."""
    made = round_connections(lowered, part.name, scale, config, raised)
    return step_bound((c, *lowered.message_range(c.source)) for c in made)


def too_large(
    lowered: LoweredNetwork, part: FloatPopulation, config: QuantizeConfig
) -> InputError | None:
    """The error for a population whose sums fit at no scale."""
    limit = config.constraints.sum_max
    if limit is None or part.threshold is None:
        return None
    bound = rounded_sum(lowered, part, 1 / part.threshold, config)
    if bound <= limit:
        return None
    return UnsupportedError(
        f"population '{part.name}': sums of up to {bound} thresholds in a step, but the "
        f"accumulator of {config.target or 'the target'} holds {limit} weight units; train with "
        "smaller weights or a larger threshold, or let each neuron read fewer sources"
    )
