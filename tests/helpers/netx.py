"""netx files as lava-dl writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

NEURON: Mapping[str, Any] = {
    "type": "CUBA",
    "iDecay": 1024,
    "vDecay": 512,
    "vThMant": 40,
    "refDelay": 1,
    "gradedSpike": False,
}


def dense(weight: Any, **fields: Any) -> dict[str, Any]:
    """A dense layer of CUBA neurons."""
    matrix = np.asarray(weight, np.float32)
    made = {"type": "dense", "shape": [len(matrix)], "weight": matrix, "neuron": NEURON}
    return {**made, **fields}


def conv(weight: Any, shape: tuple[int, int, int], **fields: Any) -> dict[str, Any]:
    """A convolution of stride 1 without padding, with CUBA neurons."""
    kernel = np.asarray(weight, np.float32)
    sides = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    made = {"type": "conv", "shape": shape, "weight": kernel, "neuron": NEURON}
    return {**made, **sides, **fields}


def write_file(path: Path, *layers: Mapping[str, Any], steps: int | None = 8) -> Path:
    """A file of these layers; a mapping becomes a group."""
    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            _write(file.create_group(f"layer/{number}"), layer)
        if steps is not None:
            file["simulation/tSample"] = steps
    return path


def _write(group: h5py.Group, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, Mapping):
            _write(group.create_group(name), value)
        elif name == "type" and "iDecay" not in values:
            group.create_dataset("type", (1,), "S10", [str(value).encode()])
        else:
            group[name] = value
