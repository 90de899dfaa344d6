"""Recompute a map onto cores from the network alone, synapse by synapse.

Nothing here uses the code of the mapper: only the pieces and cores that it made, and the rules of
the target. Errors are collected as texts.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from spikeport.mapping import CoreMap, Piece, Resource
from spikeport.network import (
    LOIHI,
    DeployedNetwork,
    Sparse,
    WeightedConnection,
    depths,
    is_mixed,
    waits,
)

Position = tuple[int, ...]
WIDTHS = (1, 2, 3, 4, 5, 6, 8)


class Recount:
    """What every piece of a map needs, counted afresh."""

    def __init__(self, network: DeployedNetwork, made: CoreMap) -> None:
        self.network, self.made = network, made
        self.rules = made.limits.storage
        depth, _ = depths(network, lambda _: 1)
        self.waits = waits(network, depth, lambda _: 1)
        self.of: dict[str, list[int]] = defaultdict(list)
        for number, piece in enumerate(made.pieces):
            self.of[piece.population].append(number)
        self.positional = self._positional()
        exponent_min = self.rules.exponent_min
        self.weight_bits = {
            part.name: stored_weight_bits(part, exponent_min)
            for part in network.weighted_connections
        }
        self.axons: Counter[int] = Counter()
        self.bits: Counter[int] = Counter()
        self.slots: Counter[int] = Counter()
        for part in network.weighted_connections:
            self._count(part)

    def _positional(self) -> set[str]:
        """Dense connections of which an axon carries all channels of a position."""
        found = set()
        most = self.made.limits.capacity.get(Resource.INPUT_AXONS)
        for population in self.network.populations:
            parts = self.network.weighted_into(population.name)
            axons = sum(
                self.network.lines(part.source)
                * (
                    self._engine_axons(part)
                    if part.spatial
                    else len({n for n, _ in dense_synapses(self.network, part, [0])})
                    if not isinstance(part, Sparse)
                    else len(set(part.indices.tolist()))
                )
                for part in parts
            )
            if most is not None and axons > most.value:
                found |= {
                    part.name
                    for part in parts
                    if part.storage == "dense" and len(self.network.sources[part.source].shape) > 1
                }
        return found

    def _engine_axons(self, part: WeightedConnection) -> int:
        if self.rules.kernels_once:
            return 1
        shape = self.network.by_name[part.target].shape
        return len(taps_by_position(self.network, part, tuple((0, n) for n in shape)))

    def _count(self, part: WeightedConnection) -> None:
        """Each line of its source is stored on its own."""
        for _ in range(self.network.lines(part.source)):
            self._count_line(part)

    def _count_line(self, part: WeightedConnection) -> None:
        target = self.network.by_name[part.target]
        synapse = self.weight_bits[part.name] + max(self.waits[part.name], 0).bit_length()
        reached: dict[int, Any] = {}
        for number in self.of[part.target]:
            piece = self.made.pieces[number]
            neurons = list(neurons_of(piece, target.shape))
            if part.spatial:
                self._kernel(part, number, synapse, reached)
            elif isinstance(part, Sparse):
                lists: Counter[int] = Counter()
                for neuron in neurons:
                    row = slice(*part.indptr[neuron : neuron + 2])
                    lists.update(part.indices[row].tolist())
                self.axons[number] += len(lists)
                width = synapse + self._index(len(neurons))
                self.bits[number] += sum(self._list(n, width) for n in lists.values())
                reached[number] = set(lists)
            else:
                self._rows(part, number, synapse, len(neurons), reached)
        if part.source in self.of:
            self._send(part, reached)

    def _rows(
        self,
        part: WeightedConnection,
        number: int,
        synapse: int,
        neurons: int,
        reached: dict[int, Any],
    ) -> None:
        seen = {n for n, _ in dense_synapses(self.network, part, [0])}
        sums = part.weight.shape[1]
        if part.name in self.positional:
            channels = self.network.sources[part.source].shape[0]
            positions = math.prod(self.network.sources[part.source].shape[1:])
            self.axons[number] += len({n % positions for n in seen})
            each = self._list(channels * neurons, synapse + self._index(neurons))
            self.bits[number] += sums // channels * each
        else:
            self.axons[number] += len(seen)
            index = self._index(neurons) if self.rules.dense_indexed else 0
            self.bits[number] += sums * self._list(neurons, synapse + index)
        reached[number] = seen

    def _kernel(self, part: Any, number: int, synapse: int, reached: dict[int, Any]) -> None:
        piece = self.made.pieces[number]
        channels, lists = piece.box[0], taps_by_position(self.network, part, piece.box)
        out, into = part.weight.shape[:2]
        per_group = out // part.groups
        if self.rules.kernels_once:
            self.axons[number] += bool(lists)
            taps = frozenset(tap for met in lists.values() for tap in met)
            sizes = Counter(channel // per_group for channel in range(*channels))
            self.bits[number] += (
                into * len(taps) * sum(self._list(size, synapse) for size in sizes.values())
            )
        else:
            self.axons[number] += len(lists)
            width = synapse + self._index(piece.neurons)
            for taps in set(lists.values()):
                count = into * (channels[1] - channels[0]) * len(taps)
                self.bits[number] += self._list(count, width)
        groups = {channel // per_group for channel in range(*channels)}
        sources = {g * into + c for g in groups for c in range(into)}
        reached[number] = (sources, set(lists))

    def _send(self, part: WeightedConnection, reached: dict[int, Any]) -> None:
        """Output axons: one for each target piece that a neuron, position or piece reaches."""
        shape = self.network.sources[part.source].shape
        slots = self.rules.position_slots
        for number in self.of[part.source]:
            piece = self.made.pieces[number]
            if part.spatial:
                channels, *sides = (range(*side) for side in piece.box)
                for sources, positions in reached.values():
                    if sources.isdisjoint(channels):
                        continue
                    sent = sum(position in positions for position in itertools.product(*sides))
                    self.slots[number] += bool(sent) if self.rules.kernels_once else sent * slots
                continue
            neurons = set(neurons_of(piece, shape))
            for seen in reached.values():
                if part.name in self.positional:
                    sent = len({neuron % math.prod(shape[1:]) for neuron in seen & neurons})
                    self.slots[number] += sent * slots
                else:
                    self.slots[number] += len(seen & neurons)

    def _index(self, neurons: int) -> int:
        if self.rules.index_bits is not None:
            return self.rules.index_bits
        widths: tuple[int, ...] = (0, 6, 7, 8, 9, 10, 11, 12)
        return next(width for width in widths if 2**width >= neurons)

    def _list(self, synapses: int, width: int) -> int:
        total, block = 0, self.rules.block or max(synapses, 1)
        while synapses > 0:
            now = min(block, synapses)
            bits = now * width + self.rules.header_bits
            total += math.ceil(bits / self.rules.word_bits) * self.rules.word_bits
            synapses -= now
        return total


def errors(network: DeployedNetwork, made: CoreMap) -> list[str]:
    """Everything that is wrong with a map."""
    found = []
    held = Counter(number for core in made.cores for number in core.pieces)
    if held != Counter(range(len(made.pieces))):
        found.append(f"pieces on cores: {held}")
    for part in network.populations:
        counted = Counter(
            neuron
            for piece in made.pieces
            if piece.population == part.name
            for neuron in neurons_of(piece, part.shape)
        )
        if counted != Counter(range(part.size)):
            found.append(f"neurons of '{part.name}' are not each on exactly one core")
    recount = Recount(network, made)
    for number, piece in enumerate(made.pieces):
        needs = {
            Resource.NEURONS: piece.neurons,
            Resource.MEMORY: recount.bits[number],
            Resource.INPUT_AXONS: recount.axons[number],
            Resource.OUTPUT_AXONS: recount.slots[number],
            Resource.PIECES: 1,
        }
        if needs != piece.demand:
            found.append(f"piece {number} of '{piece.population}': {piece.demand}, is {needs}")
    for core in made.cores:
        for one, used in core.usage.items():
            needed = sum(made.pieces[number].demand[one] for number in core.pieces)
            if used != needed:
                found.append(f"{one} of a core: {used}, is {needed}")
            limit = made.limits.capacity.get(one)
            if limit is not None and used > limit.value:
                found.append(f"{one} of a core: {used} > {limit.value}")
        if not made.share_cores and len(core.pieces) > 1:
            found.append("a core has several pieces")
        if not found:
            found += _settings(recount, core.pieces)
    return found + _placed(made) + _columns(network, made)


def _settings(recount: Recount, pieces: tuple[int, ...]) -> list[str]:
    network, made = recount.network, recount.made
    names = {made.pieces[number].population for number in pieces}
    parts: list[Any] = [network.by_name[name] for name in names]
    levels = ("vth", "theta_0", "theta_step")
    dynamics = ("MODEL", "decay_u", "decay_v", "decay_theta", "decay_r", "refractory", "reset")
    counted: dict[str, set[Any]] = {
        "thresholds_per_core": {tuple(getattr(p, one, None) for one in levels) for p in parts},
        "neuron_formats_per_core": {
            tuple(getattr(p, one, None) for one in dynamics) for p in parts
        },
        "synapse_formats_per_core": {
            (c.storage, recount.weight_bits[c.name], is_mixed(c.weight), c.exponent + line, c.delay)
            for name in names
            for c in network.weighted_into(name)
            for line in range(network.lines(c.source))
        },
    }
    return [
        f"{setting}: {len(counted[setting])} > {limit.value}"
        for setting, limit in made.limits.settings.items()
        if len(counted[setting]) > limit.value
    ]


def _columns(network: DeployedNetwork, made: CoreMap) -> list[str]:
    """Pieces of feature maps whose number of columns is no power of two, but for the last."""
    found = []
    for piece in made.pieces if made.limits.columns_power_of_two else ():
        first, end = piece.box[-1]
        last = first > 0 and end == network.by_name[piece.population].shape[-1]
        if len(piece.box) > 1 and not last and (end - first) not in (1 << k for k in range(20)):
            found.append(f"columns {piece.box[-1]} of '{piece.population}'")
    return found


def _placed(made: CoreMap) -> list[str]:
    mesh, per_chip = made.limits.mesh, made.limits.cores.value
    tiles = Counter((core.chip, core.column, core.row) for core in made.cores)
    chips = Counter(core.chip for core in made.cores)
    found = [f"tile {tile}: {n} cores" for tile, n in tiles.items() if n > mesh.cores_per_tile]
    found += [f"chip {chip}: {n} cores" for chip, n in chips.items() if n > per_chip]
    wide = [core for core in made.cores if not 0 <= core.column < mesh.tiles_per_row]
    return found + [f"column {core.column}" for core in wide]


def neurons_of(piece: Piece, shape: Position) -> Iterator[int]:
    """Neurons of a piece, in C order of the population."""
    if len(piece.box) == 1:
        yield from range(*piece.box[0])
        return
    for index in itertools.product(*(range(*part) for part in piece.box)):
        neuron = 0
        for place, size in zip(index, shape, strict=True):
            neuron = neuron * size + place
        yield neuron


def dense_synapses(
    network: DeployedNetwork, part: WeightedConnection, targets: list[int]
) -> Iterator[tuple[int, int]]:
    """(source neuron, target) of a dense connection, after its pool if any."""
    shape = network.sources[part.source].shape
    for target in targets:
        if part.pool is None:
            yield from ((source, target) for source in range(part.weight.shape[1]))
        else:
            for pooled in range(part.weight.shape[1]):
                yield from ((source, target) for source in part.pool.window(shape, pooled))


def taps_by_position(
    network: DeployedNetwork, part: Any, box: tuple[tuple[int, int], ...]
) -> dict[Position, frozenset[Position]]:
    """The taps by which each position of the source reaches a box of the target."""
    shape = network.sources[part.source].shape
    seen = shape if part.pool is None else part.pool.output_shape(shape)
    axes = len(shape) - 1
    stride, padding, dilation = (
        [getattr(part, name)] if axes == 1 else list(getattr(part, name))
        for name in ("stride", "padding", "dilation")
    )
    met: dict[Position, set[Position]] = defaultdict(set)
    kernel = part.weight.shape[2:]
    for place in itertools.product(*(range(*side) for side in box[1:])):
        for tap in itertools.product(*map(range, kernel)):
            read = tuple(
                o * s - p + k * d
                for o, s, p, k, d in zip(place, stride, padding, tap, dilation, strict=True)
            )
            if all(0 <= r < n for r, n in zip(read, seen[1:], strict=True)):
                met[read].add(tap)
    if part.pool is None:
        return {position: frozenset(taps) for position, taps in met.items()}
    spread: dict[Position, frozenset[Position]] = {}
    for position, taps in met.items():
        for k0, k1 in itertools.product(*map(range, part.pool.kernel_size)):
            y = position[0] * part.pool.stride[0] - part.pool.padding[0] + k0
            x = position[1] * part.pool.stride[1] - part.pool.padding[1] + k1
            if 0 <= y < shape[1] and 0 <= x < shape[2]:
                spread[y, x] = frozenset(taps)
    return spread


def stored_weight_bits(part: WeightedConnection, exponent_min: int) -> int:
    """The least width in which all weights, shifted, are on the grid of the chip."""
    mixed = is_mixed(part.weight)
    weights = {abs(int(w)) if not mixed else int(w) for w in np.unique(part.weight)}
    if weights == {0}:
        return 1
    for bits in WIDTHS:
        low, high, step = LOIHI.weight_grid(mixed=mixed, bits=bits)
        if not mixed:
            low = 0
        for shift in range(-8, part.exponent - exponent_min + 1):
            moved = [weight * 2.0**shift for weight in weights]
            if all(low <= w <= high and w % step == 0 for w in moved):
                return bits
    return WIDTHS[-1]
