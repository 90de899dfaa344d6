"""How pytest shares the suite among processes.

The files with the most tests marked `slow` run first, then those with the most tests. Otherwise a
long file may be the last, while all other processes wait for it. There is one process more than
cores: a sixth of the time tests wait for processes that they started, or for time limits.
"""

from __future__ import annotations

from collections import Counter

import pytest

from spikeport.cores import core_count


def pytest_xdist_auto_num_workers() -> int:
    return core_count() + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    held = Counter(item.path for item in items)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (-slow[item.path], -held[item.path], item.path))
