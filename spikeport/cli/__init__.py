"""The command line: each verb a thin call to a public function."""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from spikeport.cli._warnings import show_warnings
from spikeport.errors import SpikeportError
from spikeport.text import one_line, shown

UNUSABLE = 2
BUG = 70
INTERRUPTED = 128 + signal.SIGINT
READER_GONE = 128 + signal.SIGPIPE
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
"""What the machine may be short of: open files, memory, processes."""


def main() -> None:
    """Entry point of `spikeport`.

    Exit codes: 0 fine, 1 a parity or limit check failed, 2 bad usage or input, or an output that
    cannot be written, 3 backend unavailable, 70 a bug in Spikeport, 130 interrupted, 141 nobody
    reads standard output any more.
    """
    try:
        with _interrupts_end():
            _open_streams()
            _leave_lost_folder()
            # Else numba takes both from .numba_config.yaml in the current folder, and so what it
            # unpickles and imports.
            for name in ("NUMBA_CACHE_DIR", "NUMBA_CACHE_LOCATOR_CLASSES"):
                os.environ.setdefault(name, "")
            show_warnings()
            from spikeport.cli._app import app
        code = _exit_code(app)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(_settle(code))


def _exit_code(app: object) -> int:
    """Run a Typer application; say what went wrong, and by which exit code."""
    assert callable(app)
    output = os.fstat(1)
    try:
        app()
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):
            # What typer and rich make of one, of which rich lets standard output go nowhere.
            if os.path.samestat(output, os.fstat(1)):
                return _unforeseen(stop.__context__)
            return READER_GONE
        return int(stop.code or 0)
    except SpikeportError as error:
        _say(f"{error}")
        return error.exit_code
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pyo3's panics are no Exceptions
        return _unforeseen(error)
    return 0


def _unforeseen(error: BaseException) -> int:
    """Tell an exception that no rule of Spikeport foresees: of the machine, or else a bug."""
    text = str(error) or type(error).__name__
    if _is_memory(error):
        _say(one_line(f"out of memory: {text}; take fewer samples, or a machine with more"))
        return UNUSABLE
    if isinstance(error, OSError):
        if isinstance(error, BrokenPipeError) and _reader_gone():
            return READER_GONE
        # Files have messages of their own, so this is the terminal, the pipe or a full disk there.
        subject = error.filename or ("standard output" if error.errno in _FULL else None)
        if subject is not None or error.errno in _SHORT:
            said = error.strerror or text
            _say(one_line(said if subject is None else f"{os.fsdecode(subject)}: {said}"))
            return UNUSABLE
    _report(error)
    return BUG


def _is_memory(error: BaseException) -> bool:
    """Whether memory was short; torch tells that by errors of its own."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _report(error: BaseException) -> None:
    import traceback
    from importlib.metadata import version

    lines = "".join(traceback.format_exception(error)).splitlines()
    what = traceback.format_exception_only(error)[-1].strip()
    _write("".join(shown(line) + "\n" for line in lines))
    _say(
        one_line(
            f"this is a bug in Spikeport {version('spikeport')}: {what}; please report it with the "
            "traceback above and the command that you gave"
        )
    )


def _say(text: str) -> None:
    _write(f"spikeport: {text}\n")


def _write(text: str) -> None:
    """Write to standard error as far as that is possible; where it is not, nobody can be told."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _discard(2)


def _settle(code: int) -> int:
    """Write what is buffered, so that Python's own end finds nothing to complain of."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(1)
        code = code or READER_GONE
    except OSError as error:
        _discard(1)
        if code == 0:
            _say(f"standard output: {error.strerror}")
            code = UNUSABLE
    _write("")
    return code


def _discard(number: int) -> None:
    """Let a standard stream, with what it holds already, go nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _reader_gone() -> bool:
    """Whether standard output or error is a pipe that nobody reads."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return any(state & select.POLLERR for _, state in poll.poll(0))


@contextmanager
def _interrupts_end() -> Iterator[None]:
    """Within the block Ctrl-C ends the process at once: there is nothing yet to clean up, and an
    exception from the middle of an import may come out as another one."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave_lost_folder() -> None:
    """Leave a current folder that was deleted, as torch and new processes cannot start there.

    In this one no file can be found or made either, so relative paths fail as before.
    """
    try:
        os.getcwd()
    except OSError:
        with suppress(OSError):
            os.chdir("/proc/self/fdinfo")


def _open_streams() -> None:
    """Give the standard streams that are closed (`>&-`) an end, as their numbers would go to the
    next file that is opened; and let standard output show what its encoding does not have."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115
        elif mode == "w" and isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # A terminal may not have UTF-8.
