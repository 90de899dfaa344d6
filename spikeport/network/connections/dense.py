"""`Dense`: every source neuron to every target neuron."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeport.errors import NetworkError
from spikeport.network.arithmetic import LOIHI
from spikeport.network.connections.base import (
    Synapse,
    check_scalars,
    checked_weights,
    column_counts,
    signed_row_sums,
)
from spikeport.network.connections.pool import SumPool2d
from spikeport.network.geometry import PerNeuron, Shape


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """Every source neuron to every target neuron; sources and targets flattened in C order.

    Attributes:
        weight: mantissas, shape (N_target, N_source), on the chip's grid, int16.
        exponent: shifts the accumulated sum, left if positive.
        delay: logical steps; at least 1 somewhere on every cycle.
    """

    storage: ClassVar[str] = "dense"
    wraps: ClassVar[bool] = False
    spatial: ClassVar[bool] = False

    source: str
    target: str
    weight: NDArray[np.int16]
    exponent: int = 0
    weight_bits: int = LOIHI.weight_bits
    delay: int = 0
    pool: SumPool2d | None = None
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.source}_to_{self.target}")
        object.__setattr__(self, "weight", checked_weights(self, dims=2))
        check_scalars(self)

    @property
    def extent(self) -> str:
        """Shape of the weights, for tables."""
        return "x".join(map(str, self.weight.shape))

    def check_map(self, shape: Shape, target: Shape) -> None:
        """Check that the weights map `shape` to `target`."""
        expected = (math.prod(target), math.prod(shape))
        if self.weight.shape != expected:
            NetworkError.fail(
                f"connection '{self.name}': weight has shape {self.weight.shape}, "
                f"must be {expected}"
            )

    def output_shape(self, shape: Shape) -> Shape:
        """(N_target,): the map does not say how the target is shaped."""
        return (len(self.weight),)

    def reached(self, shape: Shape) -> tuple[PerNeuron, PerNeuron]:
        """Synapses that each neuron of `shape` reaches: (non-zero, stored)."""
        stored = np.full(shape, len(self.weight), np.int64)
        return column_counts(self.weight != 0).reshape(shape), stored

    def row(self, shape: Shape, target: int) -> Iterator[Synapse]:
        """Every synapse of one target neuron."""
        yield from enumerate(self.weight[target].tolist())

    def matrix(self, shape: Shape) -> NDArray[np.int16]:
        """The weights themselves."""
        return self.weight

    def row_sums(self) -> tuple[PerNeuron, PerNeuron]:
        """Sums of the positive and of the negative weights of each target neuron."""
        return signed_row_sums(self.weight)

    def macs(self, targets: int) -> int:
        """Multiply-accumulates of one pass: every target neuron reads its row of weights."""
        return self.weight.size
