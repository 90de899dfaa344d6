"""Commands in mount namespaces of their own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

MOUNTS = ["unshare", "--mount", "--map-root-user"]
"""A process with mounts of its own, which need no rights."""


def can_mount() -> bool:
    try:
        command = [*MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


needs_mounts = pytest.mark.skipif(not can_mount(), reason="no mount namespaces here")


def in_mounts(mounts: str, command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `command` in `folder` after the shell commands `mounts`, of which nobody else knows."""
    script = f'set -e; {mounts}; cd "$FOLDER"; exec "$@"'
    return subprocess.run(
        [*MOUNTS, "sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        env=os.environ | {"FOLDER": str(folder)},
    )
