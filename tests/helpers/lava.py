"""A network for Lava, and commands that run it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from spikeport.backends.lava import lava_status
from spikeport.network import Dense, DeployedNetwork, Input, Population, Readout, save_network

needs_lava = pytest.mark.skipif(
    lava_status().version is None, reason=f"no Lava: {lava_status().reason}"
)


def network(steps: int = 20) -> DeployedNetwork:
    weight = np.full((30, 30), 64, np.int16)
    return DeployedNetwork(
        (Input("x", (30,)),),
        (Population("a", (30,), vth=50),),
        (Dense("x", "a", weight),),
        (Readout("a"),),
        steps,
    )


def samples(count: int = 3) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    return np.ones((count, 30), np.int32)


LONG = samples(5000)
"""Minutes of Lava's time."""


def run_command(tmp_path: Path, *, steps: int, count: int) -> list[str]:
    """`spikeport run` on Lava; all ten neurons of 'a' spike in every step."""
    chip, images = tmp_path / "chip.spikeport", tmp_path / "images.npz"
    weight = np.full((10, 64), 64, np.int16)
    parts = (Population("a", (10,), vth=50),), (Dense("x", "a", weight),), (Readout("a"),)
    save_network(DeployedNetwork((Input("x", (1, 8, 8)),), *parts, steps=steps), chip)
    held = max(count, 10)  # one of each class
    pixels, labels = np.full((held, 8, 8), 255, np.uint8), np.arange(held) % 10
    np.savez(images, x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    script = "from spikeport.cli import main; main()"
    command = [sys.executable, "-c", script, "run", chip, "-b", "lava", "--data", images]
    command += ["-n", count]
    return [str(part) for part in command]
