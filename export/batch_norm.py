"""Fold batch normalisation into the preceding linear layer."""

from __future__ import annotations

import numpy as np

from spikeport.errors import UnsupportedError, ValueRangeError
from spikeport.network import BatchNormLayer, ConvLayer, LinearLayer
from spikeport.network.trained_model import Array

WeightAndBias = tuple[Array, Array]


def weight_and_bias(layer: ConvLayer | LinearLayer) -> WeightAndBias:
    """Weight and bias of a layer in float64; the bias is zero if it has none.

    Raises:
        InputError: a value is NaN or infinite.
    """
    weight = np.asarray(layer.weight, np.float64)
    bias = np.zeros(weight.shape[0]) if layer.bias is None else np.asarray(layer.bias, np.float64)
    for field, values in (("weight", weight), ("bias", bias)):
        if not np.isfinite(values).all():
            raise ValueRangeError(
                f"layer '{layer.name}': {field} contains NaN or infinity, must be finite"
            )
    return weight, bias


def fold_batch_norm(layer: ConvLayer | LinearLayer, norm: BatchNormLayer) -> WeightAndBias:
    """Weight and bias of the linear map equal to `layer` followed by `norm` in evaluation mode.

    W' = W gamma / sqrt(variance + eps), b' = beta + (b - mean) gamma / sqrt(variance + eps),
    per output channel, in float64.

    Raises:
        InputError: the statistics have a different number of channels or are invalid.
    """
    weight, bias = weight_and_bias(layer)
    gamma, beta, mean, variance = (
        _statistic(norm, name, layer.name, weight.shape[0])
        for name in ("gamma", "beta", "mean", "variance")
    )
    spread = variance + norm.eps
    if not (spread > 0).all():
        raise UnsupportedError(
            f"layer '{norm.name}': variance + eps is {spread.min()}, must be positive"
        )
    factor = gamma / np.sqrt(spread)
    folded = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    return folded, beta + (bias - mean) * factor


def _statistic(norm: BatchNormLayer, name: str, layer: str, channels: int) -> Array:
    values = np.asarray(getattr(norm, name), np.float64)
    if values.shape != (channels,):
        raise UnsupportedError(
            f"layer '{norm.name}': {name} has shape {values.shape}, "
            f"but '{layer}' has {channels} output channels"
        )
    if not np.isfinite(values).all():
        raise ValueRangeError(
            f"layer '{norm.name}': {name} contains NaN or infinity, must be finite"
        )
    return values
