"""Environments for the frameworks: `python -m benchmarks.interop.environments FOLDER`.

Needs Python 3.11 for all but lava-dl, and 3.10 for lava-dl (`--python310 PATH`, by default
`python3.10`). The lists are complete and installed with --no-deps: lava-dl asks for an old torch,
and Norse for torchvision, which they do not need here. Sinabs has the old nir that it asks for.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_HERE = Path(__file__).parent
LISTS: Mapping[str, Path] = {
    "torch": _HERE / "torch.txt",
    "sinabs": _HERE / "sinabs.txt",
    "spyx": _HERE / "spyx.txt",
    "lava-dl": _HERE.parent / "lava-dl.txt",
}
"""The packages of each environment."""
ENVIRONMENTS: Mapping[str, str] = {
    "nir": "torch",
    "nirtorch": "torch",
    "norse": "torch",
    "snntorch": "torch",
    "spikingjelly": "torch",
    "sinabs": "sinabs",
    "rockpool": "torch",
    "spyx": "spyx",
    "lava-dl": "lava-dl",
}
"""The environment of each framework."""


def python(folder: Path, framework: str) -> Path:
    """The interpreter of a framework's environment."""
    return folder / ENVIRONMENTS[framework] / "bin" / "python"


def main() -> None:
    """Make all environments in a folder; those that are there are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python310", default="python3.10")
    chosen = parser.parse_args()
    for name, packages in LISTS.items():
        place = chosen.folder / name
        made = place / "made"
        if made.exists():
            continue
        base = chosen.python310 if name == "lava-dl" else sys.executable
        subprocess.run([base, "-m", "venv", place], check=True)
        install = [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*install, "--requirement", packages], check=True)
        made.touch()


if __name__ == "__main__":
    main()
