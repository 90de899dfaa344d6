"""nirtorch, which has no neurons: those of NIR's equations here, everything else its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nir
import nirtorch
import numpy as np
import torch
from torch import nn

from benchmarks.interop.frameworks.graphs import Array, Options


class Neurons(nn.Module):
    """One forward Euler step of IF, LIF, CubaLIF or LI; a spike if v > v_threshold."""

    def __init__(self, node: Any, options: Options) -> None:
        super().__init__()
        self.dt, self.subtract = options["dt"], options["subtract"]
        self.node = {name: torch.as_tensor(v) for name, v in vars(node).items() if is_array(v)}

    def forward(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """Spikes, or v where there is no threshold."""
        node = self.node
        i, v = (torch.zeros_like(x), torch.zeros_like(x)) if state is None else state
        i = i + self.dt / node["tau_syn"] * (node["w_in"] * x - i) if "tau_syn" in node else x
        tau = node.get("tau", node.get("tau_mem"))
        if tau is None:
            v = v + torch.where(node["r"] == 1, 1.0, node["r"] * self.dt) * i
        else:
            v = v + self.dt / tau * (node["v_leak"] - v + node["r"] * i)
        if "v_threshold" not in node:
            return v, (i, v)
        spikes = (v > node["v_threshold"]).to(x.dtype)
        after = v - node["v_threshold"] if self.subtract else node["v_reset"]
        return spikes, (i, torch.where(spikes > 0, after, v).to(v.dtype))


def is_array(value: Any) -> bool:
    """Whether this is a field of a node."""
    return isinstance(value, np.ndarray)


def load(path: Path, options: Options) -> Callable[[Array], Array]:
    """Its importer; the state is an argument and a result of each step."""
    torch.manual_seed(0)
    kinds = nir.IF, nir.LIF, nir.CubaLIF, nir.LI, nir.I
    network = nirtorch.nir_to_torch(
        nir.read(path), dict.fromkeys(kinds, partial(Neurons, options=options))
    )

    def run(x: Array) -> Array:
        found, state = [], None
        with torch.no_grad():
            for step in x:
                spikes, state = network(torch.from_numpy(step), state)
                found.append(spikes.numpy())
        return np.stack(found)

    return run
