"""Write netx files, which lava-dl's `netx.hdf5.Network` runs on Lava and on Loihi 2."""

from __future__ import annotations

import io
import os
from typing import Any

import h5py
import numpy as np

from spikeport.export.netx.hdf5 import RawLayer
from spikeport.export.netx.layout import layers_of
from spikeport.export.netx.metadata import ARRAYS, KEY, metadata_of
from spikeport.network import DeployedNetwork
from spikeport.storage import sealed, write_bytes


def write_netx(network: DeployedNetwork, path: str | os.PathLike[str]) -> None:
    """Write a network as a netx file (`.net`), completely or not at all.

    netx runs it to the same spikes, layer k (from 1) k steps later. The file also holds what netx
    cannot express (names, scales, T, the range of the input), so that `read_netx` returns the same
    network.

    Raises:
        InputError: netx cannot run the network; the message names the part, its value and the rule.
        OutputError: the file cannot be written; an existing file is unharmed.
    """
    layers = layers_of(network)
    text, arrays = metadata_of(network)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for number, layer in enumerate(layers):
            _write(file.create_group(f"layer/{number}"), layer)
        file["simulation/Ts"] = 1
        file["simulation/tSample"] = network.steps
        file[KEY] = text
        group = file.create_group(ARRAYS)
        for name, array in arrays.items():
            _dataset(group, name, array)
    write_bytes(path, sealed(buffer.getvalue()))


def _write(group: h5py.Group, layer: RawLayer) -> None:
    group.create_dataset("type", (1,), "S10", [layer.type.encode("ascii")])
    for name, value in layer.fields.items():
        _dataset(group, name, value)
    for name, value in layer.neuron.items():
        _dataset(group, f"neuron/{name}", value)


def _dataset(group: h5py.Group, name: str, value: Any) -> None:
    packed = {"compression": "gzip"} if np.size(value) > 64 else {}
    group.create_dataset(name, data=value, **packed)
