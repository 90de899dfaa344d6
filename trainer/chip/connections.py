"""What each kind of connection of a deployed network is in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spikeport.network import (
    Conv1d,
    Conv2d,
    Dense,
    Sparse,
    WeightedConnection,
    implementation_of,
)


@dataclass(frozen=True, slots=True)
class TorchKind:
    """A kind of connection in torch.

    Attributes:
        apply: the map, of a connection, weights in place of its own and (pooled) messages.
        merged: weights with fewer outputs if possible, whose sum is the same for all messages.
        in_bytes: whether torch has 8-bit products for it.
        trained: whether its weights can be trained in chip arithmetic.
    """

    apply: Callable[[Any, Tensor, Tensor], Tensor]
    merged: Callable[[Any, Tensor], Tensor]
    in_bytes: bool = False
    trained: bool = True


def _linear(connection: Dense, weight: Tensor, messages: Tensor) -> Tensor:
    return functional.linear(messages.flatten(1), weight)


def _sparse(connection: Sparse, weight: Tensor, messages: Tensor) -> Tensor:
    rows, columns = torch.tensor(connection.rows), torch.tensor(connection.indices)
    place = torch.stack([rows, columns.long()]).to(weight.device)
    shape = (len(connection.indptr) - 1, connection.columns)
    matrix = torch.sparse_coo_tensor(
        place, weight, shape, is_coalesced=True, check_invariants=False
    )
    total: Tensor = torch.sparse.mm(matrix, messages.flatten(1).T).T
    return total


def _one_row(connection: Dense, weight: Tensor) -> Tensor:
    return weight.sum(0, keepdim=True, dtype=torch.float64)


def _as_stored(connection: Sparse, weight: Tensor) -> Tensor:
    return weight.to(torch.float64)


def _one_channel_per_group(connection: Conv1d | Conv2d, weight: Tensor) -> Tensor:
    grouped = weight.reshape(connection.groups, -1, *weight.shape[1:])
    return grouped.sum(1, dtype=torch.float64)


def _conv1d(connection: Conv1d, weight: Tensor, messages: Tensor) -> Tensor:
    sides = connection.stride, connection.padding, connection.dilation
    return functional.conv1d(messages, weight, None, *sides, connection.groups)


def _conv2d(connection: Conv2d, weight: Tensor, messages: Tensor) -> Tensor:
    sides = connection.stride, connection.padding, connection.dilation
    return functional.conv2d(messages, weight, None, *sides, connection.groups)


_KINDS: Mapping[type[WeightedConnection], TorchKind] = {
    Dense: TorchKind(_linear, _one_row),
    Sparse: TorchKind(_sparse, _as_stored, trained=False),
    Conv1d: TorchKind(_conv1d, _one_channel_per_group),
    Conv2d: TorchKind(_conv2d, _one_channel_per_group, in_bytes=True),
}


def torch_kind(connection: WeightedConnection) -> TorchKind:
    """What a connection is in torch."""
    return implementation_of(_KINDS, connection, "in torch")
