"""What a core must be set to for a population, and of which it has a limited number."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable

from spikeport.mapping.limits import Setting
from spikeport.mapping.plan import Plan
from spikeport.mapping.storage import weight_bits
from spikeport.network import AnyPopulation, is_mixed

Settings = dict[Setting, frozenset[Hashable]]
"""The different settings that a piece needs on its core."""
NOT_SET = ("name", "shape", "bias", "bias_exponent", "v_init", "scale")
"""Fields of a population that are no setting of a core."""
THRESHOLDS = ("vth", "theta_0", "theta_step")
"""Fields of a population that are its threshold."""


def settings_of(plan: Plan, part: AnyPopulation) -> Settings:
    """Settings for a population and the synapses of all connections into it."""
    fields = {
        item.name: getattr(part, item.name)
        for item in dataclasses.fields(part)  # type: ignore[arg-type]
        if item.name not in NOT_SET
    }
    threshold = tuple(fields.pop(name) for name in THRESHOLDS if name in fields)
    exponent_min = plan.limits.storage.exponent_min
    formats = {
        (one.storage, weight_bits(one, exponent_min), is_mixed(one.weight), exponent, one.delay)
        for one in plan.network.weighted_into(part.name)
        for exponent in range(one.exponent, one.exponent + plan.network.lines(one.source))
    }
    return {
        Setting.DYNAMICS: frozenset([(part.MODEL, *fields.values())]),
        Setting.THRESHOLD: frozenset([threshold]),
        Setting.SYNAPSES: frozenset(formats),
    }
