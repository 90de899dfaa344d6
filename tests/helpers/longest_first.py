"""Pytest runs files with the most tests marked `slow` first, then those with the most tests.

Otherwise a long file may be the last, while all other processes wait for it.
"""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    held = Counter(item.path for item in items)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (-slow[item.path], -held[item.path], item.path))
