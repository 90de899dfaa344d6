"""The public names of `spikeport` and of each of its packages."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STUBS = sorted(
    path.relative_to(ROOT)
    for folder in ("spikeport", "trainer", "export", "simulators", "backends")
    for path in (ROOT / folder).rglob("__init__.pyi")
    if not any(parent.is_symlink() for parent in path.parents)
)


def package(stub: Path) -> str:
    parts = stub.parent.parts
    return ".".join(parts if parts[0] == "spikeport" else ("spikeport", *parts))


def declared(stub: Path) -> dict[str, str]:
    """Module by name, as type checkers and readers see it."""
    found: dict[str, str] = {}
    for node in ast.parse((ROOT / stub).read_text()).body:
        assert isinstance(node, ast.ImportFrom), stub
        assert node.level == 1, stub
        for alias in node.names:
            assert alias.name == alias.asname, f"{stub}: {alias.name}"
            assert alias.name not in found, f"{stub}: {alias.name} stands twice"
            found[alias.name] = node.module or ""
    return found


@pytest.mark.parametrize("stub", STUBS, ids=package)
def test_stub_and_run_time_agree(stub: Path) -> None:
    module = importlib.import_module(package(stub))
    names = declared(stub)
    assert module.__all__ == sorted(names)
    assert set(names) <= set(dir(module))
    assert module.__doc__
    for name in names:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018


@pytest.mark.parametrize("stub", STUBS, ids=package)
def test_no_public_name_is_that_of_a_module(stub: Path) -> None:
    """The import of a module would replace the public name by the module."""
    held = importlib.import_module(package(stub)).__path__
    assert not {module.name for module in pkgutil.iter_modules(held)} & set(declared(stub))


def test_star_import() -> None:
    script = "from spikeport import *; print(DeployedNetwork.__name__, train.__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "DeployedNetwork train\n", done.stderr
