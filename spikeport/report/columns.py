"""Widths of the columns of a table on a screen: no word of a heading and no number is broken."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

WORD = 16
"""Longest word of a text, in columns of the screen, that is kept whole."""


@dataclass(frozen=True, slots=True)
class Widths:
    """Columns of the screen that a column of a table needs at least, and takes at most."""

    least: int
    most: int


def widths_of(
    header: Sequence[str], cells: Sequence[str], *, whole: bool, most: int | None = None
) -> Widths:
    """Widths for a header, given as its lines, over lines of cells.

    Args:
        whole: lines of cells are not wrapped, as for numbers.
        most: limit for lines of cells.
    """
    heading = max((len(word) for line in header for word in line.split()), default=1)
    line = min(max(map(len, cells), default=0), most or sys.maxsize)
    word = max((len(word) for cell in cells for word in cell.split()), default=0)
    least = max(heading, line if whole else min(word, line, WORD), 1)
    wanted = max(line, *map(len, header), 1)
    return Widths(least, max(least, min(wanted, most or sys.maxsize)))


def blocks(widths: Sequence[Widths], room: int, between: int) -> list[list[int]]:
    """Indices of the columns of each table, if they do not fit side by side on `room` columns.

    Each further table begins with the first column.

    Args:
        between: columns of the screen that each column of a table takes in addition.
    """
    found: list[list[int]] = [[]]
    for index in range(len(widths)):
        wanted = sum(widths[k].least + between for k in (*found[-1], index))
        if wanted > room and len(found[-1]) > (0 if len(found) == 1 else 1):
            found.append([0])
        found[-1].append(index)
    return found


def share(widths: Sequence[Widths], room: int) -> list[int]:
    """A width for each column: the least, and an even share of what is left of `room`."""
    taken = [one.least for one in widths]
    left = room - sum(taken)
    open_ends = [k for k, one in enumerate(widths) if one.most > one.least]
    while left > 0 and open_ends:
        narrowest = min(open_ends, key=lambda k: taken[k])
        taken[narrowest] += 1
        left -= 1
        if taken[narrowest] == widths[narrowest].most:
            open_ends.remove(narrowest)
    return taken
