"""Training with rate-based backpropagation (needs torch)."""

from typing import Any

import lazy_loader

from spikeport.errors import MissingPackageError

EXTRA = ("torch", "pydantic", "PIL")
"""Packages installed by the extra `training`. Data sets can be read without torch."""

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _load(name)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        raise MissingPackageError(
            f"trainer: '{name}' needs {error.name}, which is not installed: "
            "pip install '.[training]'"
        ) from error
