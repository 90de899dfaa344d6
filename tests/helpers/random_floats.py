"""Random float networks for the tests of quantization."""

from __future__ import annotations

import itertools
from typing import Any

import nir
import numpy as np
from hypothesis import strategies as st

from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.semantics import StartValue
from spikeport.network import Coding, Input, Reset
from tests.helpers.quantize_networks import (
    DT,
    affine,
    conv,
    integrate_and_fire,
    leaky,
    network,
)

SIGNS: dict[str, Any] = {
    "mixed": lambda w: w,
    "excitatory": np.abs,
    "inhibitory": lambda w: -np.abs(w),
    "sparse inhibitory": lambda w: -np.abs(w) * (np.arange(w.size).reshape(w.shape) % 3 > 0),
    "powers of two": lambda w: np.sign(w) * 2.0 ** np.rint(np.log2(np.abs(w) + 0.01)),
    "one inhibitory power": lambda w: -0.5 * (w > 0),
    "ones": lambda w: np.sign(w),
}


def cuba(shape: tuple[int, ...]) -> Any:
    one = np.ones(shape)
    return nir.CubaLIF(
        tau_syn=4 * DT * one, tau_mem=8 * DT * one, r=8 * one, v_leak=0 * one,
        v_threshold=one, w_in=4 * one,
    )  # fmt: skip


@st.composite
def float_networks(draw: st.DrawFn, *, low: int = -255) -> FloatNetwork:
    """Convolutions and dense layers with biases of any size, recurrent or not, any reset or start.

    Args:
        low: lowest graded value.
    """
    rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))

    def weights(*shape: int) -> Any:
        signs = SIGNS[draw(st.sampled_from(sorted(SIGNS)))]
        return signs(rng.normal(0, 0.5, shape)) * draw(st.sampled_from([1.0, 1.0, 0.01, 1.5]))

    def neurons(shape: tuple[int, ...], biased: bool) -> Any:
        kind = draw(st.sampled_from(["if", "lif"] if biased else ["if", "lif", "cuba"]))
        threshold = draw(st.sampled_from([0.5, 1.0, 1.7]))
        if kind == "cuba":
            return cuba(shape)
        if kind == "if":
            return integrate_and_fire(shape, threshold)
        return leaky(shape, draw(st.sampled_from([0.5, 0.9])), threshold)

    nodes: dict[str, Any] = {}
    shape = draw(st.sampled_from([(5,), (2, 5, 4)]))
    coding = draw(st.sampled_from([Coding.SPIKES, Coding.SPIKES, Coding.GRADED]))
    bounds = (0, 1, 1.0) if coding is Coding.SPIKES else (low, 255, 255.0)
    source = Input("input", shape, coding, *bounds)
    if len(shape) == 3:
        biased = draw(st.booleans())
        nodes["conv"] = conv(weights(3, 2, 3, 2), rng.normal(0, 0.3, 3) * biased)
        nodes["a"] = neurons((3, 3, 3), biased)
        nodes["flat"] = nir.Flatten({"input": np.array((3, 3, 3))}, 0, -1)
        shape = (27,)
    for name in ("b", "c")[: draw(st.integers(1, 2))]:
        bias = draw(st.sampled_from([0.0, 0.01, 1.0, 30.0])) * rng.normal(0, 1, 4)
        nodes[f"to_{name}"] = affine(weights(4, shape[0]), bias)
        nodes[name] = neurons((4,), bool(bias.any()))
        shape = (4,)
    names = [source.name, *nodes, "output"]
    edges = list(itertools.pairwise(names))
    if draw(st.integers(0, 3)) == 0:
        nodes["again"] = nir.Linear(weights(4, 4))
        edges += [(name, "again"), ("again", name)]
    if draw(st.integers(0, 3)) == 0:
        nodes["read"] = affine(weights(2, 4))
        edges = [*edges[:-1], (name, "read"), ("read", "output")] if "again" not in nodes else edges
    nodes = {key: node for key, node in nodes.items() if key in {k for e in edges for k in e}}
    reset = draw(st.sampled_from([Reset.ZERO] * 7 + [Reset.SUBTRACT]))
    start = draw(st.sampled_from([0.0, 0.5, 0.5, -0.3, 1.2])) if reset is Reset.SUBTRACT else 0.0
    for node in nodes.values():
        if start and hasattr(node, "v_threshold"):
            node.v_reset = start * node.v_threshold
    begin = StartValue.V_RESET if start else StartValue.ZERO
    strict = draw(st.booleans())
    return network(nodes, edges, [source], reset=reset, strict=strict, start=begin)
