"""`python -m worker version`, or `python -m worker run TOKEN JOBS PROGRESS_FD` in the run's folder.

The started process is only a guard: it forks the one that imports Lava, and waits for the end of
that one or of Spikeport, even by SIGKILL. Then it ends the session and unlinks the segments.
"""

# ruff: noqa: TID251 (relative imports, since here the package is called `worker`)

from __future__ import annotations

import os
import select
import sys

from .sweep import sweep

POLL_S = 0.02


def main() -> int:
    """Run the command line; return the exit code."""
    match sys.argv[1:]:
        case ["version"]:
            from .simulate import lava_version

            sys.stdout.write(lava_version())
            return 0
        case ["run", token, jobs, progress]:
            return guard(token, int(jobs), int(progress))
    return 2


def guard(token: str, jobs: int, progress: int) -> int:
    """Run the jobs in a child; return its exit code, or 128 + N for signal N, as shells do.

    Spikeport holds the other end of standard input and never writes: it is closed when Spikeport
    ends. At that point, or when the child ends, everything that Lava started is removed.
    """
    spikeport = os.getppid()
    child = os.fork()
    if child == 0:
        from .simulate import run_jobs

        # Lava's runtime stops itself when garbage-collected, which hangs after an error.
        os._exit(run_jobs(token, jobs, progress))
    code = 1
    # A process that Spikeport forked meanwhile also holds that end, so check the parent as well.
    while os.getppid() == spikeport and not select.select([0], [], [], POLL_S)[0]:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
    # The parent may be a script around this interpreter, which still has to pass on the exit code.
    sweep(os.getsid(0), token, spare=(os.getpid(), os.getppid()))
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
