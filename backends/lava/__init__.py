"""Intel's Lava as a backend: its own environment, a worker process, files in and files out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeport.backends.lava.backend import run_lava, run_many
    from spikeport.backends.lava.environment import LavaStatus, create_environment, lava_status
    from spikeport.backends.lava.notes import lava_gaps

_PLACES = {
    "LavaStatus": "environment",
    "create_environment": "environment",
    "lava_gaps": "notes",
    "lava_status": "environment",
    "run_lava": "backend",
    "run_many": "backend",
}
__all__ = ["LavaStatus", "create_environment", "lava_gaps", "lava_status", "run_lava", "run_many"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: `environment` also runs as a program."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
