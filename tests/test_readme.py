"""The README's examples, run word for word."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.examples import Place
from tests.helpers.layout import ROOT

README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_python_examples_run_in_order(tmp_path: Path) -> None:
    examples = re.findall(r"^```python\n(.*?)^```$", README, re.S | re.M)
    assert len(examples) >= 3
    command = [sys.executable, "-W", "error", "-c", "\n".join(examples)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_command_examples_run_in_order(tmp_path: Path) -> None:
    (script,) = re.findall(r"^```sh\n.*?^```$", README, re.S | re.M)
    place = Place(tmp_path)
    assert not list(place.run(script))
    assert len(place.printed) == len(script.splitlines()) - 2
