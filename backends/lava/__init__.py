"""Intel's Lava as a backend: its own environment, a worker process, files in and files out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeport.backends.lava.backend import run_lava, run_many
    from spikeport.backends.lava.environment import LavaStatus, create_environment, lava_status

__all__ = ["LavaStatus", "create_environment", "lava_status", "run_lava", "run_many"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: `environment` also runs as a program."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = "backend" if name.startswith("run") else "environment"
    return getattr(import_module(f"{__name__}.{place}"), name)
