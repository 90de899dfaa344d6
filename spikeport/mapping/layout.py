"""`Layout`: pieces of a network put together on cores, as few as possible or to share the work."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spikeport.errors import InputError, ValueRangeError
from spikeport.mapping.core_map import Piece
from spikeport.mapping.limits import RESOURCES
from spikeport.mapping.misfit import Misfit
from spikeport.mapping.packing import pack
from spikeport.mapping.plan import Demands, Plan
from spikeport.mapping.settings import settings_of
from spikeport.mapping.splitting import split
from spikeport.mapping.tiling import Tiling

ROUNDS = 8
"""Halvings of the interval in which the least work of the busiest core is sought."""
PARTS = 10**9
"""The most work of a core as an integer, like all that a core has a limited amount of."""


@dataclass(frozen=True)
class Layout:
    """What each core holds, wherever it lies.

    Attributes:
        pieces: of all populations, in the order of the network.
        groups: numbers of the pieces of each core, in the order of their first pieces.
        work: of each core, as a share of that of the network.
    """

    tilings: Mapping[str, Tiling]
    pieces: tuple[Piece, ...]
    groups: Sequence[Sequence[int]]
    work: tuple[float, ...]

    @property
    def demands(self) -> Demands:
        """What the pieces need, (pieces, resources)."""
        return _table(self.pieces)


def fewest_cores(
    plan: Plan, work: Mapping[str, float], *, share_cores: bool, most: float | None = None
) -> tuple[Layout | None, tuple[Misfit, ...]]:
    """As few cores as the heuristic finds, or what fits no core.

    Args:
        work: share of each population in that of the network.
        share_cores: whether a core may hold pieces of several populations.
        most: most work of a core, unless a single neuron has more.
    """
    sizes = {part.name: part.size for part in plan.network.populations}
    if most is not None:
        most = max(most, *(work[name] / size for name, size in sizes.items()))
        plan = dataclasses.replace(plan, most={
            name: max(1, int(most * size / work[name] + 1e-9)) if work[name] else size
            for name, size in sizes.items()
        })  # fmt: skip
    tilings, wrong = split(plan)
    if wrong:
        return None, wrong
    pieces = _pieces(plan, tilings)
    busy = [work[piece.population] * piece.neurons / sizes[piece.population] for piece in pieces]
    groups: Sequence[Sequence[int]]
    if share_cores:
        groups = _packed(plan, pieces, busy, most)
    else:
        groups = [[number] for number in range(len(pieces))]
    shares = tuple(sum(busy[number] for number in group) for group in groups)
    return Layout(tilings, pieces, groups, shares), ()


def least_work(
    plan: Plan, start: Layout, work: Mapping[str, float], cores: int, *, share_cores: bool
) -> Layout:
    """The layout on up to so many cores of which the busiest core has least to do.

    The most work of a core is halved into from both sides: evenly divided work below, that of
    the layout to start from above.
    """
    best, low = start, 1 / cores
    high = max(start.work)
    for _ in range(ROUNDS):
        most = (low + high) / 2
        made, _ = fewest_cores(plan, work, share_cores=share_cores, most=most)
        if made is None or len(made.groups) > cores:
            low = most
            continue
        high = min(most, max(made.work))
        if max(made.work) < max(best.work):
            best = made
        if high <= low:
            break
    return best


def shares_of_work(plan: Plan, work: Mapping[str, float] | None) -> dict[str, float]:
    """Work of each population as a share of all; by default as if every neuron sent a message.

    Raises:
        InputError: it lacks a population or has an unknown one; it is negative, not finite, or 0
            for all.
    """
    if work is None:
        work = {
            part.name: plan.events_of_neuron(part.name) * part.size
            for part in plan.network.populations
        }
    known = {part.name for part in plan.network.populations}
    for name in sorted(known ^ work.keys()):
        has = "has no work" if name in known else "has work but is not in the network"
        raise InputError(f"map: population '{name}' {has}")
    for name, each in work.items():
        if not (math.isfinite(each) and each >= 0):
            raise ValueRangeError(
                f"map: work of population '{name}' is {each}, must be finite and not negative"
            )
    if not (total := sum(work.values())):
        raise InputError("map: work is 0 for all populations, must be positive for one")
    return {name: each / total for name, each in work.items()}


def _pieces(plan: Plan, tilings: Mapping[str, Tiling]) -> tuple[Piece, ...]:
    return tuple(
        Piece(name, box, dict(zip(RESOURCES, row, strict=True)))
        for name in plan.network.order
        for box, row in zip(
            tilings[name].boxes, plan.demands(name, tilings[name], tilings).tolist(), strict=True
        )
    )


def _table(pieces: Sequence[Piece]) -> Demands:
    return np.array([[piece.demand[one] for one in RESOURCES] for piece in pieces], np.int64)


def _packed(
    plan: Plan, pieces: Sequence[Piece], busy: Sequence[float], most: float | None
) -> list[list[int]]:
    settings = {part.name: settings_of(plan, part) for part in plan.network.populations}
    demands, capacity = _table(pieces), plan.capacity
    if most is not None:
        parts = np.minimum(np.array(busy) / most * PARTS, PARTS).astype(np.int64)
        demands = np.column_stack([demands, parts])
        capacity = np.append(capacity, PARTS)
    groups = pack(
        demands,
        [settings[piece.population] for piece in pieces],
        capacity,
        {name: limit.value for name, limit in plan.limits.settings.items()},
    )
    return sorted(groups)
