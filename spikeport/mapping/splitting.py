"""Cut populations into the fewest pieces that each fit a core."""

from __future__ import annotations

import math

from spikeport.mapping.limits import RESOURCES, Resource
from spikeport.mapping.misfit import Misfit, beyond, misfits
from spikeport.mapping.plan import Plan
from spikeport.mapping.tiling import Tiling, tilings
from spikeport.network import Shape

STEP = 32
"""Beyond twice the least number of pieces, numbers are tried in steps of this share."""
PATIENCE = 3
"""Passes over a network with cycles after which a new tiling must have more pieces."""


def split(plan: Plan) -> tuple[dict[str, Tiling], tuple[Misfit, ...]]:
    """A tiling of every input and population, and what fits no core however it is cut.

    Populations are cut from the last to the first, because the pieces of later ones determine
    the output axons of earlier ones; where the network has cycles, until nothing changes.
    """
    found = {name: Tiling.whole(shape) for name, shape in plan.shapes.items()}
    wrong: dict[str, tuple[Misfit, ...]] = {}
    passes = 0
    while True:
        before = dict(found)
        for name in reversed(plan.network.order):
            if not wrong.get(name):
                wrong[name] = misfits(plan, name, found)
            if wrong[name] or _fits(plan, name, found[name], found):
                continue
            found[name] = _fewest_pieces(plan, name, found, growing=passes >= PATIENCE)
            if not _fits(plan, name, found[name], found):
                wrong[name] = tuple(beyond(plan, name, plan.demands(name, found[name], found)))
        if found == before:
            return found, tuple(one for name in plan.network.order for one in wrong[name])
        passes += 1


def _fewest_pieces(plan: Plan, name: str, found: dict[str, Tiling], *, growing: bool) -> Tiling:
    """The tiling with the fewest pieces that fit; among equals see `_cost`.

    Beyond twice the least number of pieces, numbers are tried in growing steps; once one fits,
    those skipped just before it. If none fits, a piece for each neuron.

    Args:
        growing: only tilings of more pieces than now.
    """
    shape = plan.shapes[name]
    power = _columns_in_powers(plan, shape)

    def best(count: int) -> Tiling | None:
        fitting = [
            one
            for one in tilings(shape, count, columns_power_of_two=power)
            if _fits(plan, name, one, found)
        ]
        return min(fitting, key=lambda one: _cost(plan, name, one, found), default=None)

    least = skipped = count = max(_least_pieces(plan, name), found[name].count + growing)
    while count < math.prod(shape):
        if (made := best(count)) is not None:
            earlier = (best(fewer) for fewer in range(skipped, count))
            return next((one for one in earlier if one is not None), made)
        skipped = count + 1
        count += 1 if count < 2 * least else max(1, count // STEP)
    return Tiling.finest(shape)


def _columns_in_powers(plan: Plan, shape: Shape) -> bool:
    """Whether pieces must have a power of two of columns."""
    return plan.limits.columns_power_of_two and len(shape) > 1


def _cost(plan: Plan, name: str, tiling: Tiling, found: dict[str, Tiling]) -> tuple[float, ...]:
    """What decides between tilings of as many pieces, in this order.

    The work of a piece, because the fullest core sets the pace: visits of the neurons of the
    largest piece and events on their synapses, and packets to a piece, if every source neuron
    sends one message; then memory.
    """
    memory = plan.demands(name, tiling, found)[:, RESOURCES.index(Resource.MEMORY)]
    work = tiling.largest * plan.events_of_neuron(name)
    return work + plan.packets(name, tiling) / tiling.count, float(memory.sum())


def _fits(plan: Plan, name: str, tiling: Tiling, found: dict[str, Tiling]) -> bool:
    if tiling.largest > plan.most_neurons(name):
        return False
    if _columns_in_powers(plan, tiling.shape):
        width = tiling.edges[-1][1]
        if width & (width - 1):
            return False
    bases = plan.limits.storage.bases
    if bases is not None and plan.positions(name, tiling) > bases:
        return False
    return bool((plan.demands(name, tiling, found) <= plan.capacity).all())


def _least_pieces(plan: Plan, name: str) -> int:
    """Number of pieces below which no tiling can fit."""
    capacity = plan.limits.capacity
    neurons = math.prod(plan.shapes[name])
    least = -(-neurons // plan.most_neurons(name))
    if (memory := capacity.get(Resource.MEMORY)) is not None:
        parts = plan.network.weighted_into(name)
        bits = sum(plan.encodings[part.name].least_bits() for part in parts)
        least = max(least, -(-bits // memory.value))
    return min(max(least, 1), neurons)
