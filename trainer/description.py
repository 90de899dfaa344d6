"""Convert a trained network to plain NumPy arrays for export."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeport.errors import InputError
from spikeport.network import (
    AvgPoolLayer,
    BatchNormLayer,
    ConvLayer,
    Layer,
    LIFLayer,
    LILayer,
    LinearLayer,
    OffsetLayer,
    TrainedModel,
)
from spikeport.trainer.chip import AnyNetwork, QATNetwork
from spikeport.trainer.network import Node, deployment
from spikeport.trainer.network.layers import Offset, pair, planar
from spikeport.trainer.neurons import LI, LIF

TorchLayer = ConvLayer | LinearLayer | AvgPoolLayer | BatchNormLayer


def as_trained_model(network: AnyNetwork) -> TrainedModel:
    """Copy the layers and weights of the deployable network to float64 arrays under their names.

    Raises:
        InputError: lists every layer that cannot be expressed as neurons and weighted connections;
            or the network already computes in chip integers.
    """
    if isinstance(network, QATNetwork):
        raise InputError("network: is in chip arithmetic; use `deployed()` to get its integers")
    made = deployment(network)
    chip = made.network
    layers = tuple(map(_layer, chip.nodes))
    facts = made.rewrites, chip.provenance
    return TrainedModel(chip.input, layers, chip.output, chip.steps, *facts)


def _layer(node: Node) -> Layer:
    name, inputs, op = node.name, node.inputs, node.op
    match op:
        case Offset():
            return OffsetLayer(name, inputs, _array(op.get_buffer("bias")))
        case LIF():
            constants = op.decay, op.v_threshold, op.reset, op.strict, op.v_init
            return LIFLayer(name, inputs, *constants)
        case LI():
            return LILayer(name, inputs, op.decay)
    return torch_layer(name, inputs, op)


def torch_layer(name: str, inputs: tuple[str, ...], op: nn.Module) -> TorchLayer:
    """A map, average pool or batch norm of torch that `unsupported` takes, in plain NumPy."""
    match op:
        case nn.Conv1d() | nn.Conv2d():
            bias = None if op.bias is None else _array(op.bias)
            return ConvLayer(name, inputs, _array(op.weight), bias, *planar(op), op.groups)
        case nn.Linear():
            bias = None if op.bias is None else _array(op.bias)
            return LinearLayer(name, inputs, _array(op.weight), bias)
        case nn.AvgPool2d():
            sizes = pair(op.kernel_size), pair(op.stride), pair(op.padding)
            return AvgPoolLayer(name, inputs, *sizes)
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            assert op.running_mean is not None  # see `unsupported`
            assert op.running_var is not None
            gamma, beta = _array(op.weight), _array(op.bias)
            mean, variance = _array(op.running_mean), _array(op.running_var)
            return BatchNormLayer(name, inputs, gamma, beta, mean, variance, op.eps)
    raise AssertionError(f"layer '{name}' is {type(op).__name__}, which has no plain form")


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().cpu().numpy().astype(np.float64)
