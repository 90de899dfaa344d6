"""Norse: its exporter can write per-neuron parameters only, and tau a thousand times too small."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nir
import norse.torch as norse
import numpy as np
import torch
from norse.torch.functional.reset import reset_subtract
from torch import nn

from benchmarks.interop.frameworks.graphs import (
    CHANNELS,
    HIDDEN,
    OUTPUTS,
    Array,
    Inputs,
    Made,
    Networks,
    Options,
)

TAU_INV = 200.0
"""With the default dt of 1e-3 s, a fifth of the membrane is lost per step."""


def networks(inputs: Inputs) -> Networks:
    """Perceptrons, convolutions, recurrence."""
    flat, small, image = inputs["flat"], inputs["map"], inputs["image"]
    for name, kind, threshold in (("lif_box", box, 0.1), ("if", iaf, 0.4), ("lif", lif, 0.1)):
        yield name, partial(mlp, flat, kind, threshold)
    yield "lif_box_scalar", partial(mlp, flat, lambda *_: norse.LIFBoxCell(), 0.1)
    for name, kind, threshold in (("lif_box", box, 0.05), ("if", iaf, 0.2)):
        yield f"conv_{name}", partial(strided, small, kind, threshold, *CHANNELS)
    yield "conv_28x28", partial(strided, image, box, 0.05, 8, 16)
    yield "conv_pool", partial(made, small, pooled())
    yield "recurrent", partial(made, flat, recurrent())


def made(x: Array, network: Any) -> Made:
    """The exporter leaves out shapes of convolutions, which a sample without a batch axis gives."""
    found, state = [], None
    with torch.no_grad():
        for step in x:
            spikes, state = network(torch.from_numpy(step), state)
            found.append(spikes.numpy())
    strided = any(isinstance(part, nn.Conv2d) for part in network.modules())
    graph = norse.to_nir(network, torch.zeros(x.shape[2:] if strided else (1, *x.shape[2:])))
    if strided:
        graph.infer_types()
    return graph, np.stack(found)


def box(shape: Any, threshold: float) -> Any:
    """Leaky neurons."""
    each = torch.full(np.atleast_1d(shape).tolist(), 1.0)
    return norse.LIFBoxCell(
        norse.LIFBoxParameters(
            tau_mem_inv=TAU_INV * each, v_leak=0 * each, v_th=threshold * each, v_reset=0 * each
        )
    )


def iaf(shape: Any, threshold: float) -> Any:
    """Neurons without a leak."""
    each = torch.full(np.atleast_1d(shape).tolist(), threshold)
    return norse.IAFCell(norse.IAFParameters(v_th=each))


def lif(shape: Any, threshold: float) -> Any:
    """Neurons with a synaptic current."""
    each = torch.full(np.atleast_1d(shape).tolist(), 1.0)
    rates = {"tau_mem_inv": TAU_INV * each, "tau_syn_inv": 2 * TAU_INV * each}
    given = {"v_leak": 0 * each, "v_th": threshold * each, "v_reset": 0 * each}
    return norse.LIFCell(norse.LIFParameters(**rates, **given))


def mlp(x: Array, make: Callable[[Any, float], Any], threshold: float) -> Made:
    """Two linear layers."""
    torch.manual_seed(2)
    layers = nn.Linear(12, HIDDEN), make(HIDDEN, threshold), nn.Linear(HIDDEN, OUTPUTS)
    return made(x, norse.SequentialState(*layers, make(OUTPUTS, threshold / 2)))


def strided(x: Array, make: Any, threshold: float, first: int, second: int) -> Made:
    """Convolutions with a stride in place of pools, which the exporter has no node for."""
    torch.manual_seed(2)
    channels, side = x.shape[2], x.shape[-1]
    half, fourth = (side + 1) // 2, (side + 3) // 4
    network = norse.SequentialState(
        nn.Conv2d(channels, first, 3, stride=2, padding=1),
        make((first, half, half), threshold),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        make((second, fourth, fourth), threshold / 2),
        nn.Conv2d(second, OUTPUTS, fourth),
        make((OUTPUTS, 1, 1), threshold / 4),
    )
    return made(x, network)


def pooled() -> Any:
    """An average pool and a linear layer."""
    torch.manual_seed(2)
    layers = nn.Conv2d(2, 4, 3, padding=1), box((4, 8, 8), 0.05), nn.AvgPool2d(2), nn.Flatten(-3)
    return norse.SequentialState(*layers, nn.Linear(64, OUTPUTS), box(OUTPUTS, 0.05))


def recurrent() -> Any:
    """Its recurrent cell."""
    torch.manual_seed(2)
    loop = norse.LIFRecurrentCell(12, HIDDEN)
    return norse.SequentialState(loop, nn.Linear(HIDDEN, OUTPUTS), box(OUTPUTS, 0.05))


def load(path: Path, options: Options) -> Callable[[Array], Array]:
    """Its importer; the state is an argument and a result of each step."""
    subtract = {"reset_method": reset_subtract} if options["subtract"] else {}
    network = norse.from_nir(nir.read(path), dt=options["dt"], **subtract)

    def run(x: Array) -> Array:
        found, state = [], None
        with torch.no_grad():
            for step in x:
                spikes, state = network(torch.from_numpy(step), state)
                found.append(spikes.numpy())
        return np.stack(found)

    return run
