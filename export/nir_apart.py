"""Reading a stranger's HDF5 in a process of its own.

libhdf5 loops for ever or crashes on some damaged files, where no exception can be caught. So the
file is read by a short-lived process with limits; what it found comes back through a pipe as JSON
and safetensors, never as pickle.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.export.nir_hdf5 import RawGraph, RawNode, read_raw

SECONDS = 20
SECONDS_PER_BYTE = 1 / 4e6
"""Limit of computing time: start-up and twice what slow decompression needs."""
_REFUSED = 2

Arrays = dict[str, NDArray[Any]]


def read_apart(path: str | os.PathLike[str], metadata_key: str) -> RawGraph:
    """As `read_raw`, in another process: nothing in the file can stop or crash this one.

    Raises:
        InputError: as `read_raw`, or reading crashed or did not end.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    limit = int(SECONDS + path.stat().st_size * SECONDS_PER_BYTE)
    program = f"import sys; from {__name__} import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", program, str(path), metadata_key, str(limit)]
    # Neither the current folder, where anybody's modules may lie, nor the names of import hooks.
    places = [*filter(os.path.isabs, sys.path), str(Path(__file__).absolute().parents[2])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=2 * limit)
    except subprocess.TimeoutExpired:
        raise InputError(f"{path}: damaged: reading it did not end within {limit} s") from None
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode == -signal.SIGXCPU:
        raise InputError(f"{path}: damaged: reading it did not end within {limit} s")
    if done.returncode < 0:
        raise InputError(f"{path}: damaged: reading it crashed (signal {-done.returncode})")
    if done.returncode == _REFUSED:
        raise InputError(said)
    if done.returncode:
        raise InputError(f"{path}: cannot be read: {said.strip().splitlines()[-1]}")
    text, _, arrays = done.stdout.partition(b"\0")
    graph: RawGraph = _graph(json.loads(text), safetensors.numpy.load(arrays))
    return graph


def main() -> int:
    """What the other process does; its arguments are FILE KEY SECONDS."""
    path, metadata_key, limit = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        raw = read_raw(path, metadata_key)
    except InputError as error:
        sys.stderr.buffer.write(str(error).encode("utf-8"))
        return _REFUSED
    arrays: Arrays = {}
    text = json.dumps(_plain(raw, arrays))  # ASCII, so the first zero byte ends it
    sys.stdout.buffer.write(text.encode("ascii") + b"\0" + safetensors.numpy.save(arrays))
    return 0


def _plain(value: Any, arrays: Arrays) -> Any:
    """JSON data; each kind is a list of its name and its content, arrays go to `arrays`."""
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
    """What `_plain` took apart."""
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
