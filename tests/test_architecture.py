"""The rules of the layout: imports point one way, heavy packages stay where they belong."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spikeport.network import (
    Coding,
    Dense,
    DeployedNetwork,
    Input,
    Population,
    Readout,
    save_network,
)
from tests.helpers.import_graph import Imports, circles, import_graph, rooms
from tests.helpers.layout import APPLICATION, CORE, FORBIDDEN, ROOT, sources

TORCH_ALLOWED = ("trainer/", "backends/norse", "simulators/cuda")
LAVA_ALLOWED = ("backends/lava/worker",)


def layer(path: Path) -> str:
    relative = path.relative_to(ROOT)
    if relative.parts[0] != "spikeport":
        return relative.parts[0]
    room = relative.parts[1].removesuffix(".py")
    if room in CORE:
        return "core"
    assert f"spikeport.{room}" in APPLICATION or room == "__init__", f"{relative} lies in no room"
    return "application"


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_sources_are_found() -> None:
    found = {layer(path) for path in sources()}
    assert found == {"application", "core", "export", "simulators", "backends", "trainer"}


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    banned = (*FORBIDDEN.get(layer(path), ()),)
    if layer(path) != "application":
        banned += APPLICATION
    for name in imported(path):
        assert not name.startswith(banned or "-"), f"{relative} imports {name}"
        top = name.split(".")[0]
        assert top not in ("trainer", "export", "simulators", "backends", "torchvision")
        if top in ("torch", "norse"):
            assert relative.startswith(TORCH_ALLOWED), f"{relative} imports {name}"
        if top == "rich":
            assert relative == "spikeport/report/screen.py", f"{relative} imports {name}"
        if top == "lava":
            assert relative.startswith(LAVA_ALLOWED), f"{relative} imports {name}"


CIRCLES: dict[frozenset[str], str] = {}
"""Circles of modules or rooms that are accepted, with the reason."""


@pytest.mark.parametrize("counted", Imports)
def test_imports_form_no_circle(counted: Imports) -> None:
    """Neither at run time nor in type-only imports, neither between modules nor between rooms."""
    graph = import_graph(sources(), ROOT, counted)
    assert graph["spikeport.energy.estimate"] >= {"spikeport.energy.terms", "spikeport.runs.run"}
    found = circles(graph) | circles(rooms(graph))
    assert found <= set(CIRCLES), [sorted(circle) for circle in found - set(CIRCLES)]
    if counted is Imports.ALL:
        assert found == set(CIRCLES), "no longer a circle, so not an exception"


def test_circles_are_found(tmp_path: Path) -> None:
    files = {
        "spikeport/__init__.py": "",
        "spikeport/a/__init__.py": "",
        "spikeport/a/__init__.pyi": "from .one import First as First",
        "spikeport/a/one.py": "class First: ...",
        "spikeport/a/two.py": "from spikeport.b.three import late",
        "spikeport/b/__init__.py": "",
        "spikeport/b/three.py": "def late():\n    from spikeport.a import First",
        "spikeport/b/four.py": "import spikeport.b.five",
        "spikeport/b/five.py": "if TYPE_CHECKING:\n    from spikeport.b.four import X",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    every = import_graph(tmp_path.rglob("*.py"), tmp_path, Imports.ALL)
    assert circles(every) == {frozenset({"spikeport.b.four", "spikeport.b.five"})}
    assert circles(rooms(every)) == {frozenset({"spikeport.a", "spikeport.b"})}
    run = import_graph(tmp_path.rglob("*.py"), tmp_path, Imports.RUN)
    assert not circles(run) | circles(rooms(run))


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 450


@pytest.mark.parametrize(
    "module", ["spikeport", "spikeport.cli", "spikeport.network", "spikeport.backends"]
)
def test_light_imports(module: str) -> None:
    heavy = (
        *("torch", "norse", "numba", "matplotlib", "plotly", "sklearn", "scipy", "lava", "dask"),
        *("pydantic", "PIL", "tonic"),
    )
    script = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def network_of(given: Input, outputs: int) -> DeployedNetwork:
    """A network of one layer that receives 64 values."""
    return DeployedNetwork(
        (given,),
        (Population("p", (outputs,), vth=1),),
        (Dense(given.name, "p", np.ones((outputs, 64), np.int16)),),
        (Readout("p"),),
        steps=2,
    )


UNUSED = (
    *("torch", "norse", "sklearn", "matplotlib", "plotly", "jinja2", "jsonschema", "dask", "lava"),
    *("PIL", "tonic", "pandas"),
)
"""Packages that no verb below needs."""
FILES = (*UNUSED, "numba", "llvmlite", "scipy")
"""... nor those that only look at files."""
NOT_LOADED: dict[str, tuple[str, ...]] = {
    "--help": (*FILES, "numpy", "rich", "h5py", "nir", "spikeport.network"),
    "--version": (*FILES, "numpy", "rich", "h5py", "nir", "spikeport.network"),
    "run --help": (*FILES, "h5py", "nir", "spikeport.export", "spikeport.cli._convert"),
    "inspect {network}": FILES,
    "check {network} --target native": FILES,
    "map {network}": (*FILES, "h5py", "nir"),
    "energy {network} --activity 0.1": (*FILES, "h5py", "nir"),
    "energy {network} -n 2": (*UNUSED, "h5py", "nir"),
    "run {network} -n 2": (*UNUSED, "h5py", "nir", "spikeport.cli._convert"),
    "compare {network} -n 2": UNUSED,
}


@pytest.mark.parametrize("command", NOT_LOADED)
def test_a_verb_loads_only_what_it_needs(tmp_path: Path, command: str) -> None:
    """So that it starts fast. numba itself imports scipy, if it is installed."""
    digits = Input("x", (1, 8, 8), Coding.GRADED, low=0, high=16, scale=16.0)
    path = tmp_path / "n.spikeport"
    save_network(network_of(digits, outputs=10), path)
    words = command.format(network=path).split()
    script = (
        "import sys\n"
        "from spikeport.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print([m for m in {NOT_LOADED[command]!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["[]"]), done.stderr


def test_running_a_network_on_ones_own_images_needs_no_torch(tmp_path: Path) -> None:
    pixels, labels = np.zeros((4, 8, 8), np.uint8), np.arange(4)
    images, network = tmp_path / "images.npz", tmp_path / "n.spikeport"
    np.savez(images, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    save_network(network_of(Input("x", (1, 8, 8)), outputs=4), network)
    script = (
        "import sys; from spikeport.cli._app import app; sys.modules['torch'] = None; "
        f"app(['run', {str(network)!r}, '--data', {str(images)!r}], standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_test_modules_do_not_import_each_other() -> None:
    """Nor do the scripts that they run: what several need stands in tests/helpers or conftest."""
    sharing = re.compile(r"(from|import) +(tests)?\.test_|from (tests|\.) +import .*\btest_")
    found = {
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / "tests").rglob("*.py")
        for line in path.read_text().splitlines()
        if sharing.search(line)
    }
    assert found == set()


WRITERS = {
    "spikeport/storage/files.py": "the owner of all outputs",
    "spikeport/cli/__init__.py": "opens the standard streams",
    "spikeport/sharding/cluster.py": "keys in its own temporary folder",
    "backends/lava/program.py": "files for the worker, in a temporary folder",
    "backends/lava/supervise.py": "a file in memory",
    "backends/lava/worker/simulate.py": "the worker's results, in its temporary folder",
    "backends/lava/worker/models/processes.py": "the worker's results, in its temporary folder",
}


def writes(node: ast.AST) -> bool:
    """Whether this is a call that writes a file, or opens one for writing, directly."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if isinstance(node.func, ast.Attribute) and name in ("write_text", "write_bytes", "savez"):
        return True
    modes = [arg.value for arg in (*node.args, *(k.value for k in node.keywords))
             if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]  # fmt: skip
    return name in ("open", "FileIO") and any(set(mode) & set("wax+") for mode in modes)


def test_outputs_are_written_by_their_owner_only() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in sources()
        if any(writes(node) for node in ast.walk(ast.parse(path.read_text())))
    }
    assert found <= set(WRITERS)
    assert "spikeport/storage/files.py" in found
