"""`python -m tests.fuzz --minutes 10`: damage files for that long and report what happened."""

from __future__ import annotations

import argparse
import itertools
import sys

from tests.fuzz.driver import fuzz
from tests.fuzz.kinds import KINDS


def main() -> int:
    """Exit with 1 if any file was handled wrongly."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--files", type=int, help="Stop after so many files, if before.")
    parser.add_argument("--seed", type=int, default=0, help="First seed; each file has its own.")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="Only this kind.")
    chosen = parser.parse_args()
    seeds = itertools.count(chosen.seed)
    tasks = ((kind, seed) for seed in seeds for kind in chosen.kind or KINDS)
    found = fuzz(itertools.islice(tasks, chosen.files), 60 * chosen.minutes)
    sys.stdout.write(found.table() + "\n")
    for fault in found.faults:
        sys.stdout.write(f"\n{fault}\n")
    return int(bool(found.faults))


if __name__ == "__main__":
    sys.exit(main())
