"""Entries that operating systems and tools leave beside data, which belong to no data set."""

from __future__ import annotations

from pathlib import PurePath

LEFTOVERS = frozenset(
    {
        *("__macosx", "__pycache__", "@eadir", "#recycle", "$recycle.bin", "lost+found"),
        *("system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    }
)
"""Names in lower case; what begins with a dot is hidden too."""


def is_hidden(path: str) -> bool:
    """Whether a part of a relative path is the name of such an entry."""
    parts = PurePath(path).parts
    return any(part.startswith(".") or part.lower() in LEFTOVERS for part in parts)
