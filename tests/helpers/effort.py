"""How many examples the longest property tests draw."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("SPIKEPORT_THOROUGH"))


def examples(count: int) -> int:
    """`count` in `make slow`, which sets SPIKEPORT_THOROUGH; a third of it elsewhere.

    For tests that take several seconds otherwise, and whose rule others show by chosen examples.
    """
    return count if THOROUGH else -(-count // 3)
