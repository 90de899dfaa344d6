"""The wheel holds every module under the one import name."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.helpers.layout import FOLDERS, ROOT, sources


def test_wheel_holds_everything_under_one_name(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", "from setuptools import build_meta as b; import sys;"
         "b.build_wheel(sys.argv[1])", str(tmp_path)],
        cwd=_copy(tmp_path / "source"), check=True, capture_output=True, text=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert tops == {"spikeport", next(t for t in tops if t.endswith(".dist-info"))}
    for path in sources():
        relative = path.relative_to(ROOT)
        inside = relative if relative.parts[0] == "spikeport" else Path("spikeport") / relative
        assert str(inside) in names
    data = (
        *(
            "backends/targets/loihi1/target.toml",
            "py.typed",
            "__init__.pyi",
            "backends/lava/requirements.txt",
        ),
        "trainer/recipes/mnist.toml",
    )
    assert {f"spikeport/{name}" for name in data} <= names


def _copy(target: Path) -> Path:
    target.mkdir()
    kept = (*FOLDERS, "pyproject.toml", "README.md", "LICENSE")
    done = [str(ROOT / name) for name in kept]
    subprocess.run(["cp", "-a", *done, str(target)], check=True)
    return target
