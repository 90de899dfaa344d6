"""Which module imports which, type-only imports and lazily handed on names included."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path

Graph = Mapping[str, set[str]]


class Imports(StrEnum):
    """Which imports count: those that run when a module is imported, or also type-only ones
    and those in functions.
    """

    RUN = "run"
    ALL = "all"


def module_name(path: Path, root: Path) -> str:
    """The name a source is imported by; every layer is a package of `spikeport`."""
    parts = [*path.relative_to(root).with_suffix("").parts]
    if parts[0] != "spikeport":
        parts.insert(0, "spikeport")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(paths: Iterable[Path], root: Path, counted: Imports) -> dict[str, set[str]]:
    """Modules that each module imports, names from a package's stub as their defining module."""
    modules = {module_name(path, root): path for path in paths}
    handed_on = {
        (package, alias.asname or alias.name): (_absolute(package, node), alias.name)
        for package, path in modules.items()
        if path.name == "__init__.py" and path.with_suffix(".pyi").exists()
        for node in ast.parse(path.with_suffix(".pyi").read_text("utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def defining(module: str, name: str) -> str:
        while (module, name) in handed_on:
            module, name = handed_on[module, name]
        return f"{module}.{name}" if f"{module}.{name}" in modules else module

    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        found = {defining(*name) for name in _imported(ast.parse(path.read_text("utf-8")), counted)}
        graph[module] = (found & modules.keys()) - {module}
    return graph


def _absolute(package: str, node: ast.ImportFrom) -> str:
    return f"{package}.{node.module}" if node.level else str(node.module)


def _imported(tree: ast.AST, counted: Imports) -> Iterator[tuple[str, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)
        elif counted is Imports.ALL or not _waits(node):
            yield from _imported(node, counted)


def _waits(node: ast.AST) -> bool:
    """Whether what stands in a node does not run when its module is imported."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def room(module: str) -> str:
    """A package of the core or the application, or what stands right inside another layer."""
    parts = module.split(".")
    layers = ("trainer", "export", "simulators", "backends")
    return ".".join(parts[: 3 if len(parts) > 1 and parts[1] in layers else 2])


def rooms(graph: Graph) -> dict[str, set[str]]:
    """The same graph between rooms."""
    found: dict[str, set[str]] = {room(module): set() for module in graph}
    for module, targets in graph.items():
        found[room(module)] |= {room(target) for target in targets} - {room(module)}
    return found


def circles(graph: Graph) -> set[frozenset[str]]:
    """Strongly connected components of more than one node."""
    reached = {node: _reachable(graph, node) for node in graph}
    return {
        frozenset(other for other in reached[node] if node in reached[other])
        for node in graph
        if node in reached[node]
    }


def _reachable(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found
