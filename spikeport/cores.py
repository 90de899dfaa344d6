"""The processor cores that this process may use."""

from __future__ import annotations

import os


def core_count() -> int:
    """Number of cores available to this process; 1 where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
