"""Finished shards on disk: one safetensors file each, named after its computation.

The key is a SHA-256 over network, backend, version, what is recorded, and the samples themselves.
A file is therefore only reused for exactly the same computation, however the samples were split,
and a folder may serve many runs.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from spikeport.errors import InputError
from spikeport.runs import EventCounts, Run, Trace
from spikeport.storage import write_bytes
from spikeport.storage.canonical import Arrays, digest
from spikeport.storage.tensors import pack, unpack
from spikeport.version import __version__

FORMAT = "spikeport.shard"
VERSION = 1
SUFFIX = ".shard"
_PLAIN = ("backend", "version", "network_hash", "samples", "steps", "wall_s")
_TRACE = "trace."
_log = logging.getLogger(__name__)


def shard_key(
    network_hash: str, backend: str, samples: Mapping[str, NDArray[Any]], record: Sequence[str]
) -> str:
    """Hex digest that identifies the result of running `samples`."""
    asked = {
        "format": f"{FORMAT} {VERSION}",
        "network": network_hash,
        "backend": backend,
        "spikeport": __version__,
        "record": sorted(record),
    }
    return digest(asked, samples)


def save_shard(folder: Path, key: str, run: Run) -> None:
    """Write the run of one shard, completely or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    data, arrays = _to_tensors(run)
    header = {"key": key, "run": data, "digest": _digest(key, data, arrays)}
    write_bytes(folder / f"{key}{SUFFIX}", pack(header, arrays, FORMAT))


def load_shard(folder: Path, key: str) -> Run | None:
    """The run stored under `key`; None if there is none.

    A damaged file is treated as missing, with a warning in the log: its shard is computed again and
    the file replaced.
    """
    path = folder / f"{key}{SUFFIX}"
    if not path.exists():
        return None
    try:
        header, arrays = unpack(path, "is truncated or not a shard", FORMAT)
        if header["key"] != key or header["digest"] != _digest(key, header["run"], arrays):
            raise ValueError("its content is not what was written")
        return _from_tensors(header["run"], arrays)
    except (InputError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning("%s: damaged (%s); its shard is computed again", path, error)
        return None


def _digest(key: str, data: dict[str, Any], arrays: Arrays) -> str:
    return digest({"key": key, "run": data}, arrays)


def _to_tensors(run: Run) -> tuple[dict[str, Any], Arrays]:
    groups = {"scores": run.scores, "spike_counts": run.spike_counts}
    if run.trace is not None:
        groups |= {f"{_TRACE}{name}": table for name, table in run.trace.tables.items()}
    data = {name: getattr(run, name) for name in _PLAIN}
    data["counts"] = None if run.counts is None else dataclasses.asdict(run.counts)
    # The order of the names matters: predictions come from the first of the scores.
    data["groups"] = {group: list(arrays) for group, arrays in groups.items()}
    named = {f"{g}/{n}": array for g, arrays in groups.items() for n, array in arrays.items()}
    return data, named


def _from_tensors(data: dict[str, Any], arrays: Arrays) -> Run:
    groups = {
        group: {name: arrays[f"{group}/{name}"] for name in names}
        for group, names in data["groups"].items()
    }
    trace = {
        group.removeprefix(_TRACE): table
        for group, table in groups.items()
        if group.startswith(_TRACE)
    }
    return Run(
        **{name: data[name] for name in _PLAIN},
        scores=groups["scores"],
        spike_counts=groups["spike_counts"],
        counts=None if data["counts"] is None else EventCounts(**data["counts"]),
        trace=Trace.of(trace) if trace else None,
    )
