"""`Encoding`: how a core stores a connection, and which axons carry its messages.

One class for each storage form; `encoding_of` chooses it. All of them count for whole tilings at
once: what each piece of the target stores, and what each piece of the source sends.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields
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


@dataclass(slots=True, eq=False)
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


_NOT_STORED = ("name", "source", "target", "weight", "exponent", "weight_bits", "delay")
"""Fields of a connection on which its storage does not depend, beyond the bits of a synapse."""


def _layout(connection: WeightedConnection) -> Hashable:
    """What two connections have in common if their synapses lie in the same places."""
    stated = [item.name for item in fields(connection) if item.name not in _NOT_STORED]
    values = tuple(getattr(connection, name) for name in stated)
    if any(isinstance(value, np.ndarray) for value in values):
        return connection.name
    return (type(connection), connection.weight.shape, values)


def encoding_of(
    connection: WeightedConnection,
    source: Shape,
    target: Shape,
    wait: int,
    rules: StorageRules,
    *,
    lines: int = 1,
    positional: bool,
    known: dict[Hashable, Encoding] | None = None,
) -> Encoding:
    """The encoding of a connection.

    Args:
        wait: chip steps by which its synapses delay messages.
        lines: for each neuron of the source, such as one for each binary digit of an input.
        positional: whether a dense connection uses one axon per position of its source.
        known: encodings made before. Connections that are stored in the same way share one, so that
            what it counts is counted once.

    Raises:
        InputError: it is of a kind that cannot be mapped.
    """
    make = implementation_of(ENCODINGS, connection, "in the map onto cores")
    bits = weight_bits(connection, rules.exponent_min) + max(wait, 0).bit_length()
    known = {} if known is None else known
    key = (_layout(connection), source, target, bits, positional, lines)
    if key not in known:
        made = make(Ends(connection, source, target, bits, positional), rules)
        several = lines > 1
        known[key] = _Lines(made, lines, made.positional, made.spatial) if several else made
    return known[key]
