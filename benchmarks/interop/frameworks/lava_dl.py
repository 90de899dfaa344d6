"""lava-dl's SLAYER, which has no exporter and no importer: the graphs are put together here.

Its neurons keep 26 binary places here, so that rounding causes no difference.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import nir
import numpy as np
import torch
from lava.lib.dl import slayer

from benchmarks.interop.frameworks.graphs import (
    CHANNELS,
    DT,
    HIDDEN,
    OUTPUTS,
    Array,
    Inputs,
    Made,
    Networks,
    chain,
    full,
    looped,
)

DU, DV = 0.25, 0.125
EXACT: dict[str, Any] = {"weight_norm": False, "delay_shift": False}
block = slayer.block.cuba


def networks(inputs: Inputs) -> Networks:
    """Perceptrons, convolutions with pools, recurrence."""
    yield "cuba", partial(mlp, inputs["flat"])
    yield "recurrent", partial(recurrent, inputs["flat"])
    yield "conv", partial(conv, inputs["map"], *CHANNELS)
    yield "conv_28x28", partial(conv, inputs["image"], 8, 16)


def params(threshold: float) -> dict[str, Any]:
    """Those of a neuron."""
    decays = {"current_decay": DU, "voltage_decay": DV}
    return {"threshold": threshold, **decays, "scale": 1 << 20}


def node(shape: Any, threshold: float) -> Any:
    """The same neuron in NIR."""
    taus = full(shape, DT / DU), full(shape, DT / DV)
    gains = full(shape, 1 / DV), full(shape, 0), full(shape, threshold)
    return nir.CubaLIF(*taus, *gains, w_in=full(shape, 1 / DU))


def on_grid(synapse: Any) -> Array:
    """Weights without axes of size 1 at the end; they become multiples of 1/64."""
    synapse.pre_hook_fx = None
    synapse.weight.data = torch.round(synapse.weight.data * 64) / 64
    weight = synapse.weight.detach().numpy()
    return np.asarray(weight[..., 0] if "Conv" in type(synapse).__name__ else weight[..., 0, 0, 0])


def mlp(x: Array) -> Made:
    """Two linear layers."""
    torch.manual_seed(8)
    layers = (
        block.Dense(params(1.003), 12, HIDDEN, weight_scale=2, **EXACT),
        block.Dense(params(0.753), HIDDEN, OUTPUTS, weight_scale=3, **EXACT),
    )
    first, second = (nir.Linear(on_grid(layer.synapse)) for layer in layers)
    nodes = [first, node(HIDDEN, 1.003), second, node(OUTPUTS, 0.753)]
    return chain(x.shape[2:], nodes), spikes(layers, x)


def recurrent(x: Array) -> Made:
    """A recurrent layer."""
    torch.manual_seed(18)
    loop = block.Recurrent(params(1.003), 12, OUTPUTS, weight_scale=2, **EXACT)
    into, back = (nir.Linear(on_grid(one)) for one in (loop.input_synapse, loop.recurrent_synapse))
    graph = chain(x.shape[2:], [into, node(OUTPUTS, 1.003)])
    return looped(graph, "n1", back), spikes([loop], x)


def conv(x: Array, first: int, second: int) -> Made:
    """Two convolutions, each followed by a pool of neurons, and a linear layer."""
    torch.manual_seed(8)
    channels, side = x.shape[2], x.shape[-1]
    layers = [
        block.Conv(params(1.003), channels, first, 3, padding=1, weight_scale=2, **EXACT),
        block.Pool(params(1.003), 2, **EXACT),
        block.Conv(params(1.003), first, second, 3, padding=1, weight_scale=3, **EXACT),
        block.Pool(params(1.003), 2, **EXACT),
        block.Flatten(),
        block.Dense(params(0.503), second * (side // 4) ** 2, OUTPUTS, weight_scale=3, **EXACT),
    ]
    weights = [on_grid(layer.synapse) for layer in layers if hasattr(layer, "synapse")]
    nodes: list[Any] = []
    for count, size, kernel, pool in ((first, side, 0, 1), (second, side // 2, 2, 3)):
        sides, biases = np.array([2, 2]), np.zeros(count, np.float32)
        nodes += [
            nir.Conv2d((size, size), weights[kernel], 1, 1, 1, 1, biases),
            node((count, size, size), 1.003),
            nir.SumPool2d(sides, sides, np.array([0, 0])),
            nir.Scale(full((count, size // 2, size // 2), float(weights[pool].flat[0]))),
            node((count, size // 2, size // 2), 1.003),
        ]
    nodes += [
        nir.Flatten({"input": np.array([second, side // 4, side // 4])}, 0, -1),
        nir.Linear(weights[4]),
        node(OUTPUTS, 0.503),
    ]
    return chain(x.shape[2:], nodes), spikes(layers, x)


def spikes(layers: Any, x: Array) -> Array:
    """Layers take (B, ..., T)."""
    values = torch.from_numpy(np.moveaxis(x, 0, -1).copy())
    with torch.no_grad():
        for layer in layers:
            values = layer(values)
    return np.asarray(np.moveaxis(values.numpy(), -1, 0))
