"""Terminal output through `rich`: tables and text in which every string is shown literally.

Markup, emoji codes, highlighting and control characters have no effect (`spikeport.text.shown`).
All other modules print through this one; a ruff rule bans rich elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import rich.table
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from spikeport.report.columns import blocks, share, widths_of
from spikeport.text import cut, shown

LONGEST_CELL = 10_000
"""Longest text on the screen, in characters; JSON is never shortened."""
WIDTH = 100
"""In columns, if standard output is not a terminal."""

Cell = str | Text
Renderable = str | RenderableType


def plain(text: str, style: str = "") -> Text:
    """Literal text on one line."""
    return Text(shown(cut(text, LONGEST_CELL)), style=style)


def assemble(*parts: str | tuple[str, str], style: str = "") -> Text:
    """Concatenate parts, each a text or (text, style)."""
    whole = Text(style=style)
    for part in parts:
        whole.append_text(plain(part) if isinstance(part, str) else plain(*part))
    return whole


def lines(parts: Sequence[Cell], style: str = "") -> Text:
    """Join parts, one per line."""
    return Text("\n", style=style).join(map(_text, parts))


def stack(*parts: Renderable) -> RenderableType:
    """Stack parts vertically."""
    return Group(*(_text(part) if isinstance(part, str) else part for part in parts))


class Fitted:
    """Something that is laid out for the width of the screen that shows it.

    Args:
        make: what to show on a screen of this number of columns.
    """

    def __init__(self, make: Callable[[int], Renderable]) -> None:
        self._make = make

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield stack(self._make(options.max_width))


class Table:
    """A table of literal text; cells wrap.

    Words of headers and cells of numbers stay whole: if there are too many columns for the screen,
    several tables follow each other, each with the first column.

    Args:
        framed: draw lines around the table and between its columns.
        tight: no space on the left of each column.
    """

    def __init__(
        self, title: str = "", *, header: bool = True, framed: bool = True, tight: bool = False
    ) -> None:
        self._title, self._header, self._framed, self._tight = title, header, framed, tight
        self._columns: list[_Column] = []
        self._rows: list[tuple[tuple[Text, ...], str]] = []

    def add_column(
        self,
        header: Cell = "",
        *,
        justify: Literal["left", "right"] = "left",
        style: str = "",
        no_wrap: bool = False,
        max_width: int | None = None,
    ) -> None:
        """Add a column under `header`; if cells that may not wrap are cut, an ellipsis says so."""
        self._columns.append(_Column(_text(header), justify, style, no_wrap, max_width))

    def add_row(self, *cells: Cell, style: str = "") -> None:
        """Add a row; cells that are not given are empty."""
        empty = ("",) * (len(self._columns) - len(cells))
        self._rows.append((tuple(map(_text, (*cells, *empty))), style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = [
            widths_of(
                column.header.plain.split("\n") if self._header else (),
                [line for cells, _ in self._rows for line in cells[k].plain.split("\n")],
                whole=column.no_wrap or column.justify == "right",
                most=column.max_width,
            )
            for k, column in enumerate(self._columns)
        ]
        padding = 1 if self._tight else 2
        room = options.max_width - 1
        for number, block in enumerate(blocks(widths, room, padding + 1)):
            some = [widths[k] for k in block]
            taken = share(some, room - len(block) * (padding + 1))
            yield self._block("" if number else self._title, block, taken)

    def _block(self, title: str, block: Sequence[int], widths: Sequence[int]) -> rich.table.Table:
        table = rich.table.Table(
            title=plain(title) if title else None,
            title_justify="left",
            title_style=None if self._framed else "bold",
            show_header=self._header,
            box=box.HEAVY_HEAD if self._framed else box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0) if self._tight else (0, 1),
        )
        for k, width in zip(block, widths, strict=True):
            column = self._columns[k]
            header = column.header.copy()
            header.no_wrap, header.overflow = False, "fold"
            table.add_column(
                header,
                justify=column.justify,
                style=column.style,
                no_wrap=column.no_wrap,
                width=width,
                overflow="ellipsis" if column.no_wrap else "fold",
            )
        for cells, style in self._rows:
            table.add_row(*(cells[k] for k in block), style=style)
        return table


@dataclass(frozen=True, slots=True)
class _Column:
    header: Text
    justify: Literal["left", "right"]
    style: str
    no_wrap: bool
    max_width: int | None


def show(*parts: Renderable) -> None:
    """Print to standard output; texts are not wrapped."""
    screen = _console()
    for part in parts:
        if isinstance(part, str):
            screen.print(plain(part), soft_wrap=True)
        else:
            screen.print(part)


@contextmanager
def progress(text: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error, on terminals only; yields `update(text, done, total)`.

    A total of 0 means that the total is unknown.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns,
        console=_console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    ) as bar:
        task = bar.add_task(shown(text), total=None)
        yield lambda text, done, total: bar.update(
            task, description=shown(text), completed=done, total=total or None
        )


def _console(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        width=None if stream.isatty() else WIDTH,
        markup=False,
        emoji=False,
        highlight=False,
    )


def _text(part: Cell) -> Text:
    return plain(part) if isinstance(part, str) else part
