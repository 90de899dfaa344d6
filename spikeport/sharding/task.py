"""The work done by workers: rebuild a network once, run it on one shard of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from spikeport.backends import backend as find_backend
from spikeport.backends import run as run_backend
from spikeport.backends import timed
from spikeport.errors import BackendUnavailableError
from spikeport.network import DeployedNetwork
from spikeport.network.file import build
from spikeport.runs import Run
from spikeport.storage.canonical import Arrays
from spikeport.version import __version__


def rebuild(data: dict[str, Any], arrays: Arrays) -> DeployedNetwork:
    """Rebuild a network from its canonical form and check it."""
    return build(data, arrays, {})


def run_shard(
    network: DeployedNetwork,
    backend: str,
    samples: Mapping[str, NDArray[Any]],
    record: Sequence[str],
    version: str,
    timeout_s: float | None,
) -> Run:
    """Run one shard; it has no side effects and no other dependencies, so it may run twice.

    Args:
        timeout_s: time limit, for backends that accept one.

    Raises:
        BackendUnavailableError: this worker has another version of Spikeport than `version`.
    """
    if __version__ != version:
        raise BackendUnavailableError(
            f"dask: a worker has Spikeport {__version__}, must have {version} as here"
        )
    # The cluster already uses one worker thread per core.
    options = {**find_backend(backend).one_thread, **timed(backend, timeout_s)}
    return run_backend(backend, network, samples, record=record, **options)
