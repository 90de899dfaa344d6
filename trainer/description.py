"""A trained network as plain NumPy, for the export."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeport.geometry import Pair
from spikeport.trained_model import (
    AvgPoolLayer,
    BatchNormLayer,
    ConvLayer,
    Layer,
    LIFLayer,
    LinearLayer,
    TrainedModel,
)
from spikeport.trainer.batch_norm import running_statistics
from spikeport.trainer.lif import LIF
from spikeport.trainer.network import Node, SpikingNetwork


def describe(network: SpikingNetwork) -> TrainedModel:
    """Copy the network's layers and weights to float64 arrays; names stay."""
    layers = tuple(_layer(node) for node in network.nodes)
    return TrainedModel(network.input, layers, network.output, network.steps)


def _layer(node: Node) -> Layer:
    name, inputs, op = node.name, node.inputs, node.op
    match op:
        case nn.Conv2d():
            return ConvLayer(
                name,
                inputs,
                _array(op.weight),
                None if op.bias is None else _array(op.bias),
                stride=pair(op.stride),
                padding=pair(op.padding),  # type: ignore[arg-type]  # SpikingNetwork refuses str
                dilation=pair(op.dilation),
                groups=op.groups,
            )
        case nn.Linear():
            bias = None if op.bias is None else _array(op.bias)
            return LinearLayer(name, inputs, _array(op.weight), bias)
        case nn.AvgPool2d():
            sizes = pair(op.kernel_size), pair(op.stride), pair(op.padding)
            return AvgPoolLayer(name, inputs, *sizes)
        case LIF():
            return LIFLayer(name, inputs, op.decay, op.v_threshold, op.reset)
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            running = running_statistics(op)
            gamma, beta = _array(op.weight), _array(op.bias)
            mean, variance = _array(running.mean), _array(running.variance)
            return BatchNormLayer(name, inputs, gamma, beta, mean, variance, op.eps)


def pair(value: int | tuple[int, ...]) -> Pair:
    """PyTorch's one or two sizes as two."""
    height, width = (value, value) if isinstance(value, int) else value
    return (int(height), int(width))


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().cpu().numpy().astype(np.float64)
