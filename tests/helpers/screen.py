"""What a table looks like on a screen of a given width."""

from __future__ import annotations

import io

from rich.console import Console  # noqa: TID251


def on_screen(part: object, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]
