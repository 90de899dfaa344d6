"""A part of a report: a table with figures, such as the effect of quantization on each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from spikeport.report.figures import Figure
from spikeport.report.units import format_count

Cell = str | int | float | None


class Topic(StrEnum):
    """What a section is about, and with that its place in a report."""

    PARITY = "parity"
    FIT = "fit"
    ACCURACY = "accuracy"
    ACTIVITY = "activity"
    RANGES = "ranges"
    QUANTIZATION = "quantization"
    ENERGY = "energy"
    MAP = "map"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Section:
    """A titled table; None marks a value that does not apply.

    Attributes:
        columns, rows: without columns there is no table.
        warnings: points to check, one sentence each.
        figures: shown above the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    warnings: tuple[str, ...] = ()
    topic: Topic = Topic.OTHER
    figures: tuple[Figure, ...] = ()

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Per column, whether all its values are numbers."""
        return tuple(
            all(isinstance(row[k], int | float | None) for row in self.rows)
            for k in range(len(self.columns))
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: rows as objects; infinity and NaN, unknown to JSON, as null."""
        finite = [
            [None if isinstance(v, float) and not math.isfinite(v) else v for v in row]
            for row in self.rows
        ]
        return {
            "title": self.title,
            "topic": self.topic,
            "note": self.note,
            "warnings": list(self.warnings),
            "columns": list(self.columns),
            "rows": [dict(zip(self.columns, row, strict=True)) for row in finite],
            "figures": [figure.as_dict() for figure in self.figures],
        }


def section_of(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    note: str = "",
    *,
    topic: Topic = Topic.OTHER,
    figures: Sequence[Figure] = (),
) -> Section:
    """Build a section from dictionaries; columns are in order of first appearance of their keys."""
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    cells = tuple(tuple(row.get(c) for c in columns) for row in rows)
    return Section(title, columns, cells, note, topic=topic, figures=tuple(figures))


def cell_text(value: Cell) -> str:
    """The text of a cell: thousands separators, floats of four digits, a dash for None."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int():
            return format_count(value)
        case float() if 1000 <= abs(value) < 1e9:
            return f"{value:,.0f}"
        case float():
            return "∞" if value == math.inf else f"{value:.4g}"
    return str(value)
