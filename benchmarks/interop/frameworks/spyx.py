"""Spyx, whose tensors are channels-last."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import nir
import numpy as np
import spyx.nn as snn
from flax import nnx
from spyx.nir import from_nir, to_nir

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

NEURONS: dict[str, Callable[[Any, Any, float], Any]] = {
    "lif": lambda n, rngs, v: snn.LIF(n, beta=0.8, threshold=0.3 * v, rngs=rngs),
    "if": lambda n, rngs, v: snn.IF(n, threshold=0.5 * v),
    "cuba": lambda n, rngs, v: snn.CuBaLIF(n, alpha=0.6, beta=0.8, threshold=v, rngs=rngs),
}


def networks(inputs: Inputs) -> Networks:
    """Perceptrons, convolutions with pools, recurrence."""
    flat, small, image = inputs["flat"], inputs["map"], inputs["image"]
    for name, make in NEURONS.items():
        yield name, partial(mlp, flat, make)
    for name in ("lif", "if"):
        yield f"conv_{name}", partial(conv, small, NEURONS[name], *CHANNELS)
    yield "conv_28x28", partial(conv, image, NEURONS["lif"], 8, 16)
    yield "conv_flattened_map", partial(conv, small, NEURONS["lif"], *CHANNELS, wide=True)
    yield "recurrent", partial(recurrent, flat)


def mlp(x: Array, make: Callable[[Any, Any, float], Any]) -> Made:
    """Two linear layers."""
    rngs = nnx.Rngs(7)
    maps = nnx.Linear(12, HIDDEN, rngs=rngs), nnx.Linear(HIDDEN, OUTPUTS, rngs=rngs)
    neurons = make((HIDDEN,), rngs, 1.0), make((OUTPUTS,), rngs, 1.0)
    return made(snn.Sequential(maps[0], neurons[0], maps[1], neurons[1]), x)


def conv(x: Array, make: Any, first: int, second: int, wide: bool = False) -> Made:
    """Two convolutions, each followed by a sum pool, and a linear layer.

    Unless `wide`, the second pool leaves one position, so that flattening has one order only.
    """
    rngs = nnx.Rngs(7)
    channels, side = x.shape[2], x.shape[-1]
    half = side // 2
    window = 2 if wide else half
    padding = [(1, 1), (1, 1)]
    network = snn.Sequential(
        nnx.Conv(channels, first, (3, 3), padding=padding, rngs=rngs),
        make((side, side, first), rngs, 1.0),
        snn.SumPool(2, 2, "VALID"),
        nnx.Conv(first, second, (3, 3), padding=padding, rngs=rngs),
        make((half, half, second), rngs, 1.0),
        snn.SumPool(window, window, "VALID"),
        snn.Flatten(),
        nnx.Linear(second * (half // window) ** 2, OUTPUTS, rngs=rngs),
        make((OUTPUTS,), rngs, float(window)),
    )
    return made(network, x)


def recurrent(x: Array) -> Made:
    """A recurrent layer."""
    rngs = nnx.Rngs(7)
    maps = nnx.Linear(12, HIDDEN, rngs=rngs), nnx.Linear(HIDDEN, OUTPUTS, rngs=rngs)
    loop = snn.RLIF((HIDDEN,), beta=0.8, threshold=0.3, rngs=rngs)
    return made(snn.Sequential(maps[0], loop, maps[1], NEURONS["lif"]((OUTPUTS,), rngs, 1.0)), x)


def made(network: Any, x: Array) -> Made:
    """Its exporter's graph."""
    spikes, _ = snn.run(network, jnp.asarray(channels_last(x)))
    ends = {"input": np.array(x.shape[2:])}, {"output": np.array([OUTPUTS])}
    return to_nir(network, *ends, dt=DT), spikes


def channels_last(x: Array) -> Array:
    """(..., C, H, W) to (..., H, W, C)."""
    return np.moveaxis(x, 2, -1) if x.ndim == 5 else x


def load(path: Path, options: Options) -> Callable[[Array], Array]:
    """Its importer runs the network as well."""
    graph = nir.read(path)

    def run(x: Array) -> Array:
        spikes = np.asarray(from_nir(graph, jnp.asarray(channels_last(x)), dt=options["dt"])[1])
        return np.moveaxis(spikes, -1, 2) if spikes.ndim == 5 else spikes

    return run
