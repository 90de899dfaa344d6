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
        in_bytes: whether torch has 8-bit products for it.
        trained: whether its weights can be trained in chip arithmetic.
    """

    apply: Callable[[Any, Tensor, Tensor], Tensor]
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


def _conv1d(connection: Conv1d, weight: Tensor, messages: Tensor) -> Tensor:
    sides = connection.stride, connection.padding, connection.dilation
    return functional.conv1d(messages, weight, None, *sides, connection.groups)


def _conv2d(connection: Conv2d, weight: Tensor, messages: Tensor) -> Tensor:
    sides = connection.stride, connection.padding, connection.dilation
    return functional.conv2d(messages, weight, None, *sides, connection.groups)


_KINDS: Mapping[type[WeightedConnection], TorchKind] = {
    Dense: TorchKind(_linear),
    Sparse: TorchKind(_sparse, trained=False),
    Conv1d: TorchKind(_conv1d),
    Conv2d: TorchKind(_conv2d, in_bytes=True),
}


def torch_kind(connection: WeightedConnection) -> TorchKind:
    """What a connection is in torch."""
    return implementation_of(_KINDS, connection, "in torch")
