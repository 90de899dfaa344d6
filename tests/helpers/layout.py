"""Where product code lies."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

FOLDERS = ("trainer", "export", "simulators", "backends", "spikeport")


def sources() -> list[Path]:
    return sorted(
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if not any(parent.is_symlink() for parent in path.parents)
    )
