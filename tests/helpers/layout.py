"""Where product code lies."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

FOLDERS = ("trainer", "export", "simulators", "backends", "spikeport")

APPLICATION = tuple(
    f"spikeport.{room}" for room in ("workflow", "ladder", "report", "sharding", "cli")
)
CORE = (
    "checks",
    "cores",
    "plugins",
    "hardware",
    "network",
    "runs",
    "traces",
    "energy",
    "mapping",
    "parity",
    "storage",
    "errors",
    "text",
    "version",
)
FORBIDDEN = {
    "core": ("spikeport.trainer", "spikeport.export", "spikeport.simulators", "spikeport.backends"),
    "export": ("spikeport.trainer", "spikeport.simulators", "spikeport.backends"),
    "simulators": ("spikeport.trainer", "spikeport.backends"),
    "trainer": ("spikeport.export", "spikeport.backends"),
    "backends": ("spikeport.trainer",),
}
"""Layers that a layer may not import; none but the application imports the application."""


def sources() -> list[Path]:
    return sorted(
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if not any(parent.is_symlink() for parent in path.parents)
    )
