"""`doctor`: whether the installation works."""

from __future__ import annotations

from typing import Annotated

import typer

from spikeport.cli import _io
from spikeport.errors import CheckFailedError


def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", help="Run nothing: only look at packages and folders.")
    ] = False,
    as_json: _io.Json = False,
) -> None:
    """Check the installation, and print what to paste into a bug report.

    A small network is written, read and run on every backend that is installed. The home folder is
    shown as ~. Exit code 1 if something is broken; each problem is followed by its fix.
    """
    from spikeport.workflow import check_installation

    found = check_installation(run=not quick)
    _io.emit(as_json, found.as_dict(), *found.lines)
    if found.problem is not None:
        raise CheckFailedError(found.problem)
