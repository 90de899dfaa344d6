"""Place cores on the mesh of tiles so that packets take few hops.

Cores start in the order of the network along the rows of tiles, every second row backwards, or
along the columns. From both, two cores change places as long as that saves hops; the order that
then needs fewer is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeport.mapping.limits import CoreLimits

ROUNDS = 10
"""Most rounds in which every core may change places."""
MOST = 1024
"""Most cores that change places; larger maps keep the order they start with."""

DENSE = 4096
"""Most cores for which the messages between each two are listed."""

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


def starts(limits: CoreLimits, count: int) -> list[Places]:
    """The two orders to start from."""
    return [mesh_places(limits, count, along_columns=way) for way in (False, True)]


def improved(messages: Table, places: Places) -> Places:
    """Places after exchanges that each save hops.

    Args:
        messages: between each two cores, (cores, cores).
    """
    both = messages + messages.T
    np.fill_diagonal(both, 0)
    tiles = np.stack([places.column, places.row], axis=1)
    different, tile_of = np.unique(tiles, axis=0, return_inverse=True)
    distance = np.abs(different[:, None] - different).sum(axis=2).astype(np.float64)
    return places.of(_exchange(both, distance, tile_of.ravel()))


def hops_of(messages: Table, places: Places) -> float:
    """Hops of all messages between cores."""
    columns = np.abs(places.column[:, None] - places.column)
    rows = np.abs(places.row[:, None] - places.row)
    return float((messages * (columns + rows)).sum())


def least_hops(messages: Table, cores_per_tile: int) -> float:
    """Hops that no placement can do without, on a mesh without borders.

    Around a core, the rest of its tile is at no distance, and 4 k tiles are k hops away. Whatever
    lies where, its messages need at least as many hops as if the cores that it exchanges most with
    were the nearest. That counts every message at both ends.
    """
    both = messages + messages.T
    np.fill_diagonal(both, 0)
    count = len(both)
    cores_per_tile = min(cores_per_tile, count)
    rings = np.arange(1, math.isqrt(count) + 2)
    around = np.repeat(rings, 4 * rings * cores_per_tile)
    distance = np.concatenate([np.zeros(cores_per_tile - 1), around])[:count]
    return float((-np.sort(-both, axis=1) * distance).sum()) / 2


def _exchange(messages: Table, distance: Table, tile_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of each core after exchanges that each save hops.

    Args:
        messages: between each two cores in both directions.
        distance: between each two tiles.
        tile_of: of each place.
    """
    numbers = np.arange(len(messages))
    at, tile = numbers.copy(), tile_of.copy()
    hops = messages @ distance[tile]  # of a core's messages if it were on a tile, (cores, tiles)
    for _ in range(ROUNDS):
        changed = False
        for one in numbers:
            here, now = tile[one], hops[numbers, tile]
            change = hops[one, tile] + hops[:, here] - now[one] - now
            # The messages between the two themselves keep their distance.
            change += 2 * messages[one] * distance[here, tile]
            change[one] = 0
            other = int(change.argmin())
            if change[other] < -1e-6 * max(1.0, messages[one].sum()):
                there = tile[other]
                moved = messages[:, one] - messages[:, other]
                hops += np.outer(moved, distance[there] - distance[here])
                tile[one], tile[other] = there, here
                at[one], at[other] = at[other], at[one]
                changed = True
        if not changed:
            break
    return at
