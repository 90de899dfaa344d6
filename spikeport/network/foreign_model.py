"""A network of another framework as plain NumPy: passed from the trainer to the export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeport.network.inputs import Input
from spikeport.network.trained_model import (
    Array,
    AvgPoolLayer,
    BatchNormLayer,
    ConvLayer,
    LinearLayer,
)


@dataclass(frozen=True, slots=True, eq=False)
class NeuronLayer:
    """Neurons with parameters of their own; arrays broadcast to the shape of the layer.

    With x the sum of the inputs of a step:

        i <- keep_syn i + x                                (i is x if keep_syn is None)
        v <- keep v + gain i + (1 - keep) v_leak

    and a spike as the model's rules say. Without a threshold, the output is v.

    Attributes:
        keep, keep_syn: what is left of v and i after one step, in 0..1; keep 1 is an integrator.
        v_threshold, v_leak, v_reset: in units of v.
    """

    name: str
    inputs: tuple[str, ...]
    keep: Array
    gain: Array
    v_threshold: Array | None
    v_leak: Array
    v_reset: Array
    keep_syn: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ScaleLayer:
    """y = scale x; the array broadcasts to the shape of x."""

    name: str
    inputs: tuple[str, ...]
    scale: Array


@dataclass(frozen=True, slots=True)
class SumPoolLayer:
    """Sum over windows."""

    name: str
    inputs: tuple[str, ...]
    kernel_size: tuple[int, int]
    stride: tuple[int, int]


ForeignLayer = (
    ConvLayer
    | LinearLayer
    | BatchNormLayer
    | AvgPoolLayer
    | SumPoolLayer
    | ScaleLayer
    | NeuronLayer
)


@dataclass(frozen=True, slots=True, eq=False)
class ForeignModel:
    """Layers in order of computation; a layer adds up its inputs.

    A layer that another one receives from, but that comes later, closes a cycle.

    Attributes:
        output: name of the layer whose output is that of the network.
        steps: T.
        rules: the fields of `export.Semantics` that differ from NIR's.
        origin: where the network is from.
    """

    input: Input
    layers: tuple[ForeignLayer, ...]
    output: str
    steps: int
    rules: Mapping[str, str | bool]
    origin: Mapping[str, str]
