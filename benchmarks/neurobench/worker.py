"""Runs in the environment of NeuroBench, without Spikeport: `python worker.py FOLDER`.

FOLDER holds `task.json` and `arrays.npz` (`benchmarks/neurobench/exchange.py`). All numbers are
float64, so that NeuroBench's sums are exact up to 2^53; in float32 they would be up to 2^24.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import snntorch
import torch
from neurobench.benchmarks import Benchmark  # type: ignore[import-not-found]
from neurobench.metrics.static import ConnectionSparsity  # type: ignore[import-not-found]
from neurobench.metrics.utils.layers import (  # type: ignore[import-not-found]
    single_layer_MACs,
)
from neurobench.metrics.workload import (  # type: ignore[import-not-found]
    ActivationSparsity,
    MembraneUpdates,
    SynapticOperations,
)
from neurobench.models import SNNTorchModel  # type: ignore[import-not-found]
from torch import Tensor, nn

DTYPE = torch.float64
PART_NAME = "part_name"


class Recorded(snntorch.SpikingNeuron):  # type: ignore[misc]
    """Gives recorded spikes and potentials, step by step, whatever its input is."""

    def __init__(self, spikes: Tensor, v: Tensor) -> None:
        super().__init__(init_hidden=True)
        self.spikes, self.v, self.step = spikes, v, 0
        self.mem = torch.zeros(0)

    def forward(self, current: Tensor) -> Tensor:
        """The spikes of the next step."""
        self.mem = self.v[self.step]
        self.step += 1
        return self.spikes[self.step - 1]


class Net(nn.Module):
    """The network of a task; one call is one step."""

    def __init__(self, task: dict[str, Any], arrays: dict[str, Tensor]) -> None:
        super().__init__()
        self.task = task
        self.layers, self.neurons = nn.ModuleDict(), nn.ModuleDict()
        inside = {part["recurrent"] for part in task["populations"]}
        for number, part in enumerate(task["connections"]):
            if part["name"] not in inside:
                self.layers[f"c{number}"] = _named(_layer(part, arrays), part["name"])
        weights = {part["name"]: arrays[part["weight"]] for part in task["connections"]}
        for number, part in enumerate(task["populations"]):
            self.neurons[f"p{number}"] = _named(_neurons(part, arrays, weights), part["name"])
        self.history: list[dict[str, Tensor]] = []

    def reset(self) -> None:
        """Called by NeuroBench before a batch; there is one, and everything is new."""

    def forward(self, given: Tensor) -> tuple[Tensor, None]:
        """One step: `given` holds the values of all inputs in a row."""
        now: dict[str, Tensor] = {}
        self.history.append(now)
        first = 0
        for part in self.task["inputs"]:
            size = int(np.prod(part["shape"]))
            now[part["name"]] = given[:, first : first + size]
            first += size
        populations = {
            part["name"]: (f"p{n}", part) for n, part in enumerate(self.task["populations"])
        }
        for name in self.task["order"]:
            key, part = populations[name]
            current = torch.zeros(len(given), *part["shape"], dtype=DTYPE)
            for number, one in enumerate(self.task["connections"]):
                if one["target"] == name and f"c{number}" in self.layers:
                    sums = self._delivered(one, len(given))
                    current = current + self.layers[f"c{number}"](sums).reshape(current.shape)
            if part["recurrent"]:
                current = current.flatten(1)
            now[name] = self.neurons[key](current).flatten(1)
        return now[self.task["order"][-1]], None

    def _delivered(self, part: dict[str, Any], batch: int) -> Tensor:
        """What the layer of a connection reads: delayed spikes, or sums of windows of them."""
        when = len(self.history) - 1 - part["delay"]
        shape = self._shape(part["source"])
        if when < 0:
            found = torch.zeros(batch, *shape, dtype=DTYPE)
        else:
            found = self.history[when][part["source"]].reshape(batch, *shape)
        if (pool := part["pool"]) is not None:
            (top, left), size = pool["padding"], pool["kernel_size"]
            found = nn.functional.pad(found, (left, left, top, top))
            found = nn.functional.avg_pool2d(found, size, pool["stride"], divisor_override=1)
        return found.reshape(batch, *part["shape"])

    def _shape(self, name: str) -> list[int]:
        parts = self.task["inputs"] + self.task["populations"]
        return next(part["shape"] for part in parts if part["name"] == name)


class Parts(SynapticOperations):  # type: ignore[misc]
    """NeuroBench's own count of each layer, and spikes of each population, as integers."""

    found: dict[str, Any]

    def __call__(self, model: Any, preds: Tensor, data: Any) -> int:
        """Count, and keep the result in the class."""
        connections, populations = {}, {}
        for hook in model.connection_hooks:
            counted = {"ac": 0, "mac": 0, "dense": 0}
            for (values,) in hook.inputs:
                hook.hook.remove()
                operations, spiking = single_layer_MACs(values, hook.layer)
                counted["ac" if spiking else "mac"] += operations
                counted["dense"] += single_layer_MACs(values, hook.layer, total=True)[0]
                hook.register_hook()
            connections[getattr(hook.layer, PART_NAME)] = counted
        for hook in model.activation_hooks:
            spikes = sum(int(torch.count_nonzero(one)) for one in hook.activation_outputs)
            populations[getattr(hook.layer, PART_NAME)] = {"spikes": spikes}
        Parts.found = {"connections": connections, "populations": populations}
        return 0


def main() -> None:
    """Run the network of the task under NeuroBench's harness and print counts as JSON."""
    folder = Path(sys.argv[1])
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        arrays = {name: torch.from_numpy(stored[name]).to(DTYPE) for name in stored.files}
    net = Net(task, arrays)
    values = [arrays[part["values"]].flatten(2).transpose(0, 1) for part in task["inputs"]]
    given = torch.cat(values, dim=2)
    batch = len(given)
    data = torch.utils.data.TensorDataset(given, torch.zeros(batch))
    benchmark = Benchmark(
        SNNTorchModel(net),
        torch.utils.data.DataLoader(data, batch_size=batch),
        [],
        [],
        [[ConnectionSparsity], [ActivationSparsity, SynapticOperations, MembraneUpdates, Parts]],
    )
    with torch.no_grad():
        found = benchmark.run(quiet=True)
    operations = found["SynapticOperations"]
    different = {
        part["name"]: int((_spikes(net, part["name"]) != arrays[part["spikes"]].flatten(2)).sum())
        for part in task["populations"]
    }
    print(
        json.dumps(
            {
                **Parts.found,
                "ac": round(operations["Effective_ACs"] * batch),
                "mac": round(operations["Effective_MACs"] * batch),
                "dense": round(operations["Dense"] * batch),
                "membrane_updates": round(found["MembraneUpdates"] * batch),
                "activation_sparsity": found["ActivationSparsity"],
                "connection_sparsity": found["ConnectionSparsity"],
                "spikes_that_differ": different,
            }
        )
    )


def _spikes(net: Net, name: str) -> Tensor:
    return torch.stack([step[name] for step in net.history])


def _layer(part: dict[str, Any], arrays: dict[str, Tensor]) -> nn.Module:
    weight = arrays[part["weight"]]
    bias = None if part["bias"] is None else arrays[part["bias"]]
    made: Any
    if part["layer"] == "linear":
        made = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, dtype=DTYPE)
    else:
        kind: Any = nn.Conv1d if part["layer"] == "conv1d" else nn.Conv2d
        channels = weight.shape[1] * part["groups"], weight.shape[0]
        geometry = {name: part[name] for name in ("stride", "padding", "dilation", "groups")}
        made = kind(*channels, tuple(weight.shape[2:]), **geometry, bias=False, dtype=DTYPE)
    made.weight.data = weight
    if bias is not None:
        made.bias.data = bias
    return made  # type: ignore[no-any-return]


def _neurons(
    part: dict[str, Any], arrays: dict[str, Tensor], weights: dict[str, Tensor]
) -> nn.Module:
    if not part["simulated"]:
        return Recorded(arrays[part["spikes"]], arrays[part["v"]])
    common = {
        "beta": 1.0, "threshold": float(part["threshold"]), "reset_mechanism": "zero",
        "reset_delay": False, "init_hidden": True, "spike_grad": _fire,
    }  # fmt: skip
    if part["recurrent"] is None:
        return snntorch.Leaky(**common)  # type: ignore[no-any-return]
    made = snntorch.RLeaky(**common, linear_features=int(np.prod(part["shape"])))
    made.recurrent.weight.data = weights[part["recurrent"]]
    made.recurrent.bias.data = torch.zeros_like(made.recurrent.bias, dtype=DTYPE)
    _named(made.recurrent, part["recurrent"])
    return made  # type: ignore[no-any-return]


def _fire(distance: Tensor) -> Tensor:
    """Without a gradient, and of the type of its argument; snnTorch's own give float32."""
    return (distance > 0).to(distance.dtype)


def _named(module: nn.Module, name: str) -> nn.Module:
    setattr(module, PART_NAME, name)
    return module


if __name__ == "__main__":
    main()
