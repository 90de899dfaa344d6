"""A trained model as plain NumPy: passed from the trainer to the export, without torch."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spikeport.network.geometry import IntPair
from spikeport.network.inputs import Input
from spikeport.network.neurons.lif import Reset

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ConvLayer:
    """Cross-correlation along two axes, or along one, where the options apply to columns.

    Attributes:
        weight: (C_out, C_in / groups, KH, KW) or (C_out, C_in / groups, K).
        bias: (C_out,) or None.
    """

    name: str
    inputs: tuple[str, ...]
    weight: Array
    bias: Array | None
    stride: IntPair = (1, 1)
    padding: IntPair = (0, 0)
    dilation: IntPair = (1, 1)
    groups: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class LinearLayer:
    """y = W x + b; weight (N_out, N_in), a (C, L) or (C, H, W) input is flattened in C order."""

    name: str
    inputs: tuple[str, ...]
    weight: Array
    bias: Array | None


@dataclass(frozen=True, slots=True, eq=False)
class BatchNormLayer:
    """y = gamma (x - mean) / sqrt(variance + eps) + beta per channel, running statistics."""

    name: str
    inputs: tuple[str, ...]
    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    eps: float


@dataclass(frozen=True, slots=True)
class AvgPoolLayer:
    """Mean over windows."""

    name: str
    inputs: tuple[str, ...]
    kernel_size: IntPair
    stride: IntPair
    padding: IntPair = (0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class OffsetLayer:
    """A constant for each neuron, whatever its inputs send; feeds an LIF or LI layer.

    Attributes:
        bias: of the shape of these neurons.
    """

    name: str
    inputs: tuple[str, ...]
    bias: Array


@dataclass(frozen=True, slots=True)
class LIFLayer:
    """v <- decay v + sum of inputs; spike if v > v_threshold; reset. Decay 1 is IF.

    Attributes:
        strict: false if v >= v_threshold spikes.
        v_init: v before the first step, in units of v.
    """

    name: str
    inputs: tuple[str, ...]
    decay: float
    v_threshold: float
    reset: Reset
    strict: bool = True
    v_init: float = 0.0


@dataclass(frozen=True, slots=True)
class LILayer:
    """v <- decay v + sum of inputs; never spikes, its last v is the score. Decay 1 is I."""

    name: str
    inputs: tuple[str, ...]
    decay: float


Layer = ConvLayer | LinearLayer | BatchNormLayer | AvgPoolLayer | OffsetLayer | LIFLayer | LILayer


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """Layers in topological order; a layer adds up its inputs.

    Attributes:
        input: shape, coding and scale of the network input; layers refer to it as `input.name`.
        output: name of the last layer: an LIFLayer (scores are spike counts), an LILayer (its
            last v) or a linear layer (scores are its mean over time).
        steps: T.
        rewrites: what became of layers that were replaced by exact equivalents, a sentence each.
        provenance: where the network comes from, as text by name.
    """

    input: Input
    layers: tuple[Layer, ...]
    output: str
    steps: int
    rewrites: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)


def normalized_map(inputs: tuple[str, ...], maps: Container[str]) -> str | None:
    """The conv or linear layer, one of `maps`, that a batch norm with these inputs follows.

    None if it follows none or several: then it cannot be folded into weights.
    """
    return inputs[0] if len(inputs) == 1 and inputs[0] in maps else None
