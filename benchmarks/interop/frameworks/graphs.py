"""Sizes of the networks, and NIR graphs put together where an exporter cannot write a whole one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

import nir
import numpy as np
from numpy.typing import NDArray

HIDDEN, OUTPUTS = 20, 7
CHANNELS = 4, 5
DT = 1e-4
Array = NDArray[Any]
Made = tuple[nir.NIRGraph, Any]
Networks = Iterator[tuple[str, Callable[[], Made]]]
STEPS = 30
SHAPES: Mapping[str, tuple[int, ...]] = {"flat": (12,), "map": (2, 8, 8), "image": (1, 28, 28)}
Inputs = Mapping[str, Array]
"""0/1 spikes (T, B, *shape) of each of the shapes."""


class Options(TypedDict):
    """How a file is loaded: its time step, and whether neurons subtract their threshold."""

    dt: float
    subtract: bool


def chain(shape: Sequence[int], nodes: Sequence[Any], outputs: int = OUTPUTS) -> nir.NIRGraph:
    """Input, the nodes n0, n1, ... in order, Output."""
    ends = nir.Input({"input": np.array(shape)}), nir.Output({"output": np.array([outputs])})
    names = ["input", *(f"n{i}" for i in range(len(nodes))), "output"]
    every = dict(zip(names, (ends[0], *nodes, ends[1]), strict=True))
    return nir.NIRGraph(every, list(itertools.pairwise(names)))


def looped(graph: nir.NIRGraph, name: str, back: Any) -> nir.NIRGraph:
    """The graph with a connection from a node to itself."""
    edges = [*graph.edges, (name, "back"), ("back", name)]
    return nir.NIRGraph({**graph.nodes, "back": back}, edges)


def full(shape: Any, value: float) -> Array:
    """One value per neuron."""
    return np.full(shape, value, np.float32)
