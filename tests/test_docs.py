"""The examples of docs/deployed.md, run word for word."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "deployed.md"


@pytest.mark.slow
def test_examples_run_in_order(tmp_path: Path) -> None:
    examples = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.S | re.M)
    assert len(examples) == 6
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(examples)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "spans 0..3825 in units of 1/15, must lie in 0..15" in done.stdout
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["spikeport", "energy", "published.spikeport", "--json", "--activity"]
    for activity in ("0.1", "pixels=0.5,hidden=0.1,out=0.05"):
        shown = subprocess.run(
            [*command, activity],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
        assert shown.returncode == 0, shown.stderr
        assert any(activity in text for text in json.loads(shown.stdout)["assumptions"])
