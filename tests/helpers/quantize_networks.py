"""Small float networks for the tests of lowering and quantization."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Unpack

import nir
import numpy as np
from numpy.typing import ArrayLike

from spikeport.backends import check_deployed
from spikeport.export.nir import FloatNetwork
from spikeport.export.nir.semantics import Rules, Semantics
from spikeport.export.quantize import QuantizationResult, QuantizeConfig, quantize_float_network
from spikeport.network import Coding, Input
from spikeport.runs import Samples
from spikeport.simulators import run_float, run_native

DT = 1e-3


def affine(weight: ArrayLike, bias: ArrayLike = 0.0) -> Any:
    matrix = np.asarray(weight, np.float64)
    return nir.Affine(matrix, np.broadcast_to(np.asarray(bias, np.float64), matrix.shape[:1]))


def conv(weight: ArrayLike, bias: ArrayLike = 0.0, **geometry: Any) -> Any:
    """Along two axes, or along one where `weight` has three."""
    kernels = np.asarray(weight, np.float64)
    fields = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | geometry
    offsets = np.broadcast_to(np.asarray(bias, np.float64), kernels.shape[:1])
    make = nir.Conv1d if kernels.ndim == 3 else nir.Conv2d
    return make(input_shape=None, weight=kernels, bias=offsets, **fields)


def integrate_and_fire(shape: tuple[int, ...], threshold: float = 1.0) -> Any:
    return nir.IF(r=np.ones(shape), v_threshold=np.full(shape, threshold))


def leaky(shape: tuple[int, ...], keep: float, threshold: float = 1.0) -> Any:
    """v <- keep v + I."""
    tau = np.full(shape, DT / (1 - keep))
    return nir.LIF(
        tau=tau, r=tau / DT, v_leak=np.zeros(shape), v_threshold=np.full(shape, threshold)
    )


def network(
    nodes: dict[str, Any],
    edges: Sequence[tuple[str, str]],
    inputs: Sequence[Input],
    *,
    steps: int = 6,
    **rules: Unpack[Rules],
) -> FloatNetwork:
    ends = {part.name: nir.Input({"input": np.array(part.shape)}) for part in inputs}
    graph = nir.NIRGraph(
        {**ends, **nodes, "output": nir.Output({"output": None})}, list(edges), type_check=False
    )
    semantics = Semantics(strict=False).changed(**rules)
    return FloatNetwork(graph, DT, steps, tuple(inputs), semantics)


def chain(nodes: dict[str, Any], source: Input, **options: Any) -> FloatNetwork:
    """Input, the nodes in order, Output."""
    names = [source.name, *nodes, "output"]
    return network(nodes, list(itertools.pairwise(names)), [source], **options)


def spikes_in(size: int | tuple[int, ...]) -> Input:
    return Input("input", size if isinstance(size, tuple) else (size,), Coding.SPIKES)


def quantized(
    source: FloatNetwork, samples: Samples, config: QuantizeConfig | None = None
) -> QuantizationResult:
    return quantize_float_network(
        source,
        samples,
        run_float=run_float,
        run_chip=run_native,
        stopping=lambda network, target: [
            str(one) for one in check_deployed(network, [target])[0].unsupported if one.stops
        ],
        config=config,
    )
