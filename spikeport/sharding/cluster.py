"""Where shards run: local worker processes, or a Dask scheduler at an address.

Dask processes exchange pickled objects, so anyone who can send one can run code. Giving an address
therefore means trusting its scheduler, its workers and everyone who can reach them like local code.
Local worker processes listen on this machine only and use mutual TLS, with a key that is generated
for the run and stored in a folder that other users cannot access.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from spikeport.errors import BackendUnavailableError, InputError, MissingPackageError
from spikeport.storage import scratch_folder

CONNECT_S = 4.0
WORKERS_S = 30.0
"""How long to wait for the first worker, and whenever there are no workers."""


def require_dask() -> Any:
    """Import `distributed`.

    Raises:
        BackendUnavailableError: it is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        raise MissingPackageError(
            f"dask: the package 'distributed' cannot be imported ({error}); "
            "install it with: pip install '.[dask]'"
        ) from error
    return distributed


@contextmanager
def connected(address: str | None, workers: int | None, shards: int) -> Iterator[Any]:
    """A Dask client of the scheduler at `address`, or of a local cluster that ends with the block.

    Args:
        workers: processes of the local cluster, one per core if None, never more than `shards`.

    Raises:
        InputError: `address` is invalid.
        BackendUnavailableError: Dask is not installed, no scheduler answers at `address`, it has no
            workers, or the processes cannot be started.
    """
    # Every loss raises one of our errors; Dask would log a traceback for each connection.
    with require_dask().utils.silence_logging_cmgr(logging.CRITICAL):
        if address is None:
            with _local_cluster(workers, shards) as cluster, _client(cluster) as client:
                yield client
        else:
            with _remote(address) as client:
                yield client


@contextmanager
def _remote(address: str) -> Iterator[Any]:
    _check_address(address)
    with _client(address) as client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_S)
        except TimeoutError as error:
            raise BackendUnavailableError(
                f"dask: the scheduler at '{address}' has had no worker for {WORKERS_S:g} s; "
                f"start some with: dask worker {address}"
            ) from error
        yield client


def _check_address(address: str) -> None:
    """Ask what listens at the address; a Client would wait for the answer without a time limit."""
    distributed = require_dask()

    async def ask() -> None:
        options = distributed.security.Security().get_connection_args("client")
        async with distributed.rpc(address, timeout=CONNECT_S, connection_args=options) as peer:
            answer = await peer.identity()
        if "workers" not in answer:
            raise ConnectionError(f"that is the address of a {answer['type']}")

    try:
        distributed.comm.resolve_address(address)
    except (ValueError, ImportError) as error:
        raise InputError(
            f"dask: address '{address}': {error}; must be like tcp://host:8786"
        ) from error
    except OSError as error:
        raise _nobody(address, error) from error
    # In a thread, because the caller may be running an event loop.
    with ThreadPoolExecutor(1) as thread:
        try:
            thread.submit(lambda: asyncio.run(asyncio.wait_for(ask(), 2 * CONNECT_S))).result()
        except Exception as error:  # Dask may raise anything if another program answers.
            raise _nobody(address, error) from error


def _nobody(address: str, error: Exception) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"dask: no scheduler answers at '{address}' ({str(error) or 'not in time'}); "
        "start one with: dask scheduler"
    )


@contextmanager
def _client(target: Any) -> Iterator[Any]:
    try:
        client = require_dask().Client(target, timeout=CONNECT_S, set_as_default=False)
    except OSError as error:
        raise _nobody(str(target), error) from error
    with client:
        yield client


@contextmanager
def _local_cluster(workers: int | None, shards: int) -> Iterator[Any]:
    import dask.config
    from dask.system import CPU_COUNT

    routes: dict[str, list[str]] = {
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    with (
        scratch_folder("spikeport-dask-") as scratch,
        _without_current_folder(),
        dask.config.set(routes),
    ):
        folder = str(scratch)
        try:
            security = _credentials(scratch)
            with _ignoring_interrupts():
                cluster = require_dask().LocalCluster(
                    n_workers=min(workers or CPU_COUNT, shards),
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    security=security,
                    # The HTTP server cannot be turned off, but serves nothing without routes; port
                    # 0 means any free port.
                    dashboard_address="127.0.0.1:0",
                    # Zero means no limit: with one, Dask pauses workers for good instead of
                    # failing.
                    memory_limit=0,
                    local_directory=folder,
                    scheduler_kwargs={"local_directory": folder, "dashboard": False},
                    env={"TMPDIR": folder},
                    silence_logs=logging.CRITICAL,
                )
        except (OSError, RuntimeError) as error:
            raise BackendUnavailableError(
                f"dask: the local workers did not start ({error}); a script that calls this "
                "needs `if __name__ == '__main__':` around its top-level code"
            ) from error
        with cluster:
            yield cluster


def _credentials(folder: Path) -> Any:
    """TLS settings with a key for the processes of this run, stored in `folder`."""
    security = require_dask().security.Security
    try:
        made = security.temporary()
    except ImportError as error:
        raise MissingPackageError(
            f"dask: local workers need the package 'cryptography' ({error}); "
            "install it with: pip install '.[dask]'"
        ) from error
    paths: dict[str, str] = {}
    for name, text in (("key", made.tls_worker_key), ("cert", made.tls_worker_cert)):
        paths[name] = str(folder / f"{name}.pem")
        with open(os.open(paths[name], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    roles = {
        f"tls_{role}_{name}": path
        for role in ("client", "scheduler", "worker")
        for name, path in paths.items()
    }
    return security(require_encryption=True, tls_ca_file=paths["cert"], **roles)


@contextmanager
def _without_current_folder() -> Iterator[None]:
    """Keep Python processes started in the block from importing from the current folder."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if before is not None:
            os.environ["PYTHONSAFEPATH"] = before


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Threads and processes started in the block never receive SIGINT; this thread does later.

    Ctrl-C reaches every process of the terminal: here it ends the run, which then ends the workers.
    """
    # Start the tracker first: it unblocks SIGINT in the thread that starts it.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
