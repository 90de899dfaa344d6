"""Hidden and system files that are not part of a data set (.DS_Store, Thumbs.db, __MACOSX, ...)."""

from __future__ import annotations

from pathlib import PurePath

LEFTOVERS = frozenset(
    {
        *("__macosx", "__pycache__", "@eadir", "#recycle", "$recycle.bin", "lost+found"),
        *("system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    }
)
"""In lower case. Names that start with a dot are hidden as well."""


def is_hidden(path: str) -> bool:
    """Whether any component of a relative path is hidden."""
    parts = PurePath(path).parts
    return any(part.startswith(".") or part.lower() in LEFTOVERS for part in parts)
