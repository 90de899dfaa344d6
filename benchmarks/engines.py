"""The simulators of the main environment behind one shape: build once, then run a batch at a time.

An engine is made from a network and all its input, then `run(variant)` takes every sample through
the network and returns the spikes of each population. A variant says how: batch size, order.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from spikeport.network import DeployedNetwork

Spikes = NDArray[np.uint8]


class Variant(NamedTuple):
    """How a simulator is used; the fastest of a few is taken.

    Attributes:
        batch: samples side by side.
        order: "steps" (every layer each step), "layers" (every step of a layer, then the next) or
            "" where the simulator decides.
    """

    batch: int
    order: str = ""


Run = Callable[[Variant, bool], Mapping[str, int]]
"""One run of all samples; spikes per population if the second argument asks for them."""


class Engine(Protocol):
    """Makes a network ready to run."""

    def __call__(self, network: DeployedNetwork, spikes: Spikes, threads: int) -> Run:
        """Build everything that is built once."""
        ...


def native(network: DeployedNetwork, spikes: Spikes, threads: int) -> Run:
    """Chip integers; the call as a user makes it, checks and event counts included."""
    from spikeport.simulators import run_native

    def run(variant: Variant, count: bool) -> Mapping[str, int]:
        totals: dict[str, int] = {}
        for part in _batches(spikes, variant.batch):
            done = run_native(network, part, threads=threads)
            _add(totals, {name: int(n.sum()) for name, n in done.spike_counts.items()})
        return totals

    return run


def float_nir(network: DeployedNetwork, spikes: Spikes, threads: int) -> Run:
    """Our NumPy simulation of the network as NIR, in float32."""
    from spikeport.export.nir.deployed import float_view
    from spikeport.simulators import run_float

    view = float_view(network)

    def run(variant: Variant, count: bool) -> Mapping[str, int]:
        totals: dict[str, int] = {}
        for part in _batches(spikes, variant.batch):
            done = run_float(view, part, dtype=np.float32)
            _add(totals, {name: int(n.sum()) for name, n in done.spike_counts.items()})
        return totals

    return run


def engine(name: str) -> Engine:
    """The engine of that name; those of other frameworks live in `benchmarks.torch_engines`."""
    own: Mapping[str, Engine] = {"native": native, "float": float_nir}
    if name in own:
        return own[name]
    module: Any = importlib.import_module("benchmarks.torch_engines")
    found: Engine = module.engine(name)
    return found


def _batches(spikes: Spikes, size: int) -> list[Spikes]:
    return [spikes[:, first : first + size] for first in range(0, spikes.shape[1], size)]


def _add(totals: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        totals[name] = totals.get(name, 0) + count
