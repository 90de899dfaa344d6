"""Convolutions of spikes on the CPU: rows of weights are added, nothing is multiplied.

    y[o, j] = b[j] + sum over the spikes (k, c) of the window of o of W[j, c, k]

A dense convolution spends as much on a 0 as on a 1. Here, the spikes of 64 channels at a position
are the bits of a word, and each adds a row of 64 weights to sums in registers. Rows are added by
position in the window, then by channel, as oneDNN (of torch 2.13) does with AVX-512 and AVX2. The
products with 0 that it also adds change nothing, so both give the same bits there; elsewhere they
may differ by rounding.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeport.simulators.native.compiled import array_kernel
from spikeport.simulators.native.vectors import (
    MASK,
    add_bit_rows,
    bit_count,
    equal_mask,
    transpose_16,
)
from spikeport.trainer.network.layers import pair, zeros
from spikeport.trainer.neurons.rows import share_out

CHUNK = 128
"""Output positions whose sums of 64 channels (32 KiB) are added up together, so that 64 rows of
weights (16 KiB) serve all of them from L1."""
MOST = 0.75
"""Share of ones in the input above which a dense convolution is about as fast."""
FEWEST = 128
"""Output positions below which arranging the weights takes longer than it saves."""

LINE = 16
"""Rows and columns of the tiles that the weights are transposed in."""

_ZERO, _ONE, _NONE, _ALL = np.float32(0), np.float32(1), np.uint64(0), np.uint64(2**64 - 1)


def sum_spikes(op: nn.Conv2d, x: Tensor) -> Tensor | None:
    """The convolution of spikes x (B, C, H, W), without gradients; None if it is not faster so.

    It is faster where x is float32 on the CPU with channels innermost and consists of zeros and
    ones, not too many of them ones, the window has several places, and the channels are multiples
    of 64.
    """
    if not _suits(op, x):
        return None
    (*_, height, width), size = x.shape, op.weight.shape
    values = x.detach().permute(0, 2, 3, 1).numpy().reshape(len(x), -1)
    masks = np.empty((len(x), values.shape[1] // MASK), np.uint64)
    ones = np.empty(len(x), np.int64)
    share_out(len(x), 1, x.numel(), lambda a, b: list_masks(values, masks, ones, a, b))
    if ones.min() < 0 or ones.sum() > MOST * x.numel():
        return None
    paddings = tuple(before for before, _ in zeros(op))
    sides = (pair(op.kernel_size), pair(op.stride), paddings, pair(op.dilation))
    sources, (rows, columns) = _sources((height, width), *sides)
    total = len(x) * sources.shape[1]
    if total < FEWEST:
        return None
    weight = op.weight.detach().permute(0, 2, 3, 1).reshape(size[0], -1).contiguous().numpy()
    table = np.empty((size[0] // MASK, weight.shape[1] * MASK), np.float32)
    share_out(len(table), 1, table.size, lambda a, b: arrange(weight.reshape(-1), table, a, b))
    bias = np.zeros(size[0], np.float32) if op.bias is None else op.bias.detach().numpy()
    y = x.new_empty((len(x), rows, columns, size[0]))
    arrays = masks, sources, table, bias, y.numpy().reshape(total, size[0])
    units = len(table) * -(-total // CHUNK)
    share_out(units, 1, y.numel() * len(sources), lambda a, b: add_windows(*arrays, a, b))
    return y.permute(0, 3, 1, 2)


def _suits(op: nn.Conv2d, x: Tensor) -> bool:
    """Whether the kernels accept a convolution and its input, as far as shapes and types tell."""
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type):
        return False
    here = x.device.type == "cpu" and x.dtype is torch.float32 is op.weight.dtype
    inner = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    whole = op.in_channels % MASK == op.out_channels % MASK == 0
    even = all(before == after for before, after in zeros(op))
    several = op.groups == 1 and max(op.kernel_size) > 1 and len(x) > 0
    return here and inner and whole and even and several


@functools.lru_cache(maxsize=64)
def _sources(
    shape: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[NDArray[np.int32], tuple[int, int]]:
    """Input position of each place in the window of each output position, -1 in the padding.

    Returns:
        (places, output positions), and rows and columns of the output.
    """
    axes = []
    for n, k, s, p, d in zip(shape, kernel, stride, padding, dilation, strict=True):
        first = np.arange((n + 2 * p - d * (k - 1) - 1) // s + 1) * s - p
        at = first[:, None] + d * np.arange(k)
        axes.append(np.where((at >= 0) & (at < n), at, -1))
    above, left = axes[0][:, None, :, None], axes[1][None, :, None, :]
    found = np.where((above < 0) | (left < 0), -1, above * shape[1] + left)
    sources = found.reshape(-1, kernel[0] * kernel[1]).T.astype(np.int32, order="C")
    sources.flags.writeable = False
    return sources, (len(axes[0]), len(axes[1]))


@array_kernel
def list_masks(x: Any, masks: Any, ones: Any, begin: int, end: int) -> None:
    """The ones of samples `begin` to `end` of x (B, N) as bits (B, N / 64), and their number.

    The number is -1 if a value is neither 0 nor 1.
    """
    for b in range(begin, end):
        row, n = x[b], 0
        for i in range(masks.shape[1]):
            mask = equal_mask(row, i * MASK, _ONE)
            if (mask | equal_mask(row, i * MASK, _ZERO)) != _ALL:
                n = -1
                break
            masks[b, i] = mask
            n += bit_count(mask)
        ones[b] = n


@array_kernel
def arrange(weight: Any, table: Any, begin: int, end: int) -> None:
    """Rows of 64 output channels, (blocks, places * C * 64), of a flat weight (N, places, C)."""
    inputs = table.shape[1] // MASK  # places * C
    for block in range(begin, end):
        to = table[block]
        for first in range(0, MASK, LINE):
            for row in range(0, inputs, LINE):
                at = (block * MASK + first) * inputs + row
                transpose_16(weight, at, inputs, to, row * MASK + first, MASK)


@array_kernel
def add_windows(
    masks: Any, sources: Any, table: Any, bias: Any, y: Any, begin: int, end: int
) -> None:
    """y (B * positions, N) of units `begin` to `end`: a chunk of output positions of 64 channels.

    Args:
        masks: of spikes, (B, positions of the input * C / 64).
        sources: see `_sources`.
        table: see `arrange`.
    """
    places, positions = sources.shape
    groups = table.shape[1] // (places * MASK * MASK)
    chunks = -(-y.shape[0] // CHUNK)
    sums, at = np.empty(CHUNK * MASK, np.float32), np.empty(places * CHUNK, np.int64)
    words = masks.reshape(-1)
    for unit in range(begin, end):
        block, first = unit // chunks, unit % chunks * CHUNK
        size = min(CHUNK, y.shape[0] - first)
        rows = table[block]
        for i in range(size):
            sample, output = (first + i) // positions, (first + i) % positions
            for k in range(places):
                source = sources[k, output]
                word = sample * masks.shape[1] + source * groups
                at[k * CHUNK + i] = word if source >= 0 else -1
        for i in range(size * MASK):
            sums[i] = _ZERO
        for k in range(places):
            for group in range(groups):
                weights = (k * groups + group) * MASK * MASK
                for i in range(size):
                    word = at[k * CHUNK + i]
                    if word >= 0:
                        mask = words[word + group]
                        if mask != _NONE:
                            add_bit_rows(mask, rows, weights, sums, i * MASK)
        for i in range(size):
            to = y[first + i]
            for j in range(MASK):
                to[block * MASK + j] = sums[i * MASK + j] + bias[block * MASK + j]
