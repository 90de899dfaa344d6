"""Rockpool: its exporter leaves batch and time in Input, so its nodes are put together here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules.torch import LIFNeuronTorch, LIFTorch, LinearTorch
from rockpool.nn.modules.torch.nir import _extract_rockpool_module, from_nir, to_nir

from benchmarks.interop.frameworks.graphs import (
    DT,
    HIDDEN,
    OUTPUTS,
    Array,
    Inputs,
    Made,
    Networks,
    Options,
    chain,
    looped,
)


def networks(inputs: Inputs) -> Networks:
    """Perceptrons and recurrence; there are no convolutions."""
    flat = inputs["flat"]
    yield "lif", partial(mlp, flat, lif)
    yield "cuba", partial(mlp, flat, cuba)
    yield "recurrent", partial(recurrent, flat)
    yield "recurrent_by_exporter", partial(recurrent, flat, looping=False)
    yield "lif_by_exporter", partial(by_exporter, flat)


def lif(neurons: int) -> Any:
    """Leaky neurons."""
    taus = {"tau_mem": each(neurons, 20 * DT), "dt": DT}
    return LIFNeuronTorch(neurons, threshold=each(neurons, 0.4), bias=each(neurons, 0), **taus)


def cuba(neurons: int, **loop: Any) -> Any:
    """Leaky neurons with a synaptic current."""
    taus = {"tau_mem": each(neurons, 20 * DT), "tau_syn": each(neurons, 5 * DT, 1), "dt": DT}
    given = {"threshold": each(neurons, 2.0), "bias": each(neurons, 0)}
    return LIFTorch((neurons, neurons), **given, **taus, **loop)


def each(neurons: int, value: float, *axes: int) -> torch.Tensor:
    """One value per neuron."""
    return torch.full((neurons, *axes), value)


def node(module: Any) -> Any:
    """What the exporter writes for a module, with arrays in place of tensors."""
    written = _extract_rockpool_module(module)
    names = [field.name for field in dataclasses.fields(written) if field.init]
    kept = [name for name in names if name not in ("input_type", "output_type", "metadata")]
    return type(written)(**{name: np.asarray(getattr(written, name)) for name in kept})


def mlp(x: Array, make: Callable[[int], Any]) -> Made:
    """Two linear layers."""
    modules = layers(make(HIDDEN), make(OUTPUTS))
    return chain(x.shape[2:], [node(module) for module in modules]), spikes(modules, x)


def layers(first: Any, second: Any) -> list[Any]:
    """The neurons behind linear layers."""
    torch.manual_seed(6)
    linear = LinearTorch((12, HIDDEN), has_bias=True)
    return [linear, first, LinearTorch((HIDDEN, OUTPUTS), has_bias=True), second]


def recurrent(x: Array, looping: bool = True) -> Made:
    """The exporter writes the neurons of a recurrent layer and not its weights."""
    torch.manual_seed(16)
    weight = torch.randn(HIDDEN, HIDDEN) / HIDDEN**0.5
    modules = layers(cuba(HIDDEN, has_rec=True, w_rec=weight), cuba(OUTPUTS))
    graph = chain(x.shape[2:], [node(module) for module in modules])
    back = nir.Linear(weight.T.numpy())
    return looped(graph, "n1", back) if looping else graph, spikes(modules, x)


def spikes(modules: list[Any], x: Array) -> Array:
    """Modules take (B, T, N)."""
    values = torch.from_numpy(x.swapaxes(0, 1).copy())
    with torch.no_grad():
        for module in modules:
            values = module(values)[0]
    return np.asarray(values.numpy().swapaxes(0, 1))


def by_exporter(x: Array) -> Made:
    """The network as the exporter writes it."""
    modules = layers(lif(HIDDEN), lif(OUTPUTS))
    return to_nir(Sequential(*modules), torch.zeros(1, 20, 12)), spikes(modules, x)


def load(path: Path, options: Options) -> Callable[[Array], Array]:
    """Its importer, which takes (B, T, N)."""
    network = from_nir(path)

    def run(x: Array) -> Array:
        with torch.no_grad():
            values = network(torch.from_numpy(x.swapaxes(0, 1).copy()))[0]
        return np.asarray(values.numpy().swapaxes(0, 1))

    return run
