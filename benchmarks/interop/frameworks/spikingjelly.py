"""SpikingJelly: all neurons that its exporter writes, with and without a v_reset."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir, import_from_nir
from torch import nn

from benchmarks.interop.frameworks.graphs import (
    CHANNELS,
    DT,
    HIDDEN,
    OUTPUTS,
    Array,
    Inputs,
    Made,
    Networks,
    Options,
)

LIF, IF, CUBA = neuron.LIFNode, neuron.IFNode, neuron.CUBALIFNode
NEURONS: dict[str, tuple[float, Callable[[float], Any]]] = {
    "lif": (0.1, lambda v: LIF(tau=3.0, v_threshold=v)),
    "lif_undecayed": (0.4, lambda v: LIF(tau=3.0, decay_input=False, v_threshold=v)),
    "lif_v_reset": (0.08, lambda v: LIF(tau=3.0, v_threshold=v, v_reset=-0.1)),
    "lif_subtract": (0.1, lambda v: LIF(tau=3.0, v_threshold=v, v_reset=None)),
    "if": (0.4, lambda v: IF(v_threshold=v)),
    "if_v_reset": (0.4, lambda v: IF(v_threshold=v, v_reset=-0.5)),
    "cuba": (0.4, lambda v: CUBA(0.5, 0.75, v_threshold=v, v_reset=0.0)),
    "cuba_v_reset": (0.4, lambda v: CUBA(0.5, 0.75, v_threshold=v, v_reset=-0.25)),
}


def networks(inputs: Inputs) -> Networks:
    """Perceptrons, convolutions with pools, a sum of spikes, recurrence."""
    flat, small, image = inputs["flat"], inputs["map"], inputs["image"]
    for name, (threshold, make) in NEURONS.items():
        yield name, partial(mlp, flat, make, threshold)
    for name, kind, threshold in (("lif", LIF, 0.1), ("if", IF, 0.3)):
        yield f"conv_{name}", partial(conv, small, kind, threshold, *CHANNELS)
    yield "conv_28x28", partial(conv, image, LIF, 0.1, 8, 16)
    yield "conv_sum_of_spikes", partial(made, small, Summed())
    yield "recurrent", partial(made, flat, recurrent())


def made(x: Array, network: nn.Module) -> Made:
    """The network runs from rest, and is exported from rest."""
    with torch.no_grad():
        spikes = np.stack([network(torch.from_numpy(step)).numpy() for step in x])
    functional.reset_net(network)
    return export_to_nir(network, torch.zeros(1, *x.shape[2:]), dt=DT), spikes


def mlp(x: Array, make: Callable[[float], Any], threshold: float) -> Made:
    """Two linear layers."""
    torch.manual_seed(4)
    layers = layer.Linear(12, HIDDEN), make(threshold), layer.Linear(HIDDEN, OUTPUTS)
    return made(x, nn.Sequential(*layers, make(0.75 * threshold)))


def conv(x: Array, kind: Any, threshold: float, first: int, second: int) -> Made:
    """Two convolutions, each followed by an average pool, and a linear layer."""
    torch.manual_seed(4)
    channels, side = x.shape[2], x.shape[-1]
    network = nn.Sequential(
        layer.Conv2d(channels, first, 3, padding=1),
        kind(v_threshold=threshold),
        layer.AvgPool2d(2),
        layer.Conv2d(first, second, 3, padding=1),
        kind(v_threshold=threshold / 2),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(second * (side // 4) ** 2, OUTPUTS),
        kind(v_threshold=threshold / 4),
    )
    return made(x, network)


class Summed(nn.Module):
    """A residual block that adds spikes, as SEW-ResNets do, and a pool."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.conv1, self.lif1 = layer.Conv2d(2, 4, 3, padding=1), LIF(v_threshold=0.1)
        self.conv2, self.lif2 = layer.Conv2d(4, 4, 3, padding=1), LIF(v_threshold=0.05)
        self.pool, self.flat = layer.AvgPool2d(2), layer.Flatten()
        self.fc, self.lif3 = layer.Linear(64, OUTPUTS), LIF(v_threshold=0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Spikes (B, OUTPUTS) of one step."""
        first = self.lif1(self.conv1(x))
        summed = first + self.lif2(self.conv2(first))
        found: torch.Tensor = self.lif3(self.fc(self.flat(self.pool(summed))))
        return found


def recurrent() -> nn.Module:
    """Its container for recurrent layers."""
    torch.manual_seed(4)
    loop = layer.LinearRecurrentContainer(LIF(v_threshold=0.1), HIDDEN, HIDDEN)
    ends = layer.Linear(12, HIDDEN), layer.Linear(HIDDEN, OUTPUTS)
    return nn.Sequential(ends[0], loop, ends[1], LIF(v_threshold=0.1))


def load(path: Path, options: Options) -> Callable[[Array], Array]:
    """Its importer; the state is an argument and a result of each step."""
    network = import_from_nir(nir.read(path), dt=options["dt"])

    def run(x: Array) -> Array:
        found, state = [], None
        with torch.no_grad():
            for step in x:
                spikes, state = network(torch.from_numpy(step), state)
                found.append(spikes.numpy())
        return np.stack(found)

    return run
