"""What a second process costs before it computes: its kernels are compiled already."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spikeport.network_file import save_network
from tests.test_sharding import small_network

CLI = "from spikeport.cli import main; main()"


def processor_s(command: list[str]) -> float:
    """Processor time of a command and all that it starts: on an idle machine, nearly its wall time.

    The least of two runs, after one that compiles what has to be.
    """
    spent = []
    for _ in range(3):
        with open(os.devnull, "w") as nowhere:
            process = subprocess.Popen(command, stdout=nowhere)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        spent.append(used.ru_utime + used.ru_stime)
    return min(spent[1:])


@pytest.fixture
def chip(tmp_path: Path) -> list[str]:
    """A small network and images for it, as arguments."""
    pixels, labels = np.zeros((4, 8, 8), np.uint8), np.arange(4)
    images = tmp_path / "images.npz"
    np.savez(images, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    save_network(small_network(), tmp_path / "n.spikeport")
    return [str(tmp_path / "n.spikeport"), "--data", str(images)]


def test_import() -> None:
    assert processor_s([sys.executable, "-c", "import spikeport"]) < 0.3


def test_run(chip: list[str]) -> None:
    assert processor_s([sys.executable, "-c", CLI, "run", *chip]) < 2


def test_backends() -> None:
    assert processor_s([sys.executable, "-c", CLI, "backends"]) < 2
