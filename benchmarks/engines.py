"""A common interface to the simulators: build once, then run one batch at a time.

An engine is created from a network and its complete input; `run(variant)` then simulates all
samples and returns the number of spikes of each population. A variant gives batch size and loop
order.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from spikeport.network import DeployedNetwork

Spikes = NDArray[np.uint8]


class Variant(NamedTuple):
    """How a simulator is used; the fastest of a few variants is measured.

    Attributes:
        batch: samples per batch.
        order: "steps" (all layers in each step), "layers" (all steps of a layer, then the next) or
            "" if the simulator decides.
    """

    batch: int
    order: str = ""


Run = Callable[[Variant, bool], Mapping[str, int]]
"""Runs all samples; returns spikes per population if the second argument is true."""


class Engine(Protocol):
    """Prepares a network for running."""

    def __call__(self, network: DeployedNetwork, spikes: Spikes, threads: int) -> Run:
        """Build everything that only needs to be built once."""
        ...


def native(network: DeployedNetwork, spikes: Spikes, threads: int) -> Run:
    """Chip integers; called as a user would call it, with checks and event counts."""
    from spikeport.simulators import run_native

    return _counted(partial(run_native, network, threads=threads), spikes)


def cuda(network: DeployedNetwork, spikes: Spikes, threads: int, device: str = "cuda") -> Run:
    """Chip integers on a GPU; called like native, so that samples and results are copied as well.

    Args:
        device: as in `run_cuda`.
    """
    from spikeport.simulators import run_cuda

    return _counted(partial(run_cuda, network, device=device), spikes)


def float_nir(network: DeployedNetwork, spikes: Spikes, threads: int) -> Run:
    """Our NumPy simulation of the network as NIR, in float32."""
    from spikeport.export.nir.deployed import float_view
    from spikeport.simulators import run_float

    view = float_view(network)

    return _counted(partial(run_float, view, dtype=np.float32), spikes)


def engine(name: str) -> Engine:
    """The engine of that name; those of other frameworks are in `benchmarks.torch_engines`."""
    own: Mapping[str, Engine] = {"native": native, "cuda": cuda, "float": float_nir}
    if name in own:
        return own[name]
    module: Any = importlib.import_module("benchmarks.torch_engines")
    found: Engine = module.engine(name)
    return found


def _counted(simulate: Callable[[Spikes], Any], spikes: Spikes) -> Run:
    """Run batch by batch with a simulator of ours, which counts the spikes itself."""

    def run(variant: Variant, count: bool) -> Mapping[str, int]:
        totals: Counter[str] = Counter()
        for first in range(0, spikes.shape[1], variant.batch):
            done = simulate(spikes[:, first : first + variant.batch])
            totals.update({name: int(n.sum()) for name, n in done.spike_counts.items()})
        return totals

    return run
