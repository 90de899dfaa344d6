"""README and the pages of docs/ as tests read them: sections, tables and figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal

from tests.helpers.layout import ROOT

Row = dict[str, str]


def page(name: str) -> str:
    """The text of README.md or of a page of docs/."""
    return (ROOT / (name if name == "README.md" else f"docs/{name}")).read_text("utf-8")


def table(text: str, *columns: str) -> list[Row]:
    """Rows of the one table whose header has all of `columns`, without bold and code marks.

    An empty first cell means the one above, as in rows that continue with the same data.
    """
    (found,) = (rows for header, rows in _tables(text) if set(columns) <= set(header))
    return found


def _tables(text: str) -> Iterator[tuple[list[str], list[Row]]]:
    for block in re.findall(r"(?:^\|.*\n)+", text + "\n", re.M):
        header, _, *lines = (_cells(line) for line in block.splitlines())
        rows: list[Row] = []
        for cells in lines:
            assert len(cells) == len(header), cells
            row = dict(zip(header, cells, strict=True))
            if rows and not row[header[0]]:
                row[header[0]] = rows[-1][header[0]]
            rows.append(row)
        yield header, rows


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line)[1:-1]
    return [re.sub(r"\*\*", "", cell).strip() for cell in cells]


def number(cell: str) -> float:
    """The first number in a cell or sentence: '> 6,016' is 6016."""
    found = re.search(r"[-+]?\d[\d,]*(?:\.\d+)?", cell)
    assert found, cell
    return float(found[0].replace(",", ""))


def rounded(value: float | str, decimals: int) -> str:
    """A decimal number rounded half up, as it would be written by hand."""
    return str(Decimal(str(value)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP))


def match(pattern: str, text: str) -> re.Match[str]:
    """Find a pattern that a page must contain; ^ and $ match at lines, a dot also newlines."""
    found = re.search(pattern, text, re.M | re.S)
    assert found, f"no {pattern!r}"
    return found


def percentages(text: str) -> list[str]:
    """Every 'N %' of a text, in order, without the sign."""
    return re.findall(r"(\d+(?:\.\d+)?)\s%", text)
