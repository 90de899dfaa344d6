"""Currents of connections by matrix products in floating point, every one of them exact.

GPUs have no product of int32 matrices. A product in floating point is exact if no partial sum, in
whatever order, leaves the range in which all whole numbers are represented: 2^24 for float32, 2^53
for float64. `sum_bound` bounds the partial sums by the weights and the range of the messages, and
each connection takes the narrower type that holds them; one that exceeds both is refused. What
comes after the product (wrapping, exponent, sums over connections) is in int32.

Only products whose terms are plainly added are used. Convolutions are products of their windows,
because libraries compute them by transforms that round (Winograd, FFT), and `plain_products` turns
off narrower formats (TF32, bfloat16) that the caller may have allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spikeport.errors import UnsupportedError
from spikeport.network import (
    LOIHI,
    Conv1d,
    Conv2d,
    Dense,
    DeployedNetwork,
    Shape,
    Sparse,
    WeightedConnection,
    implementation_of,
    sum_bound,
    weighted_shape,
)
from spikeport.simulators.cuda.limits import EXACT_SUM
from spikeport.simulators.cuda.registers import wrapped

EXACT = {torch.float32: 2**24, torch.float64: EXACT_SUM}
"""Sums below this are exact, narrower types first."""
DENSE_FROM = 0.1
"""Share of stored synapses from which a sparse matrix is multiplied as a dense one: an assumption,
not a measurement."""

Multiply = Callable[[Tensor], Tensor]
"""Messages (R, *shape) to sums of weights times messages in floating point, (R, ...) in the order
of the target's neurons."""
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Product:
    """A connection on a device.

    Attributes:
        source: shape of its source.
        bound: magnitude that no sum exceeds.
        kind: floating point in which every such sum is exact.
        row_bytes: memory of the product for one row of messages.
    """

    connection: WeightedConnection
    source: Shape
    bound: int
    kind: torch.dtype
    multiply: Multiply
    row_bytes: int

    def add(self, messages: Tensor, current: Tensor, memory_bytes: int) -> None:
        """Add the currents of messages (R, N_source) to `current` (R, N_target), int32.

        As many rows at once as fit in `memory_bytes`, but at least one.
        """
        rows = max(memory_bytes // self.row_bytes, 1)
        for first in range(0, len(messages), rows):
            found = self._currents(messages[first : first + rows])
            current[first : first + rows].view(found.shape).add_(found)

    def _currents(self, messages: Tensor) -> Tensor:
        rows = messages.view(-1, *self.source)
        if (pool := self.connection.pool) is not None:
            summed = windows(rows, pool.kernel_size, pool.stride, pool.padding)
            rows = summed.sum((-2, -1), dtype=torch.int32)
        total = self.multiply(rows)
        if self.bound >= 1 << 31:
            total = total.to(torch.int64)
        current = total.to(torch.int32)
        if self.connection.wraps and self.bound >= LOIHI.state_wrap:
            current = wrapped(current, LOIHI.state_bits)
        exponent = self.connection.exponent
        return current << exponent if exponent >= 0 else current >> -exponent


def make_product(
    network: DeployedNetwork, connection: WeightedConnection, device: torch.device
) -> Product:
    """Put a connection on a device.

    Raises:
        UnsupportedError: its sums could leave the range in which they are exact.
    """
    prepare = implementation_of(KINDS, connection, "in the cuda simulator")
    bound = sum_bound(network, connection)
    kind = next((kind for kind, end in EXACT.items() if bound < end), None)
    if kind is None:
        raise UnsupportedError(
            f"connection '{connection.name}': a weighted sum could reach {bound:.3g}, must stay "
            f"below 2^53 to be exact in the cuda simulator; use native"
        )
    source = network.sources[connection.source].shape
    shape = weighted_shape(connection, source)
    multiply, columns = prepare(connection, shape, kind, device)
    targets = network.by_name[connection.target].size
    row_bytes = (columns + targets) * kind.itemsize + 2 * targets * torch.int32.itemsize
    return Product(connection, source, bound, kind, multiply, row_bytes)


Prepared = tuple[Multiply, int]
"""The product, and the number of factors that it has for one row of messages."""


def _dense(
    part: WeightedConnection, shape: Shape, kind: torch.dtype, device: torch.device
) -> Prepared:
    weight = torch.tensor(part.matrix(shape), dtype=kind, device=device).T
    return lambda rows: rows.flatten(1).to(kind) @ weight, weight.shape[0]


def _sparse(part: Sparse, shape: Shape, kind: torch.dtype, device: torch.device) -> Prepared:
    size = (len(part.indptr) - 1, part.columns)
    if len(part.weight) >= DENSE_FROM * size[0] * size[1]:
        return _dense(part, shape, kind, device)
    place = torch.stack([torch.tensor(part.rows), torch.tensor(part.indices).long()]).to(device)
    stored = torch.tensor(part.weight, dtype=kind, device=device)
    matrix = torch.sparse_coo_tensor(place, stored, size, is_coalesced=True, check_invariants=False)
    return lambda rows: torch.sparse.mm(matrix, rows.flatten(1).to(kind).T).T, part.columns


def _conv1d(part: Conv1d, shape: Shape, kind: torch.dtype, device: torch.device) -> Prepared:
    multiply, columns = _conv2d(part.as_conv2d(), (shape[0], 1, shape[1]), kind, device)
    return lambda rows: multiply(rows.unsqueeze(2)), columns


def _conv2d(part: Conv2d, shape: Shape, kind: torch.dtype, device: torch.device) -> Prepared:
    groups, (outputs, _, *kernel) = part.groups, part.weight.shape
    kernels = torch.tensor(part.weight, dtype=kind, device=device)
    weight = kernels.view(groups, outputs // groups, -1).transpose(1, 2)
    sides = (kernel[0], kernel[1]), part.stride, part.padding, part.dilation

    def multiply(rows: Tensor) -> Tensor:
        seen = windows(rows, *sides)
        count, channels, height, width, *_ = seen.shape
        grouped = seen.view(count, groups, channels // groups, height, width, *kernel)
        columns = grouped.permute(1, 0, 3, 4, 2, 5, 6)  # G, R, H', W', C / G, KH, KW
        factors = torch.empty(columns.shape, dtype=kind, device=device).copy_(columns)
        total = torch.bmm(factors.view(groups, count * height * width, -1), weight)
        return total.view(groups, count, height, width, -1).permute(1, 0, 4, 2, 3)

    positions = part.output_shape(shape)[1:]
    return multiply, positions[0] * positions[1] * groups * weight.shape[1]


def windows(
    rows: Tensor, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)
) -> Tensor:
    """The windows of feature maps (R, C, H, W), as a view (R, C, H', W', KH, KW) of these padded.

    Windows at the end that do not fit are left out, as in convolutions and pools.
    """
    if any(padding):
        rows = functional.pad(rows, (padding[1], padding[1], padding[0], padding[0]))
    for axis in (0, 1):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        rows = rows.unfold(2 + axis, reach, stride[axis])
    return rows[..., :: dilation[0], :: dilation[1]]


KINDS: Mapping[
    type[WeightedConnection], Callable[[Any, Shape, torch.dtype, torch.device], Prepared]
] = {Dense: _dense, Sparse: _sparse, Conv1d: _conv1d, Conv2d: _conv2d}


@contextmanager
def plain_products(device: torch.device) -> Iterator[None]:
    """Within the block, products of floats are neither rounded to narrower formats nor autocast.

    torch has an older setting of formats and newer ones, and refuses to work where they disagree.
    """
    backends: Any = torch.backends
    owners = backends.cuda.matmul, backends.mkldnn.matmul
    before = [owner.fp32_precision for owner in owners]
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:  # The caller has chosen by the newer settings only.
        older = "highest"
    try:
        torch.set_float32_matmul_precision("highest")
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(older)
        for owner, precision in zip(owners, before, strict=True):
            owner.fp32_precision = precision
