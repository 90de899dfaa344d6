"""`Sparse`: a connection that stores only some synapses, as a CSR matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from spikeport import checks
from spikeport.errors import NetworkError
from spikeport.network.arithmetic import LOIHI
from spikeport.network.connections.base import Synapse, check_scalars, checked_weights
from spikeport.network.geometry import PerNeuron, Shape


@dataclass(frozen=True, slots=True, eq=False)
class Sparse:
    """Synapses between some source and some target neurons, both flattened in C order.

    Target neuron i has the synapses k in indptr[i]..indptr[i + 1] - 1: from source neuron
    indices[k] with weight[k], as in a CSR matrix (N_target, N_source). A weight of zero is a
    synapse like any other: it is stored, and events on it count among those on stored synapses.
    `from_matrix` converts a matrix.

    Attributes:
        weight: mantissas of the stored synapses, on the chip's grid, int16.
        indices: source neuron of each, ascending within a row, int32.
        indptr: where each target neuron's synapses begin, and the end of the last, int64.
        columns: N_source.
        exponent: shifts the accumulated sum, left if positive.
        delay: logical steps; at least 1 somewhere on every cycle.
    """

    storage: ClassVar[str] = "sparse"
    wraps: ClassVar[bool] = False
    spatial: ClassVar[bool] = False

    source: str
    target: str
    weight: NDArray[np.int16]
    indices: NDArray[np.int32]
    indptr: NDArray[np.int64]
    columns: int
    exponent: int = 0
    weight_bits: int = LOIHI.weight_bits
    delay: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.source}_to_{self.target}")
        subject = f"connection '{self.name}'"
        object.__setattr__(self, "weight", checked_weights(self, dims=1))
        checks.settle(self, subject, columns=(1, checks.MAX_SIZE))
        for name, dtype in (("indices", np.int32), ("indptr", np.int64)):
            array = checks.integers(f"{subject}: {name}", getattr(self, name), dtype)
            if array.ndim != 1:
                NetworkError.fail(f"{subject}: {name} has {array.ndim} axes, must have 1")
            object.__setattr__(self, name, array)
        _check_rows(self, subject)
        check_scalars(self)

    @classmethod
    def from_matrix(cls, source: str, target: str, matrix: Any, **options: Any) -> Self:
        """A connection with the weights of a matrix (N_target, N_source).

        Args:
            matrix: an array, whose zeros are not stored, or a SciPy sparse matrix, all of whose
                entries are stored, including zeros; duplicate entries are summed.
            options: exponent, weight_bits, delay, name.

        Raises:
            InputError: it is not a matrix of mantissas on the grid of the chip, or has no entries.
        """
        subject = f"connection '{options.get('name') or f'{source}_to_{target}'}': matrix"
        if callable(getattr(matrix, "tocsr", None)):
            csr: Any = matrix.tocsr()
            rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
            data, columns, shape = csr.data, np.asarray(csr.indices, np.int64), csr.shape
        else:
            array = checks.as_array(subject, matrix)
            if array.ndim != 2:
                NetworkError.fail(f"{subject} has shape {array.shape}, must have 2 axes")
            rows, columns = np.nonzero(array)
            data, shape = array[rows, columns], array.shape
        if np.can_cast(data.dtype, np.int64):
            data = data.astype(np.int64)
        place, entry = np.unique(rows * shape[1] + columns, return_inverse=True)
        weight: NDArray[Any] = np.zeros(len(place), data.dtype)
        np.add.at(weight, entry, data)
        indptr = np.searchsorted(place, np.arange(shape[0] + 1) * shape[1])
        return cls(source, target, weight, place % shape[1], indptr, shape[1], **options)

    @property
    def pool(self) -> None:
        """None: a sum-pool can be multiplied into the matrix."""
        return None

    @property
    def extent(self) -> str:
        """Number of synapses and shape of the matrix, for tables."""
        return f"{len(self.weight)} of {len(self.indptr) - 1}x{self.columns}"

    @property
    def rows(self) -> NDArray[np.int64]:
        """Target neuron of each synapse."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    def check_map(self, shape: Shape, target: Shape) -> None:
        """Check that the matrix maps `shape` to `target`."""
        made, expected = (
            (len(self.indptr) - 1, self.columns),
            (math.prod(target), math.prod(shape)),
        )
        if made != expected:
            NetworkError.fail(
                f"connection '{self.name}': matrix has shape {made}, must be {expected}"
            )

    def output_shape(self, shape: Shape) -> Shape:
        """(N_target,): the matrix does not determine the shape of the target."""
        return (len(self.indptr) - 1,)

    def reached(self, shape: Shape) -> tuple[PerNeuron, PerNeuron]:
        """Synapses that each neuron of `shape` reaches: (non-zero, stored)."""
        nonzero, stored = (
            np.bincount(indices, minlength=self.columns).astype(np.int64).reshape(shape)
            for indices in (self.indices[self.weight != 0], self.indices)
        )
        return nonzero, stored

    def row(self, shape: Shape, target: int) -> Iterator[Synapse]:
        """Every stored synapse of one target neuron, zero weights included."""
        stored = slice(*self.indptr[target : target + 2].tolist())
        yield from zip(self.indices[stored].tolist(), self.weight[stored].tolist(), strict=True)

    def matrix(self, shape: Shape) -> NDArray[np.int16]:
        """The dense matrix."""
        full = np.zeros((len(self.indptr) - 1, self.columns), np.int16)
        full[self.rows, self.indices] = self.weight
        return full

    def row_sums(self) -> tuple[PerNeuron, PerNeuron]:
        """Sums of the positive and of the negative weights of each target neuron."""
        wide = self.weight.astype(np.int64)
        above, below = (
            np.diff(np.append(0, np.cumsum(part))[self.indptr])
            for part in (np.maximum(wide, 0), np.minimum(wide, 0))
        )
        return above, below

    def macs(self, targets: int) -> int:
        """Multiply-accumulates of one pass: one for each stored synapse."""
        return self.weight.size


def _check_rows(part: Sparse, subject: str) -> None:
    """Check that indptr and indices describe the rows of a matrix, with sorted, unique entries."""
    indices, indptr, stored = part.indices, part.indptr, len(part.weight)
    if len(indices) != stored:
        NetworkError.fail(
            f"{subject}: {len(indices)} indices for {stored} weights, must be as many"
        )
    if len(indptr) < 2 or indptr[0] != 0 or indptr[-1] != stored:
        ends = f"{indptr[0]}..{indptr[-1]}" if len(indptr) else "nothing"
        NetworkError.fail(
            f"{subject}: indptr of {len(indptr)} entries spans {ends}, must be at least 2 and span "
            f"0..{stored}"
        )
    if (falls := np.diff(indptr) < 0).any():
        row = int(np.argmax(falls))
        NetworkError.fail(
            f"{subject}: indptr falls from {indptr[row]} to {indptr[row + 1]} in row {row}, must "
            "not decrease"
        )
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= part.columns:
        NetworkError.fail(
            f"{subject}: indices span {low}..{high}, must lie in 0..{part.columns - 1}"
        )
    disorder = np.diff(indices) <= 0
    starts = indptr[1:-1]
    disorder[starts[(starts > 0) & (starts < stored)] - 1] = False
    if disorder.any():
        row = int(np.searchsorted(indptr, int(np.argmax(disorder)), side="right")) - 1
        NetworkError.fail(
            f"{subject}: indices of row {row} must increase, each source neuron only once"
        )
