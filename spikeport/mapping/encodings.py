"""`Encoding`: how a core stores a connection, and which axons carry its messages.

One class for each storage form; `encoding_of` chooses it. All of them count for whole tilings at
once: what each piece of the target stores, and what each piece of the source sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spikeport.mapping.kernel import KernelLists, KernelOnce
from spikeport.mapping.limits import StorageRules
from spikeport.mapping.rows import IndexedRows, PositionRows, Rows
from spikeport.mapping.storage import Integers, weight_bits
from spikeport.mapping.tiling import Tiling
from spikeport.network import (
    Conv1d,
    Conv2d,
    Dense,
    Shape,
    Sparse,
    WeightedConnection,
    implementation_of,
)


@dataclass(frozen=True, slots=True)
class Ends:
    """A connection with what its encoding depends on.

    Attributes:
        source, target: shapes.
        synapse_bits: of one synapse without its index: weight and delay.
        positional: whether an axon may carry all channels of one position of the source.
    """

    connection: Any
    source: Shape
    target: Shape
    synapse_bits: int
    positional: bool


class Encoding(Protocol):
    """A connection as it is stored.

    Attributes:
        positional: whether an axon carries all channels of one position of the source.
        spatial: whether positions of the target share weights.
    """

    positional: bool
    spatial: bool

    def stored(self, targets: Tiling) -> tuple[Integers, Integers]:
        """Input axons and bits of memory of each piece of the target."""
        ...

    def slots(self, sources: Tiling, targets: Tiling) -> Integers:
        """Output axons of each piece of the source."""
        ...

    def links(
        self, sources: Tiling, targets: Tiling, spikes: NDArray[Any] | None = None
    ) -> NDArray[np.float64]:
        """Messages from each piece of the source to each piece of the target.

        Args:
            spikes: number of spikes of each source neuron; by default one.
        """
        ...

    def least_bits(self) -> int:
        """Bits that no tiling can do without."""
        ...

    def fewest_bits(self, sizes: tuple[Integers, ...]) -> Integers:
        """Bits that a piece of the target needs at least, wherever it lies.

        Args:
            sizes: along each axis of the target, one number for each piece.
        """
        ...


@dataclass(slots=True)
class _Lines:
    """A connection from an input of binary digits: stored once for each of `count` lines."""

    one: Encoding
    count: int
    positional: bool
    spatial: bool

    def stored(self, targets: Tiling) -> tuple[Integers, Integers]:
        axons, bits = self.one.stored(targets)
        return axons * self.count, bits * self.count

    def slots(self, sources: Tiling, targets: Tiling) -> Integers:
        return self.one.slots(sources, targets)

    def links(
        self, sources: Tiling, targets: Tiling, spikes: NDArray[Any] | None = None
    ) -> NDArray[np.float64]:
        return self.one.links(sources, targets, spikes)

    def least_bits(self) -> int:
        return self.one.least_bits() * self.count

    def fewest_bits(self, sizes: tuple[Integers, ...]) -> Integers:
        return self.one.fewest_bits(sizes) * self.count


_Make = Callable[[Ends, StorageRules], Encoding]


def _dense(ends: Ends, rules: StorageRules) -> Encoding:
    return PositionRows(ends, rules) if ends.positional else Rows(ends, rules)


def _kernel(ends: Ends, rules: StorageRules) -> Encoding:
    return KernelOnce(ends, rules) if rules.kernels_once else KernelLists(ends, rules)


ENCODINGS: Mapping[type[Any], _Make] = {
    Dense: _dense,
    Conv1d: _kernel,
    Conv2d: _kernel,
    Sparse: IndexedRows,
}


def encoding_of(
    connection: WeightedConnection,
    source: Shape,
    target: Shape,
    wait: int,
    rules: StorageRules,
    *,
    lines: int = 1,
    positional: bool,
) -> Encoding:
    """The encoding of a connection.

    Args:
        wait: chip steps by which its synapses delay messages.
        lines: for each neuron of the source, such as one for each binary digit of an input.
        positional: whether a dense connection uses one axon per position of its source.

    Raises:
        InputError: it is of a kind that cannot be mapped.
    """
    make = implementation_of(ENCODINGS, connection, "in the map onto cores")
    bits = weight_bits(connection, rules.exponent_min) + max(wait, 0).bit_length()
    made = make(Ends(connection, source, target, bits, positional), rules)
    return made if lines == 1 else _Lines(made, lines, made.positional, made.spatial)
