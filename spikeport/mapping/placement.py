"""Place cores on the mesh of tiles so that packets take few hops.

Cores start in the order of the network along the rows of tiles, every second row backwards, or
along the columns, whichever needs fewer hops. Then two cores change places as long as that saves
hops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeport.mapping.limits import CoreLimits

ROUNDS = 10
"""Most rounds in which every core may change places."""
MOST = 512
"""Most cores that change places; larger maps keep the order they start with."""

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Places:
    """Places on the mesh of all chips in a row.

    Attributes:
        core: number of the place.
        chip, column, row: its chip and its tile; columns count on from chip to chip.
    """

    core: NDArray[np.int64]
    chip: NDArray[np.int64]
    column: NDArray[np.int64]
    row: NDArray[np.int64]

    def of(self, order: NDArray[np.int64]) -> Places:
        """Places in another order."""
        return Places(*(getattr(self, part)[order] for part in ("core", "chip", "column", "row")))


def mesh_places(limits: CoreLimits, count: int, *, along_columns: bool = False) -> Places:
    """The first `count` cores of as many chips as needed, row by row of tiles or by columns."""
    per_chip, mesh = limits.cores.value, limits.mesh
    tiles = -(-per_chip // mesh.cores_per_tile)
    rows = -(-tiles // mesh.tiles_per_row)
    number = np.arange(count)
    chip, core = np.divmod(number, per_chip)
    tile = core // mesh.cores_per_tile
    if along_columns:
        column, row = np.divmod(tile, rows)
        row = np.where(column % 2, rows - 1 - row, row)
    else:
        row, column = np.divmod(tile, mesh.tiles_per_row)
        column = np.where(row % 2, mesh.tiles_per_row - 1 - column, column)
    return Places(number, chip, column + chip * mesh.tiles_per_row, row)


def starts(limits: CoreLimits, count: int) -> tuple[Places, Places]:
    """The two orders to start from."""
    rows, columns = (mesh_places(limits, count, along_columns=way) for way in (False, True))
    return rows, columns


def improved(messages: Table, places: Places) -> Places:
    """Places after exchanges that each save hops.

    Args:
        messages: between each two cores, (cores, cores).
    """
    both = messages + messages.T
    np.fill_diagonal(both, 0)
    distance = np.abs(places.column[:, None] - places.column).astype(np.float64)
    distance += np.abs(places.row[:, None] - places.row)
    return places.of(_exchange(both, distance))


def _exchange(messages: Table, distance: Table) -> NDArray[np.int64]:
    """The place of each core after exchanges that each save hops."""
    count = len(messages)
    at = np.arange(count)
    for _ in range(ROUNDS):
        changed = False
        for one in range(count):
            others = np.arange(count)
            saved = _saved(messages, distance, at, one, others)
            best = int(saved.argmax())
            if saved[best] > 1e-6 * max(1.0, messages[one].sum()):
                other = int(others[best])
                at[one], at[other] = at[other], at[one]
                changed = True
        if not changed:
            break
    return at


def _saved(
    messages: Table, distance: Table, at: NDArray[np.int64], one: int, others: NDArray[np.int64]
) -> Table:
    """Hops saved if a core changes places with each of the others."""
    here, there = distance[at[one]][at], distance[at[others]][:, at]
    change = (messages[one] - messages[others]) * (there - here)
    total = change.sum(axis=1)
    rows = np.arange(len(others))
    # The message between the two themselves keeps its distance.
    total -= change[:, one] + change[rows, others]
    total[others == one] = 0
    saved: Table = -total
    return saved
