"""The README's examples, run word for word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.S | re.M)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def run(command: list[str], workplace: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=workplace, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )


@pytest.mark.slow
def test_python_examples_run_in_order(workplace: Path) -> None:
    examples = blocks("python")
    assert len(examples) >= 3
    done = run([sys.executable, "-W", "error", "-c", "\n".join(examples)], workplace)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_command_examples_run_in_order(workplace: Path) -> None:
    (script,) = blocks("sh")
    for line in script.strip().splitlines():
        done = run(["bash", "-c", line], workplace)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
