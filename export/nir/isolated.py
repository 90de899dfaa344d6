"""Read the HDF5 of a NIR file in a separate process.

The result comes back through a pipe as JSON and safetensors, never as pickle.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from spikeport.export.nir.hdf5 import RawGraph, RawNode, read_raw
from spikeport.storage import check_seal, run_isolated
from spikeport.storage.hdf5 import naming

Arrays = dict[str, NDArray[Any]]


def read_isolated(path: str | os.PathLike[str], metadata_key: str) -> RawGraph:
    """Like `read_raw`, in another process, so that no file can hang or crash this one.

    Raises:
        InputError: as for `read_raw`; or the child crashed or exceeded its time limit.
    """
    with naming(path, "NIR"):
        check_seal(path)
    found = run_isolated(path, f"{__name__}:write_raw", (metadata_key,))
    text, _, arrays = found.partition(b"\0")
    graph: RawGraph = _graph(json.loads(text), safetensors.numpy.load(arrays))
    return graph


def write_raw(path: str, metadata_key: str) -> None:
    """Run in the child process: read the file and write its content to standard output."""
    raw = read_raw(path, metadata_key)
    arrays: Arrays = {}
    text = json.dumps(_plain(raw, arrays))  # ASCII, so the first zero byte terminates it
    sys.stdout.buffer.write(text.encode("ascii") + b"\0" + safetensors.numpy.save(arrays))


def _plain(value: Any, arrays: Arrays) -> Any:
    """JSON data; each value is a list of its kind and content, arrays are added to `arrays`."""
    match value:
        case str():
            return ["text", value]
        case RawGraph():
            parts = (value.nodes, value.metadata)
            return ["graph", value.edges, *(_plain(part, arrays) for part in parts)]
        case RawNode():
            parts = (value.fields, value.metadata)
            return ["node", value.type, *(_plain(part, arrays) for part in parts)]
        case dict():
            return ["dict", {key: _plain(item, arrays) for key, item in value.items()}]
    array = np.asarray(value)
    name = str(len(arrays))
    arrays[name] = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))).reshape(-1)
    return ["array", name, array.shape]


def _graph(data: Any, arrays: Arrays) -> Any:
    """The inverse of `_plain`."""
    match data:
        case ["text", text]:
            return text
        case ["graph", edges, nodes, metadata]:
            pairs = tuple((source, target) for source, target in edges)
            return RawGraph(_graph(nodes, arrays), pairs, _graph(metadata, arrays))
        case ["node", type_name, fields, metadata]:
            return RawNode(type_name, _graph(fields, arrays), _graph(metadata, arrays))
        case ["dict", items]:
            return {key: _graph(item, arrays) for key, item in items.items()}
    _, name, shape = data
    return arrays[name].reshape(shape)[()]
