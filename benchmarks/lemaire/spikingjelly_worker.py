"""Runs in the environment of SpikingJelly, without Spikeport: `python spikingjelly_worker.py DIR`.

DIR holds what `benchmarks/neurobench/exchange.py` has written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import op_counter
from torch import Tensor, nn

BYTES = 4


def main() -> None:
    """Print what SpikingJelly counts for each connection, as JSON."""
    folder = Path(sys.argv[1])
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        arrays = {name: torch.from_numpy(stored[name]).float() for name in stored.files}
    sent = {part["name"]: arrays[part["values"]] for part in task["inputs"]}
    sent |= {part["name"]: arrays[part["spikes"]] for part in task["populations"]}
    print(
        json.dumps(
            {
                part["name"]: _counted(part, arrays[part["weight"]], sent[part["source"]])
                for part in task["connections"]
            }
        )
    )


def _counted(part: dict[str, Any], weight: Tensor, spikes: Tensor) -> dict[str, int]:
    late = torch.zeros_like(spikes)
    late[part["delay"] :] = spikes[: len(spikes) - part["delay"]]
    layer: Any
    if part["layer"] == "linear":
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    else:
        kind: Any = nn.Conv1d if part["layer"] == "conv1d" else nn.Conv2d
        geometry = {name: part[name] for name in ("stride", "padding", "dilation", "groups")}
        channels = weight.shape[1] * part["groups"], weight.shape[0]
        layer = kind(*channels, tuple(weight.shape[2:]), **geometry, bias=False)
    layer.weight.data = weight
    found = op_counter.estimate_lemaire_energy(
        layer.eval(), late.reshape(-1, *part["shape"])
    ).counts
    return {
        "accumulations": found["ac"],
        "addressing, additions": found["acc_addr"],
        "addressing, multiply-accumulates": found["mac_addr"],
        "inputs": found["read_in_bytes"] // BYTES,
        "weights": found["read_params_bytes"] // BYTES,
        "potentials read": found["read_potential_bytes"] // BYTES,
        "potentials written": found["write_potential_bytes"] // BYTES,
    }


if __name__ == "__main__":
    main()
