"""The names of `spikeport` itself."""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path

import spikeport


def declared() -> set[str]:
    """Names under TYPE_CHECKING, which is what type checkers and readers see."""
    tree = ast.parse(Path(spikeport.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_checkers_and_run_time_see_the_same_names() -> None:
    assert declared() == set(spikeport._MODULE_OF)
    assert declared() <= set(dir(spikeport))


def test_every_public_name_resolves_and_hides_no_module() -> None:
    modules = {module.name for module in pkgutil.iter_modules(spikeport.__path__)}
    for name in spikeport._MODULE_OF:
        assert name not in modules
        assert getattr(spikeport, name).__name__ == name
