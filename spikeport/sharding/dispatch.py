"""Send shards to the workers of a Dask client and collect their runs as they finish."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from numpy.typing import NDArray

from spikeport.errors import BackendUnavailableError, SpikeportError
from spikeport.network import DeployedNetwork
from spikeport.runs import Run
from spikeport.sharding.cluster import WORKERS_S, require_dask
from spikeport.sharding.task import rebuild, run_shard
from spikeport.version import __version__

T = TypeVar("T")

AHEAD = 2
"""Shards submitted per worker thread: one runs, one waits. The others are held back, so that
neither the scheduler nor the workers hold more samples than they need."""
POLL_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """Some of the samples of one network.

    Attributes:
        network: index in the list of networks.
        first, count: range of the samples of that network, along B.
        samples: per input, already checked.
    """

    network: int
    first: int
    count: int
    samples: Mapping[str, NDArray[Any]]


def dispatch(
    client: Any,
    networks: Sequence[DeployedNetwork],
    shards: Mapping[int, Shard],
    backend: str,
    record: Sequence[str],
    timeout_s: float | None = None,
) -> Iterator[tuple[int, Run]]:
    """Run all shards on the workers of `client`; yield (key, run) as each finishes.

    A network is sent to the scheduler once, and to each worker once. It is a separate task, so Dask
    recomputes it if it is lost with its worker.

    Args:
        timeout_s: wall-clock limit for all shards together.

    Raises:
        SpikeportError: the first error of a shard, as raised by the backend.
        BackendUnavailableError: workers or scheduler are gone, a shard failed in another way, or
            the time limit was exceeded.
    """
    token, version = uuid.uuid4().hex, __version__
    limit = _Limit(timeout_s, sum(shard.count for shard in shards.values()))
    waiting = sorted(shards, reverse=True)
    pending: dict[Any, int] = {}
    sent: tuple[int, Any] | None = None
    while waiting or pending:
        with _scheduler_errors():
            room = AHEAD * max(1, sum(client.nthreads().values())) - len(pending)
            for index in [waiting.pop() for _ in range(min(max(room, 0), len(waiting)))]:
                shard = shards[index]
                if sent is None or sent[0] != shard.network:
                    key = f"spikeport-network-{token}-{shard.network}"
                    parts = networks[shard.network].canonical_form()
                    sent = shard.network, _submit(client, key, rebuild, *parts)
                asked = (sent[1], backend, shard.samples, tuple(record), version, timeout_s)
                key = f"spikeport-shard-{token}-{index}"
                pending[_submit(client, key, run_shard, *asked)] = index
            finished = _wait(client, tuple(pending), limit)
        for future in finished:
            index = pending.pop(future)
            run = _result(client, future, shards[index], limit)
            expected = networks[shards[index].network].content_hash
            if run.network_hash != expected:
                raise BackendUnavailableError(
                    f"dask: a worker ran network {run.network_hash[:12]}, was sent {expected[:12]}"
                )
            limit.done += run.samples
            yield index, run


@dataclass(slots=True)
class _Limit:
    """A time limit, and the progress of the run."""

    timeout_s: float | None
    total: int
    done: int = 0
    started: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        if self.timeout_s is not None and time.monotonic() - self.started > self.timeout_s:
            raise BackendUnavailableError(
                f"dask: took longer than {self.timeout_s:g} s and was stopped, {self.done} of "
                f"{self.total} samples done"
            )


def _submit(client: Any, key: str, task: Callable[..., Any], *arguments: Any) -> Any:
    """Send a task to the scheduler; arguments are passed by value, futures by reference."""
    import dask.config

    # Dask suggests scattering large arguments, but those are lost with the worker that holds them.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PiB"}):
        return client.submit(task, *arguments, key=key)


def _wait(client: Any, futures: Sequence[Any], limit: _Limit) -> set[Any]:
    """Wait until at least one future has finished; return those that have."""
    wait = require_dask().wait

    def poll() -> set[Any]:
        with client.as_current():
            finished: set[Any] = wait(futures, POLL_S, return_when="FIRST_COMPLETED").done
        return finished

    return _polled(client, poll, limit)


def _polled(client: Any, poll: Callable[[], T], limit: _Limit) -> T:
    """Call `poll`, which gives up after POLL_S, until it succeeds; workers must be there or return.

    Raises:
        BackendUnavailableError: all workers are gone, or the time limit is exceeded.
    """
    deadline = time.monotonic() + WORKERS_S
    while True:
        limit.check()
        try:
            return poll()
        except TimeoutError:
            if client.nthreads():
                deadline = time.monotonic() + WORKERS_S
            elif time.monotonic() > deadline:
                raise BackendUnavailableError(
                    f"dask: all workers are gone, and none came back for {WORKERS_S:g} s"
                ) from None


def _result(client: Any, future: Any, shard: Shard, limit: _Limit) -> Run:
    """The run of a finished shard, recomputed by Dask if it was lost with its worker."""
    which = f"samples {shard.first} to {shard.first + shard.count - 1}"

    def fetch() -> Run:
        try:
            run: Run = future.result(timeout=POLL_S)
        except TimeoutError as error:
            if future.status == "error":  # The shard's own error, not the end of this poll.
                raise RuntimeError(f"{error!r}") from error
            raise
        return run

    with _scheduler_errors():
        try:
            run = _polled(client, fetch, limit)
        except SpikeportError:
            raise
        except require_dask().KilledWorker as error:
            raise BackendUnavailableError(
                f"dask: {which} killed every worker that ran them; if memory was short, use "
                f"fewer samples per shard (now {shard.count}) or fewer workers"
            ) from error
        except Exception as error:
            if future.status != "error":  # The shard did not fail, but fetching its run did.
                raise
            raise BackendUnavailableError(f"dask: {which} failed on a worker: {error!r}") from error
    return run


@contextmanager
def _scheduler_errors() -> Iterator[None]:
    from concurrent.futures import CancelledError

    try:
        yield
    except SpikeportError:
        raise
    except (CancelledError, OSError) as error:
        raise BackendUnavailableError(
            f"dask: the scheduler was lost during the run ({error})"
        ) from error
