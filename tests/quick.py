"""A core set and the tests of what changed, nearest first, within a minute: `make quick`.

A change is what differs from the merge base with `main`, committed or not. A test module is as far
from a changed module as there are imports between them; names are followed through the stubs of
packages to the modules that define them. The core always runs. Of the rest, tests that are slow,
far from every change, or not started when the time is up are left out, and these are named.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.layout import FOLDERS, ROOT, sources

CORE = (
    *("architecture", "public_names", "network", "network_file", "parity", "reference"),
    *("exactness", "text", "profile", "stated_results"),
)
"""Test modules that always run."""
READERS = (
    *("architecture_page", "docs", "examples", "examples_in_pages", "packaging", "pages", "readme"),
    *("stated_facts", "stated_results"),
)
"""Test modules that read pages, notebooks, the Makefile and pyproject.toml."""
LENGTHY = ("lava_faults", "lava_surroundings")
"""Test modules that never run here: each starts Lava dozens of times."""
NEAR = 24
"""So many test modules, the nearest, run beside the core and those that changed."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Test modules to run, in this order, with the reason for each; and those left out."""

    chosen: Mapping[Path, str]
    left_out: tuple[Path, ...]


def main() -> int:
    """Select, say what was selected, run."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.quick", description="Other options are pytest's."
    )
    parser.add_argument("--since", help="compare with this commit (default: merge base with main)")
    parser.add_argument("--seconds", type=float, default=45, help="start no test after so many")
    parser.add_argument("--list", action="store_true", help="only say what would run")
    arguments, options = parser.parse_known_args()
    until = time.time() + arguments.seconds
    changed = changes(arguments.since or merge_base())
    selection = select(changed)
    sys.stdout.write(described(selection, changed))
    sys.stdout.flush()
    if arguments.list:
        return 0
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow and not scale"]
    command += ["-p", "tests.quick", "--until", str(until)]
    command += ["--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder", *options]
    command += [str(path.relative_to(ROOT)) for path in selection.chosen]
    return subprocess.run(command, cwd=ROOT).returncode


def pytest_addoption(parser: pytest.Parser) -> None:
    """As a plugin of pytest (`-p tests.quick`), this module ends a run in time."""
    parser.addoption("--until", type=float, help="start no test after this time (Unix seconds)")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that is not of the core when the time is up."""
    late = time.time() > item.config.getoption("--until")
    if late and item.path.stem.removeprefix("test_") not in CORE:
        pytest.skip(f"left out, the time is up: {item.path.name}")


def git(*arguments: str) -> list[str]:
    """The lines that a git command prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.splitlines()


def merge_base() -> str:
    """Where this branch left `main` (of `origin`, if known); on a lone `main`, HEAD."""
    known = git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes/origin")
    base = next((name for name in ("origin/main", "main") if name in known), "HEAD")
    return git("merge-base", "HEAD", base)[0]


def changes(since: str) -> frozenset[Path]:
    """Files that differ from a commit or are new, without those that are gone."""
    names = git("diff", "--name-only", since) + git("ls-files", "--others", "--exclude-standard")
    return frozenset(ROOT / name for name in names if (ROOT / name).exists())


def select(changed: frozenset[Path]) -> Selection:
    """The core, changed test modules, then the others by their distance from what changed."""
    texts = any(
        path.suffix in (".md", ".toml", ".ipynb") or path.name == "Makefile" for path in changed
    )
    ranked: dict[Path, tuple[int, str]] = {}
    held = sorted((ROOT / "tests").glob("test_*.py"))
    for path in held:
        name, distance = path.stem.removeprefix("test_"), nearest(path, changed)
        if name in LENGTHY:
            continue
        if name in CORE:
            ranked[path] = (-2, "core")
        elif path in changed:
            ranked[path] = (-1, "changed")
        elif distance is not None:
            ranked[path] = (distance, f"{distance} import{'s' if distance > 1 else ''} away")
        elif texts and name in READERS:
            ranked[path] = (1, "reads pages and settings")
    chosen = sorted(ranked, key=lambda path: (ranked[path][0], path))
    for path in [path for path in chosen if ranked[path][0] > 0][NEAR:]:
        chosen.remove(path)
    return Selection(
        {path: ranked[path][1] for path in chosen},
        tuple(path for path in held if path not in chosen),
    )


def described(selection: Selection, changed: frozenset[Path]) -> str:
    """What runs and why, and what does not."""
    names = ", ".join(path.stem.removeprefix("test_") for path in selection.left_out)
    return "\n".join(
        (
            f"{len(changed)} changed files; {len(selection.chosen)} test modules, in this order:",
            *(f"  {path.stem}: {why}" for path, why in selection.chosen.items()),
            f"left out (far from every change, or lengthy): {names or 'none'}",
            "left out everywhere: tests marked slow or scale, and what has not started in time;",
            "`make test` runs everything\n",
        )
    )


def nearest(start: Path, changed: frozenset[Path]) -> int | None:
    """Imports between a module and the nearest changed one; None if it reaches none."""
    found, waiting = {start: 0}, deque([start])
    while waiting:
        path = waiting.popleft()
        if path in changed or data_of(path) & changed:
            return found[path]
        for one in imports(path) - found.keys():
            found[one] = found[path] + 1
            waiting.append(one)
    return None


@cache
def data_of(path: Path) -> frozenset[Path]:
    """Templates, profiles and recipes count as parts of the modules beside or above them."""
    folders = {path.parent, *(p for p in path.parent.iterdir() if p.is_dir())}
    return frozenset(
        file for folder in folders if path.parent != ROOT / "tests"
        for file in folder.iterdir() if file.suffix in (".toml", ".j2", ".pyi", ".txt")
    )  # fmt: skip


@cache
def modules() -> Mapping[str, Path]:
    """Every module of this repository by its name."""
    others = (path for top in ("tests", "benchmarks") for path in (ROOT / top).rglob("*.py"))
    named = {}
    for path in (*sources(), *others):
        parts = path.relative_to(ROOT).with_suffix("").parts
        linked = ("spikeport",) if parts[0] in FOLDERS and parts[0] != "spikeport" else ()
        named[".".join((*linked, *parts)).removesuffix(".__init__")] = path
    return named


@cache
def imports(path: Path) -> frozenset[Path]:
    """Modules of this repository that a module, or a script in one of its texts, imports."""
    return frozenset(_imports(path.read_text()))


def _imports(text: str) -> Iterator[Path]:
    pairs = re.findall(r"\bspikeport()\.(\w+)", text) if "import spikeport" in text else []
    pairs = [("spikeport", name) for _, name in pairs]
    for module, names in re.findall(r"from ((?:spikeport|tests)[\w.]*) import ([\w, ]+)", text):
        pairs += [(module, name.strip()) for name in names.split(",")]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            pairs += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            pairs += [(node.module, alias.name) for alias in node.names]
    yield from (found for module, name in pairs if (found := defining(module, name)))


@cache
def defining(package: str, name: str) -> Path | None:
    """The module that `from package import name` means, through the packages' stubs."""
    if f"{package}.{name}" in modules():
        return modules()[f"{package}.{name}"]
    if package not in modules():
        return None
    stub = modules()[package].with_suffix(".pyi")
    for node in ast.parse(stub.read_text()).body if stub.exists() else ():
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return defining(f"{package}.{node.module}", name)
    return modules()[package]


if __name__ == "__main__":
    sys.exit(main())
