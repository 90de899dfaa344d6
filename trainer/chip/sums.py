"""Weighted sums of the messages to the populations of a chip, exact on every path.

Convolutions of spikes run as 8-bit products with 32-bit sums (oneDNN, through torch): two to four
times as fast as float32, which is also exact while no sum reaches 2^24, as is float64 below 2^53.
Processors with AVX2 but without VNNI add products in pairs, in 16 bits that saturate. With weights
of -128..127 no pair leaves these if no message exceeds 128: spikes are 0 or 1, and a window of a
pool sums as many as it has places.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spikeport.errors import TrainingError
from spikeport.network import LOIHI, DeployedNetwork, Population, WeightedConnection
from spikeport.trainer.chip.connections import torch_kind
from spikeport.trainer.chip.grid import Grid, Integers
from spikeport.trainer.chip.kernels import sum_windows
from spikeport.trainer.neurons.rows import share_out

EXACT_FLOAT32 = 2**24
"""Below this every whole number, and so every partial sum of them, is exact in float32."""
EXACT_FLOAT64 = 2**53
MOST = 255, 128
"""Largest 8-bit messages that products are exact for: in 32-bit sums, and if added in 16-bit pairs
first, as 2 * 128 * -128 = -2^15."""


def received(
    network: DeployedNetwork, part: Population, whole: Integers, sent: Mapping[str, Tensor]
) -> Tensor:
    """Summed input of a population from all connections, (T or 1, B, *shape), whole numbers.

    Args:
        sent: messages by source, (T or 1, B, *source).

    Raises:
        InputError: a weighted sum could leave the range in which it is exact.
    """
    connections = network.weighted_into(part.name)
    bounds = [
        _bound(network, connection, whole.reach[connection.name]) for connection in connections
    ]
    for connection, bound in zip(connections, bounds, strict=True):
        limit = LOIHI.state_wrap if connection.wraps else EXACT_FLOAT64
        if bound >= limit:
            raise TrainingError(
                f"connection '{connection.name}': a weighted sum could reach {bound:.3g}, "
                f"must stay below {limit} to be exact"
            )
    device = next(iter(sent.values())).device
    least = min((connection.exponent for connection in connections), default=0)
    most = sum(b << c.exponent - least for b, c in zip(bounds, connections, strict=True))
    # other devices choose among algorithms that round, such as Winograd's
    single = most < EXACT_FLOAT32 and device.type == "cpu"
    kind = torch.float32 if single else torch.float64
    total: Tensor | None = None
    for connection in connections:
        grid, weight = whole.grids[connection.name], whole.weights[connection.name]
        got = weighted(connection, grid, weight, sent[connection.source], kind)
        got = got.view(*got.shape[:2], *part.shape)
        if connection.exponent:
            got = got * 2.0**connection.exponent
        total = got if total is None else total + got
    if total is None:  # bias alone drives it
        total = torch.zeros((1, next(iter(sent.values())).shape[1], *part.shape), device=device)
    return total


def _bound(network: DeployedNetwork, connection: WeightedConnection, reach: int) -> int:
    """Upper bound of the magnitude of a connection's weighted sums."""
    low, high = network.message_range(connection.source)
    area = 1 if connection.pool is None else connection.pool.area
    return max(-low, high) * area * reach


def weighted(
    connection: WeightedConnection, grid: Grid, weight: Tensor, messages: Tensor, kind: torch.dtype
) -> Tensor:
    """W pool(s) of messages (K, B, *source) as (K, B, ...), whole numbers.

    Args:
        weight: int16 on `grid`.
        messages: uint8 where they are spikes.
        kind: floating point in which every partial sum is exact.
    """
    rows = messages.flatten(0, 1)
    if kind is torch.float32 and in_bytes(connection, grid, rows):
        total = _convolve_bytes(connection, weight, _pooled(connection, rows))
    else:
        total = weighted_sum(connection, weight.to(kind), rows.to(kind))
    return total.view(*messages.shape[:2], *total.shape[1:])


def weighted_sum(connection: WeightedConnection, weight: Tensor, messages: Tensor) -> Tensor:
    """W pool(s) of messages (B, *source), before any wrapping.

    Args:
        weight: in place of the connection's own, of the same shape or `merged`.
    """
    if (pool := connection.pool) is not None:
        if any(pool.padding):
            rows, columns = pool.padding
            # avg_pool2d refuses a padding above half the kernel
            messages = functional.pad(messages, (columns, columns, rows, rows))
        messages = functional.avg_pool2d(
            messages, pool.kernel_size, pool.stride, divisor_override=1
        )
    return torch_kind(connection).apply(connection, weight, messages)


def in_bytes(connection: WeightedConnection, grid: Grid, rows: Tensor) -> bool:
    """Whether 8-bit products of these messages (B, *source) are exact, up to sums of 2^24."""
    if rows.dtype is not torch.uint8 or not torch_kind(connection).in_bytes:
        return False
    if grid.step % 2 or not _safe(connection):
        return False
    most = 1
    if connection.pool is not None:
        most = connection.pool.area
        inner = rows.is_contiguous(memory_format=torch.channels_last)
        if any(connection.pool.padding) or not inner:
            return False
    return most <= largest_byte()


def _safe(connection: Any) -> bool:
    """Whether oneDNN (of torch 2.13) computes such a convolution correctly.

    It crashes if a window can be entirely in the padding, and is wrong for some convolutions of one
    channel.
    Groups are not tried.
    """
    if connection.groups > 1:
        return False
    reach = zip(connection.padding, connection.dilation, connection.weight.shape[2:], strict=True)
    return connection.weight.shape[1] > 1 and all(p <= d * (k - 1) for p, d, k in reach)


def _pooled(connection: Any, rows: Tensor) -> Tensor:
    """Sums of windows of spikes (R, C, H, W), uint8, channels innermost."""
    if connection.pool is None:
        return rows.contiguous(memory_format=torch.channels_last)
    channels, height, width = connection.pool.output_shape(tuple(rows.shape[1:]))
    out = rows.new_empty((len(rows), height, width, channels))
    arrays = rows.permute(0, 2, 3, 1).numpy(), out.numpy()
    (kh, kw), (sh, sw) = connection.pool.kernel_size, connection.pool.stride
    share_out(len(rows), 1, rows.numel(), lambda a, b: sum_windows(*arrays, kh, kw, sh, sw, a, b))
    return out.permute(0, 3, 1, 2)


def _convolve_bytes(connection: Any, weight: Tensor, rows: Tensor) -> Tensor:
    """The convolution of uint8 (R, C, H, W) with even weights, float32."""
    halves = (weight >> 1).to(torch.int8)
    return _onednn(rows, halves, connection.stride, connection.padding, connection.dilation, 2.0)


def _onednn(
    rows: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    unit: float,
) -> Tensor:
    scales = torch.full((len(weight),), unit)
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    sides = [list(stride), list(padding), list(dilation)]
    packed = torch.ops.onednn.qconv_prepack(
        weight.contiguous(), scales, 1.0, 0, *sides, 1, list(rows.shape)
    )
    out: Tensor = torch.ops.onednn.qconv2d_pointwise.default(
        rows, 1.0, 0, packed, scales, zeros, None, *sides, 1, 1.0, 0, torch.float32, "none", [], ""
    )
    return out


@functools.cache
def largest_byte() -> int:
    """Largest message that 8-bit convolutions are exact for on this processor; 0 without them."""
    return next(filter(_exact_up_to, MOST), 0)


def _exact_up_to(most: int) -> bool:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, most + 1, (2, 64, 6, 6), dtype=torch.uint8, generator=generator)
    rows[0] = most
    weight = torch.randint(-128, 128, (16, 64, 3, 3), dtype=torch.int8, generator=generator)
    weight[0], weight[1] = 127, -128
    try:
        found = _onednn(
            rows.contiguous(memory_format=torch.channels_last), weight, (1, 1), (1, 1), (1, 1), 2.0
        )
    except (RuntimeError, AttributeError):  # a torch without these operators
        return False
    exact = torch.nn.functional.conv2d(rows.double(), 2 * weight.double(), padding=1)
    return bool(torch.equal(found.double(), exact))
