"""Linear maps in a row as one map: equal to computing one after another, in float64."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from spikeport.errors import InputError
from spikeport.network import Shape
from spikeport.network.composition import became, compose
from spikeport.network.linear_maps import (
    MAX_ENTRIES,
    Elementwise,
    Kernel,
    LinearMap,
    Matrix,
    as_matrix,
    convolution,
    diagonal,
    flattened,
    sum_pool,
    symmetric,
)

Array = NDArray[np.float64]


@st.composite
def steps(draw: st.DrawFn, source: Shape) -> LinearMap:
    """A map of any kind from `source`."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = ["matrix", "each"] if len(source) == 1 else ["kernel", "kernel", "channel", "each"]
    kinds += ["flatten"] if len(source) > 1 else []
    kinds += ["pool"] if len(source) == 3 else []
    match draw(st.sampled_from(kinds)):
        case "matrix":
            return Matrix(source, (n := draw(st.integers(1, 4)),), rng.normal(size=(n, *source)))
        case "each":
            return Elementwise(source, source, rng.normal(size=source))
        case "channel":
            factor = rng.normal(size=(source[0], *(1,) * (len(source) - 1)))
            return Elementwise(source, source, np.broadcast_to(factor, source))
        case "flatten":
            return flattened(Elementwise(source, source, np.ones(source)), (math.prod(source),))
    axes = len(source) - 1
    small = st.integers(0, 2)
    size = [draw(st.integers(1, min(3, n))) for n in source[1:]]
    stride = [draw(st.integers(1, 3)) for _ in range(axes)]
    if draw(st.booleans()) and axes == 2:
        return sum_pool(source, size, stride, [draw(small) for _ in range(axes)])
    dilation = [draw(st.integers(1, 2)) if k < 3 else 1 for k in size]
    size = [min(k, (n - 1) // d + 1) for k, n, d in zip(size, source[1:], dilation, strict=True)]
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if source[0] % g == 0]))
    rows = groups * draw(st.integers(1, 2))
    weight = rng.normal(size=(rows, source[0] // groups, *size))
    padding = [(draw(small), draw(small)) for _ in range(axes)]
    return convolution(source, weight, stride, padding, dilation, groups)


@st.composite
def chains(draw: st.DrawFn) -> list[LinearMap]:
    source: Shape = (
        draw(st.sampled_from([1, 2, 4, 6])),
        *(draw(st.integers(3, 9)) for _ in range(draw(st.integers(1, 2)))),
    )
    made: list[LinearMap] = []
    for _ in range(draw(st.integers(1, 4))):
        made.append(draw(steps(source)))
        source = made[-1].target
    return made


def values(shape: Shape, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(2, *shape))


def assert_close(found: Array, wanted: Array) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * max(np.abs(wanted).max(), 1e-9))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(chains())
def test_a_composition_is_one_map_after_the_other(chain: list[LinearMap]) -> None:
    whole = chain[0]
    for step in chain[1:]:
        whole = compose(whole, step)
    x = values(chain[0].source)
    wanted = x
    for step in chain:
        wanted = step.apply(wanted)
    assert whole.target == chain[-1].target
    assert_close(whole.apply(x), wanted)
    assert_close(as_matrix(whole).apply(x), wanted)
    y = values(whole.target, 1)
    assert (whole.apply(x) * y).sum() == pytest.approx((x * whole.back(y)).sum(), abs=1e-7)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(chains())
def test_every_kernel_is_a_convolution_of_torch(chain: list[LinearMap]) -> None:
    whole = chain[0]
    for step in chain[1:]:
        whole = compose(whole, step)
    if not isinstance(whole, Kernel):
        return
    made = symmetric(whole)
    x = values(made.source)
    convolve = functional.conv1d if len(made.positions) == 1 else functional.conv2d
    y = convolve(
        torch.tensor(x),
        torch.tensor(made.weight),
        stride=made.stride,
        padding=made.before,
        dilation=made.dilation,
        groups=made.groups,
    )
    assert y.shape[1:] == made.unflattened
    assert_close(y.numpy().reshape(2, *whole.target), whole.apply(x))


def conv(source: Shape, size: int, *, stride: int = 1, padding: int = 0) -> Kernel:
    weight = np.random.default_rng(size).normal(size=(2, source[0], size, size))
    return convolution(source, weight, (stride,) * 2, ((padding,) * 2,) * 2, (1, 1))


@pytest.mark.parametrize(
    ("first", "second", "size"),
    [
        ({"size": 3, "padding": 1}, {"size": 2, "stride": 2}, 4),  # a pool
        ({"size": 3, "padding": 1}, {"size": 1, "stride": 2}, 3),
        ({"size": 1}, {"size": 3, "padding": 1}, 3),
        ({"size": 2, "stride": 2}, {"size": 3, "padding": 1}, 6),
        ({"size": 3}, {"size": 3}, 5),
        # whatever the first can see is in its outputs
        ({"size": 3, "padding": 2}, {"size": 3, "padding": 1}, 5),
        ({"size": 3, "padding": 1}, {"size": 3, "padding": 1}, None),
        ({"size": 2, "padding": 1}, {"size": 3, "padding": 1}, 4),
    ],
)
def test_when_two_convolutions_are_one(
    first: dict[str, int], second: dict[str, int], size: int | None
) -> None:
    one = conv((1, 8, 8), **first)
    made = compose(one, conv(one.target, **second))
    if size is None:
        assert isinstance(made, Matrix)
        assert made.reason == "zeros are padded between them"
    else:
        assert isinstance(made, Kernel)
        assert made.weight.shape[2:] == (size, size)


def test_left_over_positions_are_not_read_beyond_the_border() -> None:
    """A pool of 2 on 5 positions leaves one out, which padding after it must not bring back."""
    pool = sum_pool((1, 5, 5), (2, 2), (2, 2), (0, 0))
    padded = conv(pool.target, 3, padding=1)
    assert isinstance(compose(pool, padded), Matrix)
    even = sum_pool((1, 6, 6), (2, 2), (2, 2), (0, 0))
    assert isinstance(compose(even, conv(even.target, 3, padding=1)), Kernel)


def test_zero_taps_read_nothing() -> None:
    wide = np.zeros((1, 1, 3, 3))
    wide[:, :, 1, 1] = 2.0
    one = convolution((1, 4, 4), wide, (1, 1), ((1, 1), (1, 1)), (1, 1))
    assert isinstance(compose(one, conv(one.target, 3, padding=1)), Kernel)


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_uneven_padding_becomes_zero_weights(size: int, dilation: int) -> None:
    total = dilation * (size - 1)
    weight = np.random.default_rng(0).normal(size=(3, 2, size))
    sides = (total // 2, total - total // 2)
    same = convolution((2, 12), weight, (1,), (sides,), (dilation,))
    made = symmetric(same)
    assert made.target == same.target == (3, 12)
    odd = size % 2 == 0 and dilation % 2 == 1
    assert made.before[0] == sides[1]
    assert made.weight.shape[2] == ((total + 2 if dilation > 1 else size + 1) if odd else size)
    padded = functional.pad(torch.tensor(x := values((2, 12))), sides)
    torch_own = functional.conv1d(padded, torch.tensor(weight), dilation=dilation)
    assert_close(made.apply(x), torch_own.numpy())


def test_a_matrix_that_no_chip_holds_is_refused_with_its_remedy() -> None:
    one = conv((1, 80, 80), 3, padding=1)
    two = conv(one.target, 3, padding=1)
    assert math.prod(two.target) * math.prod(one.source) > MAX_ENTRIES
    with pytest.raises(
        InputError,
        match="zeros are padded between them; as one map they are a matrix of 12800 x 6400 "
        "weights, limit 16777216; put neurons in between, or pad nothing there",
    ):
        compose(one, two)
    last = Matrix(two.target, (3000,), np.ones((3000, 12800)))
    with pytest.raises(InputError, match="a linear layer follows without neurons in between; as"):
        compose(one, last)
    uneven = Elementwise(one.target, one.target, values(one.target)[0])
    with pytest.raises(InputError, match=r"factors differ .*; use one factor for each channel"):
        compose(one, uneven)


def test_what_became_of_layers_is_one_sentence() -> None:
    one = conv((1, 8, 8), 3, padding=1)
    pool = sum_pool(one.target, (2, 2), (2, 2), (0, 0))
    assert became(["conv1", "pool1"], compose(one, pool)) == (
        "'conv1' and 'pool1' became one convolution of kernel 4x4, stride 2"
    )
    flat = [Matrix((4,), (3,), np.ones((3, 4))), Matrix((3,), (2,), np.ones((2, 3)))]
    made = compose(*flat)
    assert became(["a", "b"], made) == "'a' and 'b' became one matrix of 2x4"
    assert became(["a"], as_matrix(one)) == (
        "'a' became a matrix of 128x64, because factors differ between the positions of a channel"
    )
    once = Elementwise((4,), (4,), np.ones(4))
    assert became(["a", "b", "c"], once) == (
        "'a', 'b' and 'c' became one connection of neurons one to one"
    )
    assert all(a.target == b.source for a, b in pairwise(flat))


def test_a_kernel_that_would_be_too_large_is_refused_with_its_remedy() -> None:
    """Taps far apart, or channels by the thousand, whose composition is no small array."""
    wide = (1, 1, 4096, 4096)
    far = convolution(wide[1:], np.ones((1, 1, 2, 2)), (1, 1), ((0, 0),) * 2, (4000, 4000))
    near = conv(far.target, 2)
    with pytest.raises(InputError, match="one kernel for both would be too large; as one map"):
        compose(far, near)
    each = sum_pool((6000, 2, 2), (1, 1), (1, 1), (0, 0))
    mixed = convolution(each.target, np.ones((1, 6000, 1, 1)), (1, 1), ((0, 0),) * 2, (1, 1))
    with pytest.raises(InputError, match="one kernel for both would be too large"):
        compose(
            sum_pool((6000, 90, 90), (1, 1), (1, 1), (0, 0)),
            convolution((6000, 90, 90), mixed.weight, (1, 1), ((0, 0),) * 2, (1, 1)),
        )
    uneven = convolution(
        (1, 9000, 9000), np.ones((1, 1, 2, 2)), (1, 1), ((2999, 3000),) * 2, (5999,) * 2
    )
    with pytest.raises(
        InputError, match="its kernel has 36006000 weights, limit 16777216; use padding"
    ):
        symmetric(uneven)
    with pytest.raises(InputError, match="12000 neurons feed 12000 others one to one, as a matrix"):
        diagonal(Elementwise((12000,), (12000,), np.ones(12000)))
    with pytest.raises(InputError, match="factors differ between the positions of a channel; as"):
        diagonal(Elementwise((1, 80, 80), (6400,), np.ones((1, 80, 80))))
    tall = Matrix((2**12,), (1, 64, 64), np.ones((2**12, 2**12)), "zeros are padded between them")
    with pytest.raises(InputError, match="as one map they are a matrix of 8192 x 4096 weights"):
        compose(tall, conv((1, 64, 64), 1))
