"""Lower bounds of the number of cores: what no map can do without."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spikeport.mapping.limits import RESOURCES, Resource
from spikeport.mapping.plan import Plan
from spikeport.mapping.tiling import Tiling


def lower_bounds(plan: Plan, *, share_cores: bool) -> Mapping[Resource, int]:
    """The fewest cores that each resource allows.

    Neurons: all of them. Memory: every weight stored once, without headers, rounding and indices
    of a width that depends on the pieces. Input axons: those of every population on a single core.
    Output axons: those of every population if each later one is on a single core. Pieces: at
    least one of each population, and, if populations do not share cores, as many as the other
    resources require for each.

    Args:
        share_cores: whether a core may hold pieces of several populations.
    """
    needs = np.array([_least(plan, name) for name in plan.network.order])
    limited = [k for k, one in enumerate(RESOURCES) if one in plan.limits.capacity]
    capacity = plan.capacity[limited]
    bounds = {
        RESOURCES[k]: -(-int(needs[:, k].sum()) // int(most))
        for k, most in zip(limited, capacity, strict=True)
    }
    if not share_cores:
        bounds[Resource.PIECES] = int((-(-needs[:, limited] // capacity)).max(axis=1).sum())
    return bounds


def _least(plan: Plan, name: str) -> list[int]:
    whole = {part: Tiling.whole(shape) for part, shape in plan.shapes.items()}
    demands = plan.demands(name, whole[name], whole)[0]
    parts = plan.network.weighted_into(name)
    memory = sum(plan.encodings[part.name].least_bits() for part in parts)
    return [
        memory if resource is Resource.MEMORY else int(demands[k])
        for k, resource in enumerate(RESOURCES)
    ]
