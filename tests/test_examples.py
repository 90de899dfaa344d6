"""The notebook of examples/, executed, and what it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.helpers.layout import ROOT

EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
LIGHT = 20_000
"""Bytes of a notebook with its outputs."""


def shown(notebook: Any) -> list[str]:
    """What each cell of code prints, without its numbers, which another processor may change."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    texts = ["".join(output.get("text", "") for output in cell.outputs) for cell in cells]
    return [re.sub(r"\s+", " ", re.sub(r"-?\d[\d.,]*", "#", text)) for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs_and_prints_what_it_shows(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    stored = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    ran = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(ran, timeout=300, kernel_name="python3", resources=place).execute()
    assert any(shown(stored))
    assert shown(ran) == shown(stored)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_stored_outputs_are_light_texts(path: Path) -> None:
    assert path.stat().st_size < LIGHT
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert (output.output_type, output.name) == ("stream", "stdout")


def test_every_example_is_listed() -> None:
    text = (EXAMPLES / "README.md").read_text()
    listed = set(re.findall(r"\]\(([^)]+)\)", text))
    entries = {entry.name for entry in EXAMPLES.iterdir() if not entry.name.startswith(("_", "."))}
    assert {name.split("/")[0] for name in listed} >= entries - {"README.md"}
    assert NOTEBOOKS
