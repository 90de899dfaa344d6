"""Cut populations into the fewest pieces that each fit a core."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import groupby

from spikeport.mapping.boxes import Boxes, even_boxes
from spikeport.mapping.encodings import Encoding
from spikeport.mapping.limits import RESOURCES, Resource
from spikeport.mapping.misfit import Misfit, beyond, misfits
from spikeport.mapping.plan import Plan
from spikeport.mapping.tiling import Tiling, tilings
from spikeport.network import Shape, WeightedConnection

PATIENCE = 3
"""Passes over a network with cycles after which a new tiling must have more pieces."""


class Ahead:
    """Pieces that the sources of a population need, depending on how it is cut.

    A position of a source has output axons for every piece that it reaches, so the more pieces
    these are, the fewer positions of the source are on a core. Counted as if pieces took
    everything else as evenly as possible; 0 where output axons are not limited.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._most = plan.limits.capacity.get(Resource.OUTPUT_AXONS)
        self._boxes: dict[str, Boxes] = {}
        self._known: dict[tuple[Encoding, Shape, Tiling], int] = {}

    def pieces(self, name: str, found: Mapping[str, Tiling]) -> Callable[[Tiling], int]:
        """How many pieces all sources of a population need, by how it is cut.

        The slots of their messages to other populations are counted once for all tilings.
        """
        if self._most is None:
            return lambda tiling: 0
        most, sources = self._most.value, self._sources(name)
        parts = {source: self._plan.network.weighted_from(source) for source in sources}
        elsewhere = {
            source: sum(self._slots(p, found[p.target]) for p in parts[source] if p.target != name)
            for source in sources
        }
        here = {source: [p for p in parts[source] if p.target == name] for source in sources}

        def needed(tiling: Tiling) -> int:
            total = 0
            for source in sources:
                slots = elsewhere[source] + sum(self._slots(p, tiling) for p in here[source])
                mean = slots / self._columns(self._plan.shapes[source]).count
                total += self._of(source).fewest_pieces(most / mean if mean else math.inf)
            return total

        return needed

    def _slots(self, part: WeightedConnection, targets: Tiling) -> int:
        """Output axons of all positions of its source, by how its target is cut."""
        encoding, shape = self._plan.encodings[part.name], self._plan.shapes[part.source]
        key = encoding, shape, targets
        if key not in self._known:
            self._known[key] = int(encoding.slots(self._columns(shape), targets).sum())
        return self._known[key]

    def fewest(self, name: str) -> int:
        """Pieces of all sources however the population is cut."""
        if self._most is None:
            return 0
        return sum(self._of(source).fewest_pieces() for source in self._sources(name))

    def _sources(self, name: str) -> list[str]:
        parts = self._plan.network.weighted_into(name)
        known = dict.fromkeys(p.source for p in parts if p.source in self._plan.network.by_name)
        return [source for source in known if source != name]

    def _columns(self, shape: Shape) -> Tiling:
        """A piece for each position, with all of its channels."""
        if len(shape) == 1:
            return Tiling.finest(shape)
        return Tiling(shape, ((0, shape[0]), *(tuple(range(size + 1)) for size in shape[1:])))

    def _of(self, name: str) -> Boxes:
        if name not in self._boxes:
            self._boxes[name] = even_boxes(self._plan, name)
        return self._boxes[name]


def split(plan: Plan) -> tuple[dict[str, Tiling], tuple[Misfit, ...]]:
    """A tiling of every input and population, and what fits no core however it is cut.

    Populations are cut from the last to the first, because the pieces of later ones determine
    the output axons of earlier ones; where the network has cycles, until nothing changes.
    """
    found = {name: Tiling.whole(shape) for name, shape in plan.shapes.items()}
    ahead = Ahead(plan)
    wrong: dict[str, tuple[Misfit, ...]] = {}
    passes = 0
    while True:
        before = dict(found)
        for name in reversed(plan.network.order):
            if not wrong.get(name):
                wrong[name] = misfits(plan, name, found)
            if wrong[name] or _fits(plan, name, found[name], found):
                continue
            found[name] = _fewest_pieces(plan, name, found, ahead, growing=passes >= PATIENCE)
            if not _fits(plan, name, found[name], found):
                wrong[name] = tuple(beyond(plan, name, plan.demands(name, found[name], found)))
        if found == before:
            return found, tuple(one for name in plan.network.order for one in wrong[name])
        passes += 1


def _fewest_pieces(
    plan: Plan, name: str, found: dict[str, Tiling], ahead: Ahead, *, growing: bool
) -> Tiling:
    """The tiling with the fewest pieces that fit, counting those that its sources then need.

    Among equals see `_cost`. If none fits, a piece for each neuron.

    Args:
        growing: only tilings of more pieces than now.
    """
    shape = plan.shapes[name]
    least = max(_least_pieces(plan, name), found[name].count + growing)
    every = tilings(shape, columns_power_of_two=_columns_in_powers(plan, shape))
    ordered = sorted((one for one in every if one.count >= least), key=lambda one: one.count)
    chosen, total = Tiling.finest(shape), math.inf
    fewest, sources = ahead.fewest(name), ahead.pieces(name, found)
    for count, group in groupby(ordered, key=lambda one: one.count):
        if count + fewest >= total:
            break
        fitting: dict[int, list[Tiling]] = {}
        for one in group:
            if one.largest <= plan.most_neurons(name):
                pieces = count + sources(one)
                if pieces < total and _fits(plan, name, one, found):
                    fitting.setdefault(pieces, []).append(one)
        if fitting:
            total = min(fitting)
            chosen = min(fitting[int(total)], key=lambda one: _cost(plan, name, one, found))
    return chosen


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
        bits = sum(count * encoding.least_bits() for encoding, count in plan.into(name).items())
        least = max(least, -(-bits // memory.value))
    return min(max(least, 1), neurons)
