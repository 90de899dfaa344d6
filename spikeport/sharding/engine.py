"""`run_sharded` and `run_sweep`: split samples along B, run a Dask task per shard, merge the runs.

Every sample starts from zeroed state and all sums are exact integers, so results depend neither on
the size of the shards nor on the workers, their order, or how often one is killed: Dask gives the
shards of a lost worker to another one, and running a shard twice gives the same result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from spikeport.backends import backend as find_backend
from spikeport.errors import InputError, ValueRangeError
from spikeport.network import DeployedNetwork
from spikeport.runs import (
    RecordSpec,
    Run,
    Samples,
    check_samples,
    merge_runs,
    record_items,
    sample_count,
    select,
)
from spikeport.sharding.cluster import connected
from spikeport.sharding.dispatch import Shard, dispatch
from spikeport.sharding.store import load_shard, save_shard, shard_key
from spikeport.storage import output_folder

SHARD = 128
"""Samples per shard; a constant, so that a second run is split identically on any machine."""

SampleProgress = Callable[[int, int], None]


def run_sharded(
    network: DeployedNetwork,
    samples: Samples,
    *,
    backend: str = "native",
    address: str | None = None,
    workers: int | None = None,
    shard: int = SHARD,
    record: RecordSpec = (),
    folder: str | os.PathLike[str] | None = None,
    timeout_s: float | None = None,
    progress: SampleProgress | None = None,
) -> Run:
    """Run a network on a backend in shards over Dask; every number equals that of one process.

    Only `wall_s` differs: it is the total computing time of all shards.

    Args:
        samples: per input (B, *shape), presented at every step, or (T, B, *shape).
        backend: one that runs deployed networks.
        address: of a Dask scheduler ("tcp://host:8786") whose workers have the same version of
            Spikeport; it is trusted like local code. None starts processes on this machine and ends
            them; a script then needs `if __name__ == "__main__":`, as with multiprocessing.
        workers: number of local processes, one per core if None; ignored with an address.
        shard: samples per shard.
        record: which of "spikes", "u" and "v" to keep in `Run.trace`, for all populations.
        folder: finished shards are written here, and shards found here are not run again. A
            damaged file is logged as a warning and its shard run again.
        timeout_s: wall-clock limit for running the shards; those that finish in time are kept in
            `folder`.
        progress: called with (samples done, total samples), including those found in `folder`.

    Raises:
        InputError: samples, backend, `workers` or `shard` are invalid.
        BackendUnavailableError: Dask is not installed, cannot be reached or was lost, or the
            backend cannot run on its workers, or the run exceeded `timeout_s`.
        OutputError: a shard cannot be written to `folder`.
    """
    return run_sweep(
        [(network, samples)],
        backend=backend,
        address=address,
        workers=workers,
        shard=shard,
        record=record,
        folder=folder,
        timeout_s=timeout_s,
        progress=progress,
    )[0]


def run_sweep(
    pairs: Sequence[tuple[DeployedNetwork, Samples]],
    *,
    backend: str = "native",
    address: str | None = None,
    workers: int | None = None,
    shard: int = SHARD,
    record: RecordSpec = (),
    folder: str | os.PathLike[str] | None = None,
    timeout_s: float | None = None,
    progress: SampleProgress | None = None,
) -> list[Run]:
    """Run several networks, each with its samples, on the same workers; see `run_sharded`."""
    for name, value in (("shard", shard), ("workers", workers)):
        if value is not None and value < 1:
            raise ValueRangeError(f"{name} is {value}, must be at least 1")
    if timeout_s is not None and not timeout_s > 0:
        raise ValueRangeError(f"timeout_s is {timeout_s}, must be above 0")
    names = [item for item in record_items(record) if isinstance(item, str)]
    if len(names) < len(record_items(record)):
        raise InputError("record: shards record whole populations, not Probes of selected neurons")
    if find_backend(backend).takes != "deployed":
        raise InputError(f"backend '{backend}' runs float networks, shards need a deployed network")
    for network, _ in pairs:
        if not isinstance(network, DeployedNetwork):
            raise InputError("shards need a deployed network, not a float network")
    shards = [
        part
        for index, (network, samples) in enumerate(pairs)
        for part in _cut(index, network, samples, shard)
    ]
    store = None if folder is None else Path(folder)
    total = sum(part.count for part in shards)
    runs: dict[int, Run] = {}
    keys: dict[int, str] = {}
    done = 0

    def note(index: int, run: Run) -> None:
        nonlocal done
        runs[index] = run
        done += run.samples
        if progress is not None:
            progress(done, total)

    if store is not None:
        for index, part in enumerate(shards):
            network = pairs[part.network][0]
            keys[index] = shard_key(network.content_hash, backend, part.samples, names)
            if (found := load_shard(store, keys[index])) is not None:
                note(index, found)
    if missing := {i: part for i, part in enumerate(shards) if i not in runs}:
        networks = [network for network, _ in pairs]
        kept = nullcontext() if store is None else output_folder(store)
        with kept, connected(address, workers, len(missing)) as client:
            for index, run in dispatch(client, networks, missing, backend, names, timeout_s):
                if store is not None:
                    save_shard(store, keys[index], run)
                note(index, run)
    return [
        merge_runs([runs[i] for i, part in enumerate(shards) if part.network == index])
        for index in range(len(pairs))
    ]


def _cut(index: int, network: DeployedNetwork, samples: Samples, size: int) -> list[Shard]:
    arrays = check_samples(network.inputs, network.steps, samples)
    count = sample_count(network.inputs, arrays)
    return [
        Shard(
            index,
            first,
            min(size, count - first),
            select(network.inputs, arrays, slice(first, first + size)),
        )
        for first in range(0, count, size)
    ]
