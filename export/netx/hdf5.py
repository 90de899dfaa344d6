"""Read the HDF5 of an untrusted netx file, in this process or a separate one.

Source of the layout: lava-nc/lava-dl, `netx/hdf5.py` and `netx/utils.py` (`NetDict`), and the
`export_hdf5` methods of `slayer/block/base.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py

from spikeport.errors import FileFormatError
from spikeport.export.netx.metadata import ARRAYS, KEY
from spikeport.storage import check_count, read_packed, write_packed
from spikeport.storage.canonical import sha256
from spikeport.storage.hdf5 import Budget, check_data, child, load, members, reading
from spikeport.storage.limits import MAX_NAME, MAX_PARTS
from spikeport.text import quoted

fail = FileFormatError.fail

WHAT = "netx"


@dataclass(frozen=True, slots=True)
class RawLayer:
    """A layer as stored in the file.

    Attributes:
        type: such as `dense`.
        fields: its other values, by name.
        neuron: the values of its group `neuron`; empty if there is none.
    """

    type: str
    fields: Mapping[str, Any]
    neuron: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RawNet:
    """A netx file, before any check except the size limits.

    Attributes:
        layers: in the order of their numbers.
        simulation: the values of the group `simulation`.
        metadata: what Spikeport adds, as JSON; empty in files of other tools.
        arrays: those that belong to it.
        file_bytes: size of the file.
        sha256: digest of the file.
    """

    layers: tuple[RawLayer, ...]
    simulation: Mapping[str, Any]
    metadata: str
    arrays: Mapping[str, Any]
    file_bytes: int
    sha256: str


def read_isolated(path: str | os.PathLike[str]) -> RawNet:
    """Like `read_raw`, in another process, so that no file can hang or crash this one.

    Raises:
        InputError: as for `read_raw`; or the child crashed or exceeded its time limit.
    """
    net: RawNet = read_packed(path, WHAT, f"{__name__}:write_raw", (), (RawNet, RawLayer))
    return net


def write_raw(path: str) -> None:
    """Run in the child process: read the file and write its content to standard output."""
    write_packed(read_raw(path))


def read_raw(path: str | os.PathLike[str]) -> RawNet:
    """Read a netx file without interpretation.

    Raises:
        InputError: no such file, not HDF5, damaged, not netx, or it breaks a limit; the message
            names the file and the position in it.
    """
    with reading(path, WHAT) as (file, content):
        budget = Budget(len(content))
        layers = child(file, "layer", budget)
        if not isinstance(layers, h5py.Group):
            fail("contains no group 'layer', so it is not a netx file")
        check_count("'/layer'", len(layers), MAX_PARTS)
        found = dict(members(layers, budget))
        numbers = [str(number) for number in range(len(found))]
        if not found or found.keys() != set(numbers):
            fail(f"'/layer' holds {quoted(', '.join(found))}, must be numbered 0, 1, 2, ...")
        simulation = child(file, "simulation", budget)
        stated = _values(simulation, budget) if isinstance(simulation, h5py.Group) else {}
        item = child(file, KEY, budget)
        metadata = "" if item is None else load(item, budget)
        if not isinstance(metadata, str):
            fail(f"'/{KEY}' must be text")
        group = child(file, ARRAYS, budget) if metadata else None
        arrays = _values(group, budget) if isinstance(group, h5py.Group) else {}
        read = tuple(_layer(found[number], budget) for number in numbers)
        return RawNet(read, stated, metadata, arrays, len(content), sha256(content))


def _layer(group: Any, budget: Budget) -> RawLayer:
    if not isinstance(group, h5py.Group):
        fail(f"'{group.name}': a layer must be a group")
    fields: dict[str, Any] = {}
    neuron: Mapping[str, Any] = {}
    kind = ""
    for name, item in members(group, budget):
        if name == "type":
            kind = _text(item, budget)
        elif name == "neuron" and isinstance(item, h5py.Group):
            neuron = _values(item, budget)
        elif name == "weight" and isinstance(item, h5py.Group):
            fail(f"'{item.name}' holds complex weights, of resonate-and-fire neurons")
        else:
            fields[name] = load(item, budget)
    if not kind:
        fail(f"'{group.name}' has no type")
    return RawLayer(kind, fields, neuron)


def _values(group: h5py.Group, budget: Budget) -> dict[str, Any]:
    return {
        name: _text(item, budget) if name == "type" else load(item, budget)
        for name, item in members(group, budget)
    }


def _text(item: Any, budget: Budget) -> str:
    """A short text: a single one, or an array of one, as lava-dl writes it."""
    if not check_data(item, budget) or item.size != 1:
        fail(f"'{item.name}' must be a single text")
    value = item[()] if item.shape == () else item[...].reshape(-1)[0]
    text = value.decode("ascii") if isinstance(value, bytes) else str(value)
    if len(text) > MAX_NAME:
        fail(f"'{item.name}' is {quoted(text)}, must be at most {MAX_NAME} characters")
    return text
