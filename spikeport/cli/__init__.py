"""The command line: each verb is a thin call to a public function."""

from __future__ import annotations

import errno
import io
import json
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from spikeport.cli._warnings import show_warnings
from spikeport.errors import SpikeportError
from spikeport.text import one_line, shown

FAILED = 1
UNUSABLE = 2
BUG = 70
INTERRUPTED = 128 + signal.SIGINT
READER_GONE = 128 + signal.SIGPIPE
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
"""Exhausted resources: open files, memory, processes."""


def main() -> None:
    """Entry point of `spikeport`.

    Exit codes: 0 success, 1 a parity or limit check failed, 2 bad usage or input, or an output that
    cannot be written, 3 backend unavailable, 70 a bug in Spikeport, 130 interrupted, 141 broken
    pipe on standard output.
    """
    try:
        with _interrupts_end():
            _open_streams()
            _leave_lost_folder()
            # Otherwise numba reads both from .numba_config.yaml in the current folder, which would
            # decide what it unpickles and imports.
            for name in ("NUMBA_CACHE_DIR", "NUMBA_CACHE_LOCATOR_CLASSES"):
                os.environ.setdefault(name, "")
            show_warnings()
            app = _application()
        code = _incomplete(app) if isinstance(app, ImportError) else _exit_code(app)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(_settle(code))


def _application() -> object:
    """The Typer application, or the reason why it or the verb cannot be imported."""
    try:
        from spikeport.cli._app import VERBS, app

        if named := VERBS.get("".join(sys.argv[1:2])):
            named.function()
    except ImportError as error:
        return error
    return app


def _incomplete(error: ImportError) -> int:
    """A required package cannot be imported: only `doctor` works, and says how to fix it."""
    if sys.argv[1:2] != ["doctor"]:
        _say(one_line(f"installation: {error}; `spikeport doctor` says how to fix it"))
        return UNUSABLE
    from spikeport.workflow.installation import check_installation

    found = check_installation(run=False)
    as_json = "--json" in sys.argv[2:]
    told = json.dumps(found.as_dict(), indent=2) if as_json else "\n".join(found.lines)
    sys.stdout.write(f"{told}\n")
    _say(found.problem or one_line(f"doctor: {error}"))
    return FAILED


def _exit_code(app: object) -> int:
    """Run a Typer application; report its error and return the exit code."""
    assert callable(app)
    output = os.fstat(1)
    try:
        app()
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):
            # typer and rich convert a broken pipe to this; rich also redirects standard output.
            if os.path.samestat(output, os.fstat(1)):
                return _unforeseen(stop.__context__)
            return READER_GONE
        return int(stop.code or 0)
    except SpikeportError as error:
        _say(error.coded)
        return error.exit_code
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        ours = (error.name or "").partition(".")[0] == "spikeport"
        return _unforeseen(error) if ours else _incomplete(error)
    except BaseException as error:  # pyo3's panics are not Exceptions
        return _unforeseen(error)
    return 0


def _unforeseen(error: BaseException) -> int:
    """Report an unexpected exception: a problem of the machine, or otherwise a bug."""
    text = str(error) or type(error).__name__
    if _is_memory(error):
        _say(one_line(f"out of memory: {text}; use fewer samples or a machine with more"))
        return UNUSABLE
    if isinstance(error, OSError):
        if isinstance(error, BrokenPipeError) and _reader_gone():
            return READER_GONE
        # Errors of files have their own messages, so this is the terminal, the pipe or a full disk.
        subject = error.filename or ("standard output" if error.errno in _FULL else None)
        if subject is not None or error.errno in _SHORT:
            reason = error.strerror or text
            _say(one_line(reason if subject is None else f"{os.fsdecode(subject)}: {reason}"))
            return UNUSABLE
    _report_bug(error)
    return BUG


def _is_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch has its own exceptions for that."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _report_bug(error: BaseException) -> None:
    import traceback

    from spikeport.version import __version__

    lines = "".join(traceback.format_exception(error)).splitlines()
    what = traceback.format_exception_only(error)[-1].strip()
    _write("".join(shown(line) + "\n" for line in lines))
    _say(
        one_line(
            f"this is a bug in Spikeport {__version__}: {what}; please report it with the "
            "traceback above and the command that you ran"
        )
    )


def _say(text: str) -> None:
    _write(f"spikeport: {text}\n")


def _write(text: str) -> None:
    """Write to standard error if possible; if not, there is nowhere left to report it."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _discard(2)


def _settle(code: int) -> int:
    """Flush standard output, so that Python does not report an error on exit."""
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
    """Redirect a standard stream, including its buffered output, to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _reader_gone() -> bool:
    """Whether standard output or error is a pipe that its reader has closed."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return any(state & select.POLLERR for _, state in poll.poll(0))


@contextmanager
def _interrupts_end() -> Iterator[None]:
    """Within the block, Ctrl-C ends the process immediately: there is nothing to clean up yet, and
    an interrupted import may turn KeyboardInterrupt into another exception."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave_lost_folder() -> None:
    """Leave a current folder that was deleted: torch and child processes cannot start there.

    No file can be opened or created in the new one, so relative paths fail as before.
    """
    try:
        os.getcwd()
    except OSError:
        with suppress(OSError):
            os.chdir("/proc/self/fdinfo")


def _open_streams() -> None:
    """Connect closed standard streams (`>&-`) to the null device, because the next files opened
    would get their numbers; escape characters that the encoding of a stream does not have."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115
        elif mode == "w" and isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # The terminal may not use UTF-8.
