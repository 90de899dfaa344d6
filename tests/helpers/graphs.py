"""Small float networks by hand and at random, with numbers that float32 does not blur.

Weights and biases are multiples of 1/64, and thresholds lie between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import nir
import numpy as np
from hypothesis import strategies as st

from spikeport.export.nir import FloatNetwork, Semantics
from spikeport.network import Input, Reset
from spikeport.simulators import run_float

DT = 1e-4
STEPS = 16
Shape = tuple[int, ...]


class Parts:
    """Makes nodes from one random generator."""

    def __init__(self, seed: int, dt: float = DT) -> None:
        self.rng = np.random.default_rng(seed)
        self.dt = dt

    def grid(self, *shape: int, fan: int = 1) -> Any:
        values = self.rng.normal(size=shape) * 96 / np.sqrt(fan)
        return (np.round(values) / 64).astype(np.float32)

    def affine(self, out: int, into: int) -> Any:
        return nir.Affine(self.grid(out, into, fan=into), self.grid(out, fan=16))

    def linear(self, out: int, into: int) -> Any:
        return nir.Linear(self.grid(out, into, fan=into))

    def conv(self, out: int, into: int, kernel: Shape, **options: Any) -> Any:
        groups = options.get("groups", 1)
        weight = self.grid(out, into // groups, *kernel, fan=into * int(np.prod(kernel)))
        if len(kernel) == 1:
            padding = options.get("padding", 0)
            return nir.Conv1d(None, weight, 1, padding, 1, groups, self.grid(out, fan=16))
        sides = options.get("stride", (1, 1)), options.get("padding", (0, 0)), (1, 1)
        return nir.Conv2d(None, weight, *sides, groups, self.grid(out, fan=16))

    def full(self, value: float, *shape: int) -> Any:
        return np.full(shape, value, np.float32)

    def lif(
        self, *shape: int, tau: float = 8, r: float = 1, theta: float = 0.503, **more: float
    ) -> Any:
        """A threshold of theta for a current of 1."""
        levels = {name: self.full(value, *shape) for name, value in more.items()}
        levels.setdefault("v_leak", self.full(0, *shape))
        return nir.LIF(
            tau=self.full(tau * self.dt, *shape),
            r=self.full(r, *shape),
            v_threshold=self.full(theta * r / tau, *shape),
            **levels,
        )

    def integrate(self, *shape: int, theta: float = 1.003) -> Any:
        return nir.IF(self.full(1, *shape), self.full(theta, *shape))

    def cuba(self, *shape: int, theta: float = 2.003, r: float = 1) -> Any:
        taus = self.full(4 * self.dt, *shape), self.full(8 * self.dt, *shape)
        threshold = self.full(theta * r / 32, *shape)
        return nir.CubaLIF(*taus, self.full(r, *shape), self.full(0, *shape), threshold)


def network(
    nodes: dict[str, Any],
    edges: Iterable[tuple[str, str]],
    shape: Shape = (6,),
    dt: float = DT,
    **rules: Any,
) -> FloatNetwork:
    """A network with an input x and an output out."""
    ends = {"x": nir.Input({"input": np.array(shape)}), "out": nir.Output({"output": None})}
    graph = nir.NIRGraph({**ends, **nodes}, list(edges), type_check=False)
    return FloatNetwork(graph, dt, STEPS, (Input("x", shape),), Semantics(**rules))


def chain(
    *nodes: Any, shape: Shape = (6,), names: Iterable[str] = (), **rules: Any
) -> FloatNetwork:
    """Nodes in a row, named n0, n1, ... unless named."""
    given = list(names) or [f"n{index}" for index in range(len(nodes))]
    path = itertools.pairwise(("x", *given, "out"))
    return network(dict(zip(given, nodes, strict=True)), path, shape, **rules)


def spikes_into(network: FloatNetwork, seed: int = 0, samples: int = 4) -> Any:
    """Random 0/1 spikes (T, B, *shape)."""
    rng = np.random.default_rng(seed)
    shape = network.inputs[0].shape
    return (rng.random((network.steps, samples, *shape)) < 0.4).astype(np.float32)


def outputs(network: FloatNetwork, x: Any) -> Any:
    """What the network's output receives in every step, (T, B, *shape)."""
    run = run_float(network, x, record=("spikes", "v"))
    assert run.trace is not None
    (out,) = network.graph.outputs
    found = {**run.trace.v, **run.trace.spikes}
    return sum(found[source].astype(np.float64) for source in network.checked.sources[out])


NAMES = (
    "lif",
    "type",
    "keys",
    "lambda",
    "forward",
    "graph",
    "_hidden",
    "input",
    "output",
    "values",
)


@st.composite
def float_networks(draw: st.DrawFn) -> FloatNetwork:
    """One of one to three layers, some of feature maps, with loops and skips, under any rules."""
    dt = draw(st.sampled_from([1e-4, 1e-3, 2e-3]))
    parts = Parts(draw(st.integers(0, 2**20)), dt)
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    names = iter(draw(st.permutations(NAMES)))
    spatial = draw(st.booleans())
    shape: Shape = (2, 6, 6) if spatial else (6,)
    first, last = shape, "x"

    def add(name: str, node: Any, *sources: str) -> str:
        nodes[name] = node
        edges.extend((source, name) for source in sources)
        return name

    def neurons(shape: Shape) -> Any:
        match draw(st.sampled_from(["LIF", "IF", "CubaLIF"])):
            case "LIF":
                return parts.lif(
                    *shape, tau=draw(st.sampled_from([2, 8])), r=draw(st.sampled_from([1, 3]))
                )
            case "IF":
                return parts.integrate(*shape)
        return parts.cuba(*shape, r=draw(st.sampled_from([1, 8])))

    if spatial:
        groups = draw(st.sampled_from([1, 2]))
        last = add("conv", parts.conv(4, 2, (3, 3), groups=groups, padding=(1, 1)), last)
        last = add(next(names), neurons((4, 6, 6)), last)
        pool = draw(st.sampled_from([nir.SumPool2d, nir.AvgPool2d]))
        padding = draw(st.sampled_from([0, 1]))
        side = 3 + padding
        last = add("pool", pool(np.array([2, 2]), np.array([2, 2]), np.array([padding] * 2)), last)
        last = add("flat", nir.Flatten({"input": None}, 0, -1), last)
        shape = (4 * side * side,)
    for index in range(draw(st.integers(1, 2))):
        fed = [last]
        if draw(st.booleans()):
            last = add(f"scale{index}", nir.Scale(parts.grid(*shape)), last)
        last = add(f"fc{index}", parts.affine(8, shape[0]), last)
        if index and draw(st.booleans()):
            last = add(f"skip{index}", parts.linear(8, 8), last, *fed)
        current, shape = last, (8,)
        last = add(next(names), neurons(shape), last)
        match draw(st.sampled_from(["none", "dense", "self", "long"])):
            case "dense":
                edges.append((add(f"rec{index}", parts.affine(8, 8), last), last))
            case "self":
                edges.append((last, last))
            case "long" if current == f"fc{index}":
                inner = add(f"a{index}", parts.linear(8, 8), last)
                back = add(f"b{index}", neurons(shape), inner)
                edges.append((back, last))
    edges.append((last, "out"))
    rules = draw(
        st.fixed_dictionaries(
            {"reset": st.sampled_from(Reset), "strict": st.booleans()},
            optional={
                "discretization": st.just("exponential"),
                "synapse_order": st.just("add-first"),
                "start": st.just("v_reset"),
            },
        )
    )
    if "start" in rules:
        part = draw(st.sampled_from([0.5, -0.25]))
        for node in nodes.values():
            if hasattr(node, "v_threshold"):
                node.v_reset = (part * node.v_threshold).astype(node.v_threshold.dtype)
    return network(nodes, edges, first, dt, **rules)
