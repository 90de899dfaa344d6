"""`CoreLimits`: what one core of a target holds, read from its `target.toml`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from spikeport.errors import SettingsError
from spikeport.hardware import ChipLimits, Limit, TargetFile
from spikeport.text import quoted

UNIT = 1
"""A limit that a target does not state, where nothing else is possible than one."""


class Resource(StrEnum):
    """What the pieces on a core share; their demands add up."""

    NEURONS = "neurons"
    MEMORY = "synapse memory"
    INPUT_AXONS = "input axons"
    OUTPUT_AXONS = "output axons"
    PIECES = "pieces of populations"


RESOURCES = tuple(Resource)
_KEYS = {
    Resource.NEURONS: "neurons_per_core",
    Resource.MEMORY: "synapse_memory_bits_per_core",
    Resource.INPUT_AXONS: "input_axons_per_core",
    Resource.OUTPUT_AXONS: "output_axons_per_core",
    Resource.PIECES: "pieces_per_core",
}
STORAGE_KEYS = (
    *("synapse_word_bits", "synapse_header_bits", "synapses_per_block", "index_bits"),
    *("dense_rows_indexed", "kernels_stored_once", "axon_bases_per_core"),
    *("output_axons_per_position", "weight_exponent_min"),
)
MESH_KEYS = ("cores_per_tile", "tiles_per_row")
REQUIRED = ("cores", _KEYS[Resource.NEURONS])


class Setting(StrEnum):
    """Settings of which a core has a limited number of different ones."""

    DYNAMICS = "neuron_formats_per_core"
    THRESHOLD = "thresholds_per_core"
    SYNAPSES = "synapse_formats_per_core"


_BITS = ("synapse_word_bits", "synapse_header_bits", "index_bits")
_AT_LEAST: Mapping[str, int] = {
    **dict.fromkeys((*REQUIRED, *_KEYS.values(), *Setting, *MESH_KEYS), 1),
    **dict.fromkeys(("synapse_word_bits", "synapses_per_block", "axon_bases_per_core"), 1),
    "output_axons_per_position": 1,
    "synapse_header_bits": 0,
    "index_bits": 0,
}
_AT_MOST: Mapping[str, int] = {**dict.fromkeys(_AT_LEAST, 2**40), **dict.fromkeys(_BITS, 2**20)}
"""Beyond any chip, and what is counted for all of its cores still fits 64 bits."""
KEYS = ("cores", *_KEYS.values(), *Setting, *STORAGE_KEYS, *MESH_KEYS, "columns_power_of_two")
"""Limits that a map depends on."""


@dataclass(frozen=True, slots=True)
class StorageRules:
    """How a core stores synapses.

    Attributes:
        word_bits: unit in which memory is filled.
        header_bits: of each block of synapses.
        block: most synapses of a block; None if there is no such limit.
        index_bits: width of a synapse's index of its target; None if it is the least of 0, 6, 7,
            ..., 12 bits that is wide enough.
        dense_indexed: whether the synapses of a dense connection have indices too.
        kernels_once: whether a convolution is computed from one copy of its kernel, reached through
            one axon. Otherwise every position of the source has an axon, which points to a list of
            synapses with indices; positions at the border have lists of their own.
        bases: most positions of a feature map to which a list of synapses can be moved on a core;
            None if there is no such limit.
        position_slots: output axons that one position of a feature map needs for a core.
        exponent_min: the lowest weight exponent.
    """

    word_bits: int = UNIT
    header_bits: int = 0
    block: int | None = None
    index_bits: int | None = None
    dense_indexed: bool = False
    kernels_once: bool = False
    bases: int | None = None
    position_slots: int = UNIT
    exponent_min: int = 0


@dataclass(frozen=True, slots=True)
class Mesh:
    """Tiles of cores on a rectangular mesh.

    Attributes:
        cores_per_tile: cores that reach each other without a hop.
        tiles_per_row: tiles of a chip in east-west direction.
    """

    cores_per_tile: int = UNIT
    tiles_per_row: int = UNIT


@dataclass(frozen=True, slots=True)
class CoreLimits:
    """Limits of the cores of a target.

    Attributes:
        cores: per chip.
        capacity: of one core, for every resource that is limited.
        settings: number of different settings of a core, if that is limited.
        columns_power_of_two: whether a piece of a feature map has a power of two of columns.
        stated: all limits that a map depends on, by their names in `target.toml`.
    """

    target: str
    title: str
    cores: Limit
    capacity: Mapping[Resource, Limit]
    settings: Mapping[Setting, Limit]
    storage: StorageRules
    mesh: Mesh
    columns_power_of_two: bool
    stated: Mapping[str, Limit]


def core_limits(file: TargetFile) -> CoreLimits:
    """The limits of a target's cores.

    Raises:
        InputError: the target does not state how many cores it has, and how many neurons a core
            has; or a limit is too small or too large to count with.
    """
    limits = file.limits
    if missing := [name for name in REQUIRED if name not in limits]:
        raise SettingsError(
            f"target '{file.name}' cannot be mapped: no core limits: its target.toml has no "
            f"{' and no '.join(repr(name) for name in missing)} in [limits]"
        )
    for name, least in _AT_LEAST.items():
        if name not in limits:
            continue
        value, most = limits[name].value, _AT_MOST[name]
        if not least <= value <= most:
            rule = f"at least {least}" if value < least else f"at most {most}"
            raise SettingsError(
                f"target '{file.name}' cannot be mapped: limit '{name}' is {quoted(value)}, must "
                f"be {rule}"
            )
    return CoreLimits(
        target=file.name,
        title=file.title,
        cores=limits["cores"],
        capacity={one: limits[key] for one, key in _KEYS.items() if key in limits},
        settings={one: limits[one] for one in Setting if one in limits},
        storage=_storage(limits),
        mesh=_mesh(limits),
        columns_power_of_two=bool(_value(limits, "columns_power_of_two", 0)),
        stated={name: limits[name] for name in KEYS if name in limits},
    )


def has_core_limits(limits: ChipLimits) -> bool:
    """Whether networks can be mapped to a chip with these limits."""
    return all(name in limits for name in REQUIRED)


def _mesh(limits: ChipLimits) -> Mesh:
    """The mesh that is stated, by default a square of tiles."""
    per_tile = _value(limits, "cores_per_tile", UNIT)
    tiles = -(-limits["cores"].value // per_tile)
    square = math.isqrt(tiles - 1) + 1
    return Mesh(per_tile, _value(limits, "tiles_per_row", square))


def _storage(limits: ChipLimits) -> StorageRules:
    return StorageRules(
        word_bits=_value(limits, "synapse_word_bits", UNIT),
        header_bits=_value(limits, "synapse_header_bits", 0),
        block=_optional(limits, "synapses_per_block"),
        index_bits=_optional(limits, "index_bits"),
        dense_indexed=bool(_value(limits, "dense_rows_indexed", 0)),
        kernels_once=bool(_value(limits, "kernels_stored_once", 0)),
        bases=_optional(limits, "axon_bases_per_core"),
        position_slots=_value(limits, "output_axons_per_position", UNIT),
        exponent_min=_value(limits, "weight_exponent_min", -8),
    )


def _value(limits: ChipLimits, name: str, default: int) -> int:
    return limits[name].value if name in limits else default


def _optional(limits: ChipLimits, name: str) -> int | None:
    return limits[name].value if name in limits else None
