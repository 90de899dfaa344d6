"""docs/architecture.md against the code: names that exist, layers as they are enforced."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.helpers.layout import APPLICATION, CORE, FOLDERS, FORBIDDEN, ROOT
from tests.helpers.pages import page, table

PAGE = page("architecture.md")
LAYERS = {row["layer"]: row for row in table(PAGE, "layer", "packages", "may import")}
MARKED = sorted(set(re.findall(r"`([^`\n]+)`", PAGE)))
NAMES = [text for text in MARKED if re.fullmatch(r"spikeport(\.\w+)+", text)]
PATHS = [text for text in MARKED if "/" in text or text.endswith((".py", ".md", ".pyi", ".toml"))]


def words(cell: str) -> set[str]:
    return set(re.findall(r"[\w.]+", cell))


def test_rooms_of_each_layer() -> None:
    assert words(LAYERS["core"]["packages"]) == {f"spikeport.{room}" for room in CORE}
    assert words(LAYERS["application"]["packages"]) == set(APPLICATION)
    others = set(LAYERS) - {"core", "application"}
    assert others == set(FOLDERS) - {"spikeport"}
    assert all(words(LAYERS[name]["packages"]) == {f"spikeport.{name}"} for name in others)


@pytest.mark.parametrize("layer", LAYERS)
def test_what_a_layer_may_import_is_what_is_enforced(layer: str) -> None:
    rest = set(LAYERS) - {layer} - words(LAYERS[layer]["may import"])
    folders = {f"spikeport.{name}" for name in rest - {"application", "core"}}
    assert folders == set(FORBIDDEN.get(layer, ()))
    assert ("application" in rest) == (layer != "application")
    assert "core" not in rest


@pytest.mark.parametrize("name", NAMES)
def test_named_modules_and_names_exist(name: str) -> None:
    package, _, last = name.rpartition(".")
    found = importlib.import_module(package)
    assert hasattr(found, last) or importlib.import_module(name), name


@pytest.mark.parametrize("path", PATHS)
def test_named_files_and_folders_exist(path: str) -> None:
    if path in ("__init__.py", "__init__.pyi"):
        return
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path


def test_every_row_says_where_to_start() -> None:
    rows = table(PAGE, "to add", "start in", "then")
    assert len(rows) >= 10
    for row in rows:
        assert (ROOT / row["start in"].strip("`")).exists(), row


def test_every_term_is_defined_once() -> None:
    terms = [row["term"] for row in table(PAGE, "term", "meaning")]
    assert len(set(terms)) == len(terms)
