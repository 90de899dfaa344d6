"""The separate environment of Lava: find it, query it and create it.

lava-nc 0.10.0 supports Python 3.10 only. Its unmodified wheel runs on 3.11 to 3.13 with the import
shim in `worker/fixes.py`. `python -m spikeport.backends.lava.environment PATH` creates the
environment and records its path, unless it is found without.

Nothing in the current folder is run implicitly: a downloaded folder, or one that others can write
to, may contain someone else's interpreter under that name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from spikeport.errors import BackendUnavailableError, InputError, OutputError, SpikeportError
from spikeport.storage import make_folder, write_text
from spikeport.text import shown

VARIABLE = "SPIKEPORT_LAVA_PYTHON"
FOLDER = ".venv-lava"
PYTHON = Path("bin") / "python"
RECORD = Path("share") / "spikeport" / "lava-python"
"""File with the path of Lava's interpreter, relative to the prefix of the current environment."""
HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
FIX = f"python -m spikeport.backends.lava.environment {FOLDER}"
NEWEST_PYTHON = (3, 13)
"""The newest Python supported by the pinned packages; Lava runs on 3.11 to 3.13."""


class LavaStatus(NamedTuple):
    """Lava's version, or None with the reason and a command that fixes it.

    Attributes:
        broken: there is an interpreter, but it cannot run Lava.
    """

    version: str | None
    reason: str = ""
    fix: str = ""
    broken: bool = False


def lava_python() -> Path | None:
    """Lava's interpreter: from SPIKEPORT_LAVA_PYTHON, else the one recorded in the current
    environment, else `.venv-lava` in the repository of this source or next to the current
    environment; None if there is none."""
    if named := os.environ.get(VARIABLE):
        return Path(named).absolute()
    found = [
        python for place in (HERE.parents[1], Path(sys.prefix).parent) if (python := _in(place))
    ]
    if (recorded := _recorded()) is not None and (recorded.is_file() or not found):
        return recorded
    return found[0] if found else None


def _recorded() -> Path | None:
    try:
        return Path((Path(sys.prefix) / RECORD).read_text(encoding="utf-8").rstrip("\n"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _in(place: Path) -> Path | None:
    """Lava's interpreter in `place`; None if it is missing or belongs to another user."""
    python = place / FOLDER / PYTHON
    try:
        trusted = {0, os.geteuid(), os.stat(sys.prefix).st_uid}
        if python.is_file() and (place / FOLDER).lstat().st_uid in trusted:
            return python.absolute()
    except OSError:
        pass
    return None


def lava_status() -> LavaStatus:
    """Query Lava's interpreter for Lava's version, once per interpreter and process."""
    if sys.platform != "linux":
        return LavaStatus(None, f"the Lava backend needs Linux, this is {sys.platform}", "none")
    python = lava_python()
    if python is None:
        return LavaStatus(None, f"no environment '{FOLDER}' found, {VARIABLE} is not set", FIX)
    found = _ask(python)
    if found.broken and os.environ.get(VARIABLE):  # which is asked before any new environment
        return found._replace(
            fix=f"unset {VARIABLE}, or set it to Lava's interpreter, as made by: {FIX}"
        )
    return found


def require_lava() -> tuple[Path, str]:
    """Lava's interpreter and version.

    Raises:
        BackendUnavailableError: with the reason and a command that fixes it.
    """
    status, python = lava_status(), lava_python()
    if status.version is None or python is None:
        raise BackendUnavailableError(f"backend 'lava': {status.reason}; to fix: {status.fix}")
    return python, status.version


def create_environment(path: str | os.PathLike[str]) -> Path:
    """Create Lava's environment at `path`, unless a working one exists; return its interpreter.

    Raises:
        BackendUnavailableError: this Python is too new, or an installation step failed.
        InputError: `path` contains something else, which would be deleted.
    """
    folder = Path(path).absolute()
    python = folder / PYTHON
    if python.is_file() and _ask(python).version == _pinned_version():
        return python
    if sys.version_info[:2] > NEWEST_PYTHON:
        raise BackendUnavailableError(
            f"backend 'lava': Python {sys.version_info[0]}.{sys.version_info[1]} is not supported "
            f"by lava-nc {_pinned_version()} and its dependencies, the newest is "
            f"{'.'.join(map(str, NEWEST_PYTHON))}; create the environment with an older Python and "
            f"set {VARIABLE} to its interpreter"
        )
    _check_free(folder)
    pip = [str(python), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _step([sys.executable, "-I", "-m", "venv", "--clear", str(folder)])
    _step([*pip, "--no-deps", "--ignore-requires-python", "--requirement", str(REQUIREMENTS)])
    _ask.cache_clear()
    if (status := _ask(python)).version is None:
        raise BackendUnavailableError(f"backend 'lava': installed, but {status.reason}")
    return python


def _check_free(folder: Path) -> None:
    """Refuse a symbolic link, and a folder that is not a virtual environment, complete or not."""
    if folder.is_symlink():
        raise InputError(
            f"{folder}: is a symbolic link to a folder without a working Lava, which would be "
            "emptied; use the folder itself or remove the link"
        )
    if folder.is_dir() and not (folder / "pyvenv.cfg").is_file():
        others = sorted(set(os.listdir(folder)) - {"bin", "include", "lib", "lib64"})
        if others:
            raise InputError(
                f"{folder}: contains '{others[0]}' and is not a virtual environment; it would be "
                "emptied, choose a new folder"
            )


def record_environment(python: Path) -> str:
    """Make sure that `lava_python` finds this interpreter; return a message for the user."""
    found = lava_python()
    if found is not None and found.parent.exists() and found.parent.samefile(python.parent):
        return "it is found automatically"
    if VARIABLE in os.environ:
        return f"not used while {VARIABLE} is {os.environ[VARIABLE]}"
    record = Path(sys.prefix) / RECORD
    try:
        make_folder(record.parent)
        write_text(record, f"{python}\n")
    except OutputError as error:
        return f"to use it, set {VARIABLE}={python} ({error})"
    return f"recorded in {record}"


def worker_environment() -> dict[str, str]:
    """Variables for Lava's interpreter, so that it finds only the worker and its own packages."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return kept | {
        "PYTHONPATH": str(HERE),
        "PYTHONSAFEPATH": "1",  # Otherwise modules in the current folder would take precedence.
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _pinned_version() -> str:
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith("lava-nc=="))


@cache
def _ask(python: Path) -> LavaStatus:
    if not os.access(python, os.X_OK):
        return LavaStatus(None, f"{python} is not an executable interpreter", FIX, broken=True)
    try:
        answer = subprocess.run(
            [str(python), "-m", "worker", "version"],
            env=worker_environment(),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return LavaStatus(None, f"{python} cannot be queried for Lava: {error}", FIX, broken=True)
    if answer.returncode < 0:
        name = signal.Signals(-answer.returncode).name
        return LavaStatus(
            None, f"{python} was killed by {name} while it imported Lava", FIX, broken=True
        )
    if answer.returncode:
        return LavaStatus(
            None, f"{python} cannot import Lava: {_last_line(answer.stderr)}", FIX, broken=True
        )
    return LavaStatus(answer.stdout.strip())


def _step(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise BackendUnavailableError(
            f"backend 'lava': '{' '.join(command)}' failed: {_last_line(done.stderr)}"
        )


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2] or "it printed nothing"


def main(arguments: list[str]) -> int:
    """Create the environment at the given path; return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m spikeport.backends.lava.environment PATH\n")
        return 2
    try:
        python = create_environment(arguments[0])
    except SpikeportError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    how = record_environment(python)
    ready = f"Lava {_ask(python).version} is ready: {python}; {how}"
    sys.stderr.write(shown(ready) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
