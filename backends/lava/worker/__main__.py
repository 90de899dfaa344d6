"""`python -m worker version`, or `python -m worker run TOKEN JOBS PROGRESS_FD` in the run's folder.

The process that is started only stands guard: it forks the one that imports Lava and waits. If
Spikeport dies, even by SIGKILL, it ends the session and unlinks the segments.
"""

# ruff: noqa: TID251 (relative imports, since here the package is called `worker`)

from __future__ import annotations

import os
import sys
import time

from .sweep import sweep

POLL_S = 0.02


def main() -> int:
    """Do what the command line says; returns the exit code."""
    match sys.argv[1:]:
        case ["version"]:
            from .simulate import lava_version

            sys.stdout.write(lava_version())
            return 0
        case ["run", token, jobs, progress]:
            return guard(token, int(jobs), int(progress))
    return 2


def guard(token: str, jobs: int, progress: int) -> int:
    """Run the jobs in a child; returns its exit code, 128 + N for signal N as shells do."""
    spikeport = os.getppid()
    child = os.fork()
    if child == 0:
        from .simulate import run_jobs

        # Lava's runtime stops itself when it is collected, which hangs after an error.
        os._exit(run_jobs(token, jobs, progress))
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if os.getppid() != spikeport:
            sweep(os.getsid(0), token, spare=os.getpid())
            return 1
        time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main())
