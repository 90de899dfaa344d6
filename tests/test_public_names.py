"""The public names of `spikeport` and of each of its packages."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikeport
from spikeport.backends.own import FLOAT, NATIVE, REFERENCE
from spikeport.ladder.run import environment
from tests.helpers.quantize_networks import affine, chain, integrate_and_fire, quantized, spikes_in

ROOT = Path(__file__).parent.parent
STUBS = sorted(
    path.relative_to(ROOT)
    for folder in ("spikeport", "trainer", "export", "simulators", "backends")
    for path in (ROOT / folder).rglob("__init__.pyi")
    if not any(parent.is_symlink() for parent in path.parents)
)


TOP = Path("spikeport/__init__.pyi")


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
        found = getattr(module, name)
        assert found is not None
        if inspect.isclass(found) or inspect.isfunction(found):
            assert found.__name__ == name
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018


def test_the_overview_holds_every_public_name_once() -> None:
    lines = (spikeport.__doc__ or "").splitlines()
    listed = ", ".join(line.strip().rstrip(",") for line in lines if line.startswith("    "))
    assert sorted(listed.split(", ")) == sorted(declared(TOP))
    headings = [line for line in lines if line.endswith(":")]
    assert len(headings) == len(set(headings)) > 10


def test_the_version_is_that_of_the_project_files() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert spikeport.__version__ == project["version"]
    assert f"\nversion: {spikeport.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_everything_that_states_the_version_takes_it_from_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found(name: str) -> importlib.metadata.Distribution:
        assert name != "spikeport", "asked for a second time"
        return distribution(name)

    distribution = importlib.metadata.distribution
    monkeypatch.setattr(importlib.metadata, "distribution", found)
    stated = [one.status().version for one in (FLOAT, NATIVE, REFERENCE)]
    made = quantized(
        chain({"fc": affine(np.eye(2)), "if": integrate_and_fire((2,))}, spikes_in(2), steps=3),
        np.ones((4, 2)),
    )
    stated += [environment()["spikeport"]]
    assert made.network.provenance["tool"] == f"spikeport {spikeport.__version__}"
    assert stated == [spikeport.__version__] * 4


def test_the_version_is_read_when_it_is_asked_for() -> None:
    script = (
        "import sys, spikeport; assert 'importlib.metadata' not in sys.modules; "
        "assert '__version__' in dir(spikeport); print(spikeport.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == f"{spikeport.__version__}\n", done.stderr


@pytest.mark.parametrize("stub", STUBS, ids=package)
def test_no_public_name_is_that_of_a_module(stub: Path) -> None:
    """The import of a module would replace the public name by the module."""
    held = importlib.import_module(package(stub)).__path__
    assert not {module.name for module in pkgutil.iter_modules(held)} & set(declared(stub))


def test_rooms_are_importable() -> None:
    rooms = [module.name for module in pkgutil.iter_modules(spikeport.__path__) if module.ispkg]
    assert {"network", "workflow", "ladder", "trainer", "export", "simulators"} <= set(rooms)
    for room in rooms:
        assert importlib.import_module(f"spikeport.{room}").__name__ == f"spikeport.{room}"


PUBLIC = sorted({(package(stub), name) for stub in STUBS for name in declared(stub)})


def value(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def test_every_public_class_and_function_has_a_docstring() -> None:
    missing = []
    for module, name in PUBLIC:
        found = value(module, name)
        if not (inspect.isclass(found) or inspect.isfunction(found)):
            continue
        written = found.__doc__ or ""
        if not written or written.startswith(f"{name}("):  # Dataclasses make one of the fields.
            missing.append(f"{module}.{name}")
    assert not missing


def test_no_name_stands_for_two_things() -> None:
    bound: dict[str, dict[int, list[str]]] = {}
    for module, name in PUBLIC:
        bound.setdefault(name, {}).setdefault(id(value(module, name)), []).append(module)
    assert {name: [*places.values()] for name, places in bound.items() if len(places) > 1} == {}


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_PYTHON = ("network", "trace", "stream", "report", "checkpoint", "target")
"""`spikeport.trace` and others are names of file formats in some places."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_in_code_exist(page: Path) -> None:
    """Every `spikeport.name` in code blocks and backquotes, down to attributes."""
    quoted = re.findall(r"```python\n(.*?)```|`([^`\n]+)`", page.read_text("utf-8"), re.S)
    code = "\n".join("".join(parts) for parts in quoted)
    for path in sorted(set(re.findall(r"(?<![\w./-])spikeport((?:\.[A-Za-z_]\w*)+)(?!/)", code))):
        names = path.removeprefix(".").split(".")
        if names in [[name] for name in NOT_PYTHON]:
            continue
        found: Any = spikeport
        for index, name in enumerate(names):
            if inspect.ismodule(found) and not hasattr(found, name):
                importlib.import_module(".".join(["spikeport", *names[: index + 1]]))
            found = getattr(found, name)


def test_results_of_public_functions_are_public() -> None:
    """A class of ours that a function of `spikeport` returns is in `spikeport`, too."""
    classes = {name for module, name in PUBLIC if inspect.isclass(value(module, name))}
    returned = {
        kind
        for name in declared(TOP)
        if inspect.isfunction(found := getattr(spikeport, name))
        for kind in re.findall(r"[A-Z]\w+", str(found.__annotations__.get("return", "")))
    }
    assert "Run" in returned
    assert returned & classes <= set(declared(TOP))


def test_star_import_and_completion() -> None:
    script = (
        "import spikeport; shown = {n for n in dir(spikeport) if not n.startswith('_')}; "
        "assert shown | {'__version__'} == set(spikeport.__all__); "
        "from spikeport import *; print(DeployedNetwork.__name__, train.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "DeployedNetwork train\n", done.stderr
