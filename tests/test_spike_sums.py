"""Convolutions of spikes that add rows of weights: exact, in the stated order, where meant."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from spikeport.trainer.network.operations import mean_over_steps, stateless
from spikeport.trainer.network.spike_sums import FEWEST, sum_spikes


def spikes(*shape: int, share: float = 0.2, seed: int = 0) -> Tensor:
    draws = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return (draws < share).float().contiguous(memory_format=torch.channels_last)


def convolution(inputs: int = 64, outputs: int = 64, kernel: Any = 3, **options: Any) -> nn.Conv2d:
    torch.manual_seed(1)
    return nn.Conv2d(inputs, outputs, kernel, **options).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def summed(op: nn.Conv2d, x: Tensor) -> Tensor:
    found = sum_spikes(op, x)
    assert found is not None
    return found


sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    channels=st.tuples(st.sampled_from([64, 128]), st.sampled_from([64, 192])),
    image=st.tuples(st.integers(1, 3), st.integers(4, 11), st.integers(4, 11)),
    kernel=sizes, stride=sizes, padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=sizes, bias=st.booleans(), share=st.floats(0, 0.7), seed=st.integers(0, 99),
)  # fmt: skip
def test_sums_of_whole_weights_are_those_of_a_convolution(
    channels: tuple[int, int], image: tuple[int, int, int], kernel: tuple[int, int],
    stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int], bias: bool,
    share: float, seed: int,
) -> None:  # fmt: skip
    batch, *sides = image
    spans = [
        n + 2 * p - d * (k - 1) for n, p, d, k in zip(sides, padding, dilation, kernel, strict=True)
    ]
    assume(max(kernel) > 1 and min(spans) > 0)
    height, width = (-(-n // s) for n, s in zip(spans, stride, strict=True))
    batch *= -(-FEWEST // (height * width))
    op = convolution(
        *channels, kernel, stride=stride, padding=padding, dilation=dilation, bias=bias
    )
    with torch.no_grad():
        for parameter in op.parameters():
            parameter.mul_(1000).round_()
    x = spikes(batch, channels[0], *sides, share=share, seed=seed)
    found = summed(op, x)
    assert torch.equal(found, op(x).round())
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_rows_are_added_by_position_then_channel_and_the_bias_last() -> None:
    op, x = convolution(128, 64, padding=1), spikes(1, 128, 12, 12)
    padded = functional.pad(x, (1, 1, 1, 1)).numpy()[0]
    assert op.bias is not None
    weight, bias = op.weight.detach().numpy(), op.bias.detach().numpy()
    expected = np.zeros((64, 12, 12), np.float32)
    for row, column, channel in itertools.product(range(3), range(3), range(128)):
        part = padded[channel, row : row + 12, column : column + 12]
        expected += weight[:, channel, row, column, None, None] * part
    expected += bias[:, None, None]
    np.testing.assert_array_equal(summed(op, x).numpy()[0], expected)


def test_threads_share_the_work_without_changing_it() -> None:
    op, x = convolution(64, 128, padding=1), spikes(16, 64, 16, 16)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = summed(op, x)
        torch.set_num_threads(3)
        assert torch.equal(summed(op, x), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("value", [0.5, 2.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 70, -1])
def test_only_zeros_and_ones_are_spikes(value: float, place: int) -> None:
    x = spikes(4, 64, 8, 8)
    x.permute(0, 2, 3, 1).view(-1)[place] = value
    assert sum_spikes(convolution(padding=1), x) is None


@pytest.mark.parametrize(
    ("op", "x"),
    [
        pytest.param(convolution(padding=1), spikes(4, 64, 8, 8, share=0.9), id="many spikes"),
        pytest.param(convolution(padding=1), spikes(4, 64, 8, 8).contiguous(), id="order"),
        pytest.param(convolution(padding=1).double(), spikes(4, 64, 8, 8).double(), id="float64"),
        pytest.param(convolution(padding=1), spikes(1, 64, 8, 8), id="few positions"),
        pytest.param(convolution(kernel=1), spikes(4, 64, 8, 8), id="1x1"),
        pytest.param(convolution(32, padding=1), spikes(4, 32, 8, 8), id="few inputs"),
        pytest.param(convolution(64, 32, padding=1), spikes(4, 64, 8, 8), id="few outputs"),
        pytest.param(convolution(128, 128, groups=2), spikes(4, 128, 8, 8), id="groups"),
    ],
)
def test_other_convolutions_stay_dense(op: nn.Conv2d, x: Tensor) -> None:
    assert sum_spikes(op, x) is None
    assert torch.equal(stateless(op, x), op(x))


def test_uneven_padding_stays_dense() -> None:
    op, x = convolution(kernel=2, padding="same"), spikes(4, 64, 8, 8)
    assert sum_spikes(op, x) is None
    padded = functional.conv2d(functional.pad(x, (0, 1, 0, 1)), op.weight, op.bias)
    torch.testing.assert_close(stateless(op, x), padded)


def test_rounded_convolutions_stay_dense() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert sum_spikes(convolution(padding=1), spikes(4, 64, 8, 8)) is None


def test_gradients_are_those_of_the_convolution() -> None:
    op = convolution(padding=1, stride=2)
    x = spikes(4, 64, 16, 16).requires_grad_()
    assert sum_spikes(op, x) is not None
    found, expected = (
        torch.autograd.grad(y.square().sum(), [x, *op.parameters()])
        for y in (stateless(op, x), functional.conv2d(x, op.weight, op.bias, 2, 1))
    )
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-4)


@given(steps=st.integers(1, 20), seed=st.integers(0, 99))
def test_a_mean_over_steps_changes_nothing_it_reads(steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((steps, 2, 3, 4, 5), generator=generator)
    kept = x.clone()
    torch.testing.assert_close(mean_over_steps(x), x.double().mean(0).float())
    assert torch.equal(x, kept)
    assert mean_over_steps(x.bfloat16()).dtype is torch.float32
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mean_over_steps(leaf).sum(), leaf)
    torch.testing.assert_close(gradient, torch.full_like(x, 1 / steps))
