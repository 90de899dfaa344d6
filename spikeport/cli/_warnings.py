"""Warnings on standard error, each on one line."""

from __future__ import annotations

import logging
import sys
import warnings

from spikeport.text import one_line


class _Lines(logging.Handler):
    """Writes to what standard error is at the time, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{one_line(record.getMessage())}\n")


def show_warnings() -> None:
    """Print what is logged or warned of as text; log handlers that are there stay the only ones."""
    # The handler's own level too: Dask lets its loggers pass what is below the root's.
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
