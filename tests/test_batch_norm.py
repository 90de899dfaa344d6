from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikeport.errors import InputError
from spikeport.export.batch_norm import fold_batch_norm
from spikeport.network import BatchNormLayer, ConvLayer, LinearLayer

RNG = np.random.default_rng(1)


def norm(channels: int) -> BatchNormLayer:
    gamma, beta, mean = (RNG.normal(size=channels) for _ in range(3))
    return BatchNormLayer("bn", ("fc",), gamma, beta, mean, RNG.uniform(0.1, 3, channels), 1e-5)


@pytest.mark.parametrize("bias", [None, RNG.normal(size=5)])
def test_folded_linear_equals_linear_then_norm(bias: np.ndarray | None) -> None:
    layer, bn = LinearLayer("fc", ("input",), RNG.normal(size=(5, 7)), bias), norm(5)
    x = RNG.normal(size=(11, 7))
    y = x @ layer.weight.T + (0 if bias is None else bias)
    expected = bn.gamma * (y - bn.mean) / np.sqrt(bn.variance + bn.eps) + bn.beta
    weight, folded_bias = fold_batch_norm(layer, bn)
    np.testing.assert_allclose(x @ weight.T + folded_bias, expected, rtol=1e-12, atol=1e-12)


def test_conv_weights_scale_per_output_channel() -> None:
    layer = ConvLayer("conv", ("input",), RNG.normal(size=(4, 2, 3, 3)), None)
    bn = norm(4)
    weight, _ = fold_batch_norm(layer, bn)
    factor = bn.gamma / np.sqrt(bn.variance + bn.eps)
    for channel in range(4):
        np.testing.assert_allclose(weight[channel], layer.weight[channel] * factor[channel])


def test_bad_statistics_are_named() -> None:
    layer, bn = LinearLayer("fc", ("input",), RNG.normal(size=(5, 7)), None), norm(4)
    with pytest.raises(
        InputError, match=r"'bn': gamma has shape \(4,\), but 'fc' has 5 output channels"
    ):
        fold_batch_norm(layer, bn)
    with pytest.raises(InputError, match=r"'bn': variance \+ eps is -1"):
        fold_batch_norm(layer, replace(norm(5), variance=-np.ones(5), eps=0.0))
    with pytest.raises(InputError, match="'fc': weight contains NaN"):
        fold_batch_norm(replace(layer, weight=layer.weight * np.nan), norm(5))
