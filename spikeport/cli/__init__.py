"""The command line: each verb a thin call to a public function."""

from __future__ import annotations

import io
import os
import sys

from spikeport.cli._warnings import show_warnings
from spikeport.errors import SpikeportError
from spikeport.text import one_line


def main() -> None:
    """Entry point of `spikeport`.

    Exit codes: 0 fine, 1 a parity or limit check failed, 2 bad usage or input, 3 backend
    unavailable, 130 interrupted.
    """
    _open_streams()
    show_warnings()
    from spikeport.cli._app import app

    try:
        app()
    except SpikeportError as error:
        sys.stderr.write(f"spikeport: {error}\n")
        sys.exit(error.exit_code)
    except OSError as error:
        # Files have messages of their own, so this is the terminal, the pipe or a full disk there.
        name = error.filename or "standard output"
        sys.stderr.write(f"spikeport: {one_line(f'{name}: {error.strerror or error}')}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(2)


def _open_streams() -> None:
    """Give the standard streams that are closed (`>&-`) an end, as their numbers would go to the
    next file that is opened."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115
        elif mode == "w" and isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # A terminal may not have UTF-8.
