"""Calls of the command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from spikeport.cli import main
from spikeport.errors import error_classes

Spikeport = Callable[..., tuple[int, str, str]]


def call(arguments: list[str]) -> int:
    before = sys.argv
    sys.argv = ["spikeport", *arguments]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0


def one_line(text: str) -> str:
    """The only line of an error, without its code, which must be one of those there are."""
    (line,) = text.strip().splitlines()
    found = re.search(r" \[([A-Z]\w+)\]$", line)
    if found is None:
        return line
    assert found[1] in error_classes()
    return line.removesuffix(found[0])
