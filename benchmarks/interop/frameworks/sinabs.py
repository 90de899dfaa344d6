"""Sinabs: its exporter writes tau in steps; most LIF networks are put together here, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nir
import numpy as np
import sinabs.layers as sl
import sinabs.nir
import torch
from sinabs.activation import SingleSpike
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
    chain,
    full,
    looped,
)

TAU_MEM, TAU_SYN = 20.0, 5.0
"""In steps."""
SINGLE = {"spike_fn": SingleSpike}
PLAIN = {"tau_mem": TAU_MEM, "norm_input": False}


def networks(inputs: Inputs) -> Networks:
    """Perceptrons, convolutions with pools, recurrence."""
    flat, small, image = inputs["flat"], inputs["map"], inputs["image"]
    kinds: dict[str, tuple[Any, ...]] = {
        "lif": (sl.LIF, lif, (0.4, 0.3), PLAIN),
        "lif_single": (sl.LIF, lif, (0.4, 0.3), {**PLAIN, **SINGLE}),
        "lif_norm": (sl.LIF, lif, (0.03, 0.02), {"tau_mem": TAU_MEM}),
        "cuba": (sl.LIF, cuba, (2.0, 1.0), {**PLAIN, "tau_syn": TAU_SYN}),
        "iaf": (sl.IAF, iaf, (0.4, 0.3), {}),
        "iaf_single": (sl.IAF, iaf, (0.4, 0.3), SINGLE),
    }
    for name, (kind, node, thresholds, options) in kinds.items():
        yield name, partial(mlp, flat, kind, node, thresholds, options)
    for name, options in {"": {}, "_single": SINGLE}.items():
        yield f"conv_iaf{name}", partial(conv, small, *CHANNELS, options)
        yield f"recurrent_iaf{name}", partial(recurrent, flat, sl.IAFRecurrent, iaf, 0.4, options)
    yield "conv_28x28", partial(conv, image, 8, 16, SINGLE)
    yield "conv_lif", partial(conv_lif, small)
    yield "conv_average", partial(conv, small, *CHANNELS, SINGLE, average=True)
    yield "recurrent_lif", partial(recurrent, flat, sl.LIFRecurrent, lif, 0.4, PLAIN)
    yield "lif_by_exporter", partial(by_exporter, flat)


def lif(shape: Any, threshold: float) -> Any:
    """Sinabs counts in steps and has no r."""
    tau = full(shape, TAU_MEM * DT)
    return nir.LIF(tau, full(shape, 1), full(shape, 0), full(shape, threshold))


def cuba(shape: Any, threshold: float) -> Any:
    """A LIF with tau_syn."""
    taus = full(shape, TAU_SYN * DT), full(shape, TAU_MEM * DT)
    return nir.CubaLIF(*taus, full(shape, 1), full(shape, 0), full(shape, threshold))


def iaf(shape: Any, threshold: float) -> Any:
    """A neuron without a leak."""
    return nir.IF(full(shape, 1), full(shape, threshold))


def mlp(x: Array, kind: Any, node: Any, thresholds: Any, options: Any) -> Made:
    """Two linear layers."""
    torch.manual_seed(5)
    values, nodes = batches(x), []
    with torch.no_grad():
        for linear, threshold in zip(pair(x.shape[-1]), thresholds, strict=True):
            neurons = kind(spike_threshold=torch.tensor(threshold), **options)
            values = neurons(linear(values))
            nodes += [affine(linear), node(linear.out_features, threshold)]
    return chain(x.shape[2:], nodes), steps(values)


def pair(inputs: int) -> Iterator[nn.Linear]:
    """Two linear layers."""
    yield nn.Linear(inputs, HIDDEN)
    yield nn.Linear(HIDDEN, OUTPUTS)


def affine(linear: nn.Linear) -> Any:
    """The node of a linear layer."""
    weight, bias = (values.detach().numpy() for values in linear.parameters())
    return nir.Affine(weight, bias)


def batches(x: Array) -> torch.Tensor:
    """Sinabs takes (B, T, ...)."""
    return torch.from_numpy(x.swapaxes(0, 1).copy())


def steps(values: torch.Tensor) -> Array:
    """Back to (T, B, ...)."""
    return np.asarray(values.detach().numpy().swapaxes(0, 1))


def conv(x: Array, first: int, second: int, options: Any, average: bool = False) -> Made:
    """Two convolutions, each followed by a pool, and a linear layer; written by the exporter."""
    torch.manual_seed(5)
    pool = nn.AvgPool2d if average else sl.SumPool2d
    batch, (channels, height, width) = x.shape[1], x.shape[2:]

    def neurons(threshold: float) -> Any:
        return sl.IAFSqueeze(batch_size=batch, spike_threshold=torch.tensor(threshold), **options)

    network = nn.Sequential(
        nn.Conv2d(channels, first, 3, padding=1),
        neurons(0.4),
        pool(2),
        nn.Conv2d(first, second, 3, padding=1),
        neurons(0.8),
        pool(2),
        nn.Flatten(),
        nn.Linear(second * (height // 4) * (width // 4), OUTPUTS),
        neurons(1.0),
    )
    with torch.no_grad():
        values = network(batches(x).flatten(0, 1)).unflatten(0, (batch, len(x)))
        graph = sinabs.nir.to_nir(network, torch.zeros(batch, *x.shape[2:]))
    graph.infer_types()
    return graph, steps(values)


def conv_lif(x: Array) -> Made:
    """Leaky neurons behind a convolution and a sum pool."""
    torch.manual_seed(5)
    maps = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(64, OUTPUTS)
    first, second = (sl.LIF(spike_threshold=torch.tensor(v), **PLAIN) for v in (0.4, 0.6))
    pool = sl.SumPool2d(2)
    with torch.no_grad():
        values = first(maps[0](batches(x).flatten(0, 1)).unflatten(0, (x.shape[1], len(x))))
        pooled = pool(values.flatten(0, 1)).unflatten(0, values.shape[:2])
        values = second(maps[1](pooled.flatten(2)))
    sides = np.array([2, 2])
    kernel, bias = (values.detach().numpy() for values in maps[0].parameters())
    nodes = [
        nir.Conv2d(x.shape[3:], kernel, 1, 1, 1, 1, bias),
        lif((4, *x.shape[3:]), 0.4),
        nir.SumPool2d(sides, sides, np.array([0, 0])),
        nir.Flatten({"input": np.array([4, 4, 4])}, 0, -1),
        affine(maps[1]),
        lif(OUTPUTS, 0.6),
    ]
    return chain(x.shape[2:], nodes), steps(values)


def recurrent(x: Array, kind: Any, node: Any, threshold: float, options: Any) -> Made:
    """The exporter has no node for its recurrent layers."""
    torch.manual_seed(5)
    linear, back = nn.Linear(12, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
    last = nn.Linear(HIDDEN, OUTPUTS)
    plain = {sl.LIFRecurrent: sl.LIF, sl.IAFRecurrent: sl.IAF}[kind]
    loop = kind(rec_connect=back, spike_threshold=torch.tensor(threshold), **options)
    readout = plain(spike_threshold=torch.tensor(threshold), **options)
    with torch.no_grad():
        values = readout(last(loop(linear(batches(x)))))
    nodes = [affine(linear), node(HIDDEN, threshold), affine(last), node(OUTPUTS, threshold)]
    return looped(chain(x.shape[2:], nodes), "n1", affine(back)), steps(values)


def by_exporter(x: Array) -> Made:
    """The LIF network as the exporter writes it."""
    torch.manual_seed(5)
    batch = x.shape[1]
    network = nn.Sequential(nn.Linear(12, OUTPUTS), sl.LIFSqueeze(batch_size=batch, **PLAIN))
    with torch.no_grad():
        values = network(batches(x).flatten(0, 1)).unflatten(0, (batch, len(x)))
        return sinabs.nir.to_nir(network, torch.zeros(batch, 12)), steps(values)


def load(path: Path, options: Options) -> Callable[[Array], Array]:
    """Its importer, which takes batch and time as one axis."""
    graph = nir.read(path)

    def run(x: Array) -> Array:
        network = sinabs.nir.from_nir(graph, batch_size=x.shape[1])
        with torch.no_grad():
            values = network(batches(x).flatten(0, 1))[0]
        return steps(values.unflatten(0, (x.shape[1], len(x))))

    return run
