"""Calls of the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable

from spikeport.cli import main

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
    (line,) = text.strip().splitlines()
    return line
