"""Lower bounds of the number of cores: what no map can do without."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from spikeport.mapping.boxes import all_boxes
from spikeport.mapping.limits import RESOURCES, Resource
from spikeport.mapping.plan import Plan, Tilings
from spikeport.mapping.tiling import Tiling

_PIECES = RESOURCES.index(Resource.PIECES)


def lower_bounds(plan: Plan, *, share_cores: bool) -> Mapping[Resource, int]:
    """The fewest cores that each resource allows.

    Neurons: all of them. Memory: every weight stored once, or, if that is more, as much for each
    neuron as in the piece, of all sizes that fit a core, that needs the least (if one fits). Input
    axons: those of every population on a single core. Output axons: those of every population if
    each later one is on a single core. Pieces: of each population as many as the largest that fits
    a core requires, and, if populations do not share cores, the other resources.

    Args:
        share_cores: whether a core may hold pieces of several populations.
    """
    whole = {part: Tiling.whole(shape) for part, shape in plan.shapes.items()}
    needs = np.array([_least(plan, name, whole) for name in plan.network.order], np.int64)
    limited = [k for k, one in enumerate(RESOURCES) if one in plan.limits.capacity]
    capacity = plan.capacity[limited]
    bounds = {
        RESOURCES[k]: -(-int(needs[:, k].sum()) // int(most))
        for k, most in zip(limited, capacity, strict=True)
    }
    if not share_cores:
        apart = (-(-needs[:, limited] // capacity)).max(axis=1)
        bounds[Resource.PIECES] = int(np.maximum(apart, needs[:, _PIECES]).sum())
    return bounds


def _least(plan: Plan, name: str, whole: Tilings) -> list[int]:
    demands = plan.demands(name, whole[name], whole)[0]
    boxes, size = all_boxes(plan, name), plan.network.by_name[name].size
    once = sum(count * encoding.least_bits() for encoding, count in plan.into(name).items())
    each, largest = Fraction(0), plan.most_neurons(name)
    if len(boxes.neurons):
        best = int(np.argmin(boxes.bits / boxes.neurons))
        each = Fraction(int(boxes.bits[best]), int(boxes.neurons[best]))
        largest = int(boxes.neurons.max())
    found = dict(zip(RESOURCES, demands.tolist(), strict=True))
    found[Resource.MEMORY] = max(once, math.ceil(size * each))
    found[Resource.PIECES] = -(-size // largest)
    return list(found.values())
