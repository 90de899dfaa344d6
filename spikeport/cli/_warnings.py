"""Warnings on standard error, each on one line."""

from __future__ import annotations

import logging
import sys
import warnings

from spikeport.text import one_line


class _Lines(logging.Handler):
    """Writes to the current `sys.stderr`, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{one_line(record.getMessage())}\n")


def show_warnings() -> None:
    """Print log records and warnings as plain text; existing log handlers take precedence."""
    # The handler needs the level too: Dask's loggers have lower levels than the root logger.
    logging.basicConfig(level=logging.WARNING, handlers=[_Lines(logging.WARNING)])
    warnings.formatwarning = _format


def _format(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    return f"{category.__name__}: {one_line(str(message))}\n"
