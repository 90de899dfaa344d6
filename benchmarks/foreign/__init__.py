"""Random networks of other frameworks, each built and run as its documentation shows."""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def framework(name: str) -> Any:
    """The module of this name, imported without the warnings of its own use of torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(name)


def installed(package: str) -> bool:
    """Whether a framework is installed."""
    return find_spec(package) is not None
