"""Run a measurement in a separate process, with a given number of threads and a time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS_VARIABLE = "SPIKEPORT_PEERS_PYTHON"
PEERS_FOLDER = ".venv-peers"
FIX = (
    f"python3 -m venv {PEERS_FOLDER} && {PEERS_FOLDER}/bin/python -m pip install --no-deps "
    "--requirement benchmarks/requirements.txt"
)
GRACE_S = 10.0
"""Seconds in which a child may stop what it started (Lava's worker) before it is killed."""


class ChildError(Exception):
    """A measurement failed or took too long; the message is its last line."""


class ChildTimeoutError(ChildError):
    """A measurement took too long."""


def peers_python() -> Path:
    """The interpreter for the other frameworks: from SPIKEPORT_PEERS_PYTHON, else `.venv-peers`,
    else the current one."""
    if named := os.environ.get(PEERS_VARIABLE):
        return Path(named)
    made = ROOT / PEERS_FOLDER / "bin" / "python"
    return made if made.is_file() else Path(sys.executable)


def has_module(python: Path, module: str) -> bool:
    """Whether an interpreter can find a module."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([str(python), "-c", code], cwd=ROOT, env=_variables(1)).returncode == 0


def child(
    python: Path | str,
    module: str,
    arguments: Sequence[str],
    *,
    threads: int,
    limit_s: float,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Run `python -m module arguments` in the repository; return the last line of its stdout.

    Args:
        variables: of its environment, besides those of this process.

    Raises:
        ChildTimeoutError: it took longer than `limit_s` and was killed with everything it started.
        ChildError: it failed.
    """
    process = subprocess.Popen(
        [str(python), "-m", module, *arguments],
        cwd=ROOT,
        env=_variables(threads) | dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise ChildTimeoutError(f"took longer than {limit_s:g} s") from None
    finally:
        for kill in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, kill)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=GRACE_S)
    if process.returncode:
        raise ChildError(_last_line(err) or f"ended with code {process.returncode}")
    return _last_line(out)


def answer(python: Path | str, module: str, arguments: Sequence[str], **how: Any) -> dict[str, Any]:
    """Like `child`, for a last line that is a JSON object."""
    found: dict[str, Any] = json.loads(child(python, module, arguments, **how))
    return found


def measure(
    python: Path | str,
    simulator: str,
    folder: Path | str,
    variants: Sequence[Sequence[Any]],
    repeats: int,
    threads: int,
    cap_s: float,
) -> dict[str, Any]:
    """One measurement by `benchmarks.measure`; its arguments are those of a `Job`."""
    job = {
        "simulator": simulator,
        "folder": str(folder),
        "variants": variants,
        "repeats": repeats,
        "threads": threads,
        "cap_s": cap_s,
        "spawned": time.time(),
    }
    # Lava's worker has its own time limit, after which it is stopped
    limit_s = cap_s + 60 if simulator == "lava" else cap_s
    return answer(python, "benchmarks.measure", [json.dumps(job)], threads=threads, limit_s=limit_s)


def exit_on_terminate() -> None:
    """Turn SIGTERM into an exception, so that everything started is ended on exit."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _variables(threads: int) -> dict[str, str]:
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    return os.environ | {f"{name}_NUM_THREADS": str(threads) for name in names}


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
