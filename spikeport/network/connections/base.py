"""`WeightedConnection`: the interface of all connections that carry weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from spikeport import checks
from spikeport.errors import NetworkError
from spikeport.network.arithmetic import LOIHI, Arithmetic, is_mixed
from spikeport.network.connections.pool import SumPool2d
from spikeport.network.geometry import PerNeuron, Shape

Synapse = tuple[int, int]
"""(neuron at the other end, weight mantissa)."""
_STRIP = 64
_BYTE_MAX = 255


class WeightedConnection(Protocol):
    """A connection that carries weights: a linear map, optionally after a sum-pool.

    The methods concern the map alone and take the shape that the weights are applied to: that of
    the source, or of its pooled sums. `linear_map` covers pool and map together.

    Attributes:
        storage: storage format of the weights on the chip; selects their price in profiles.
        wraps: whether sums wrap to signed 24 bits before the exponent acts, as in Lava's Conv.
        spatial: whether all positions of a feature map share the weights, so that the target has
            positions like the source.
    """

    storage: ClassVar[str]
    wraps: ClassVar[bool]
    spatial: ClassVar[bool]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str:
        """Its name in the network."""
        ...

    @property
    def source(self) -> str:
        """Name of the presynaptic input or population."""
        ...

    @property
    def target(self) -> str:
        """Name of the postsynaptic population."""
        ...

    @property
    def weight(self) -> NDArray[np.int16]:
        """Mantissas of all stored weights, on the chip's grid."""
        ...

    @property
    def exponent(self) -> int:
        """Shift of the accumulated sum, left if positive."""
        ...

    @property
    def weight_bits(self) -> int:
        """Bits of the grid."""
        ...

    @property
    def delay(self) -> int:
        """Logical steps; at least 1 somewhere on every cycle."""
        ...

    @property
    def pool(self) -> SumPool2d | None:
        """Sums of windows of the source that the weights are applied to, if any."""
        ...

    @property
    def extent(self) -> str:
        """Shape of the weights, for tables."""
        ...

    def check_map(self, shape: Shape, target: Shape) -> None:
        """Check that the weights map `shape` to the shape of the target.

        Raises:
            InputError: they do not.
        """
        ...

    def output_shape(self, shape: Shape) -> Shape:
        """Shape to which the weights map `shape`; (N,) if they do not determine its axes."""
        ...

    def reached(self, shape: Shape) -> tuple[PerNeuron, PerNeuron]:
        """Synapses that each neuron of `shape` reaches: those that are not zero, and all stored."""
        ...

    def row(self, shape: Shape, target: int) -> Iterator[Synapse]:
        """Every stored synapse, zero weights included, of one target neuron, scalar by scalar."""
        ...

    def matrix(self, shape: Shape) -> NDArray[np.int16]:
        """The map as a matrix, (N_target, N_source)."""
        ...

    def row_sums(self) -> tuple[PerNeuron, PerNeuron]:
        """Sums of the positive and of the negative weights of each target neuron or channel."""
        ...

    def macs(self, targets: int) -> int:
        """Multiply-accumulates of one pass over `targets` neurons in an ordinary network."""
        ...


def checked_weights(part: Any, dims: int) -> NDArray[np.int16]:
    """Check the number of axes of the mantissas and that they are on the grid of the chip."""
    subject = f"connection '{part.name}'"
    checks.settle(part, subject, weight_bits=(1, LOIHI.weight_bits))
    array = checks.integers(f"{subject}: weight", part.weight, np.int16)
    if array.ndim != dims or 0 in array.shape:
        NetworkError.fail(
            f"{subject}: weight has shape {array.shape}, must have {dims} non-empty axes"
        )
    bits = part.weight_bits
    wrong = LOIHI.off_grid(array, bits)
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        mixed = is_mixed(array)
        low, high, step = LOIHI.weight_grid(mixed=mixed, bits=bits)
        signs = "mixed signs" if mixed else "one sign, as magnitudes"
        NetworkError.fail(
            f"{subject}: weight {array[index]} at {index} is off the {bits}-bit grid for {signs} "
            f"({low}..{high} in steps of {step}); {int(wrong.sum())} of {array.size} are off"
        )
    return array


def check_scalars(part: Any, arithmetic: Arithmetic = LOIHI) -> None:
    """Check that the scalars of a connection are within the ranges of the chip."""
    checks.settle(
        part,
        f"connection '{part.name}'",
        exponent=(arithmetic.weight_exponent_min, arithmetic.weight_exponent_max),
        delay=(0, arithmetic.delay_max),
    )


def check_weights(part: Any, arithmetic: Arithmetic) -> None:
    """Check that a finished connection is within the ranges of an arithmetic.

    All have the same scale of weights, so `weight_bits` says whether they are on its grid.
    """
    subject = f"connection '{part.name}'"
    checks.settle(part, subject, weight_bits=(1, arithmetic.weight_bits))
    check_scalars(part, arithmetic)


def signed_row_sums(rows: NDArray[np.int16]) -> tuple[PerNeuron, PerNeuron]:
    """Sums of the positive and of the negative entries of each row, in strips that stay cached."""
    above, below = np.empty((2, len(rows)), np.int64)
    for first in range(0, len(rows), _STRIP):
        strip = slice(first, first + _STRIP)
        wide = rows[strip].astype(np.int32)
        above[strip] = np.maximum(wide, 0).sum(axis=1, dtype=np.int64)
        below[strip] = wide.sum(axis=1, dtype=np.int64) - above[strip]
    return above, below


def column_counts(present: NDArray[np.bool_]) -> PerNeuron:
    """Number of marks per column, summed in bytes while these suffice."""
    total = np.zeros(present.shape[1], np.int64)
    for row in range(0, len(present), _BYTE_MAX):
        total += present[row : row + _BYTE_MAX].sum(axis=0, dtype=np.uint8)
    return total
