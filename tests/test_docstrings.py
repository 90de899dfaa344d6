"""Docstrings against the code: every attribute and argument that they describe exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.helpers.layout import ROOT, sources


def listed(node: ast.AST, heading: str) -> list[str]:
    """The names that a section of a docstring describes."""
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    lines = iter((ast.get_docstring(node) or "").splitlines())
    found: list[str] = []
    if f"{heading}:" not in lines:  # which leaves the lines after it
        return found
    for line in lines:
        if line and not line.startswith(" "):
            break
        if names := re.match(r" {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*):( |$)", line):
            found += [name.strip("* ") for name in names[1].split(",")]
    return found


def attributes(node: ast.ClassDef) -> set[str]:
    """Fields, class attributes, methods and what `self` is given."""
    found: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.FunctionDef | ast.Name):
            found.add(each.name if isinstance(each, ast.FunctionDef) else each.id)
        elif isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store):
            found.add(each.attr)
    return found


def arguments(node: ast.FunctionDef) -> set[str]:
    args = node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return {each.arg for each in every if each is not None}


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_docstring_describes_exists(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef):
            assert set(listed(node, "Attributes")) <= attributes(node), node.name
        elif isinstance(node, ast.FunctionDef):
            assert set(listed(node, "Args")) <= arguments(node), node.name


def test_sections_are_found() -> None:
    code = '''
def f(a, *b, **c):
    """What it does.

    Args:
        a, b: two,
            on two lines.
        c: one, with a colon: here.

    Raises:
        InputError: always.
    """
'''
    (node,) = ast.parse(code).body
    assert listed(node, "Args") == ["a", "b", "c"]
    assert listed(node, "Attributes") == []
