"""Running in this process, or in shards over Dask: what `run` does with its --dask options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from spikeport.cli import _io
from spikeport.errors import InputError
from spikeport.runs import Run

Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="Run shards on the workers of this Dask scheduler; it, its workers and anyone who "
        "can reach them can run code as you. `local` starts one private worker per core.",
    ),
]
ShardSize = Annotated[
    int | None, typer.Option("--shard", min=1, help="With --dask: samples per shard.")
]
ResumeFolder = Annotated[
    Path | None,
    typer.Option(
        "--resume-folder", help="With --dask: keep finished shards here, take those found here."
    ),
]


Timeout = Annotated[
    float | None, typer.Option(min=0.001, help="Seconds; for backends that take minutes.")
]


@dataclass(frozen=True, slots=True)
class Asked:
    """How the user wants networks to be run."""

    dask: str | None = None
    shard: int | None = None
    resume_folder: Path | None = None
    timeout_s: float | None = None


def compute(backend: str, pairs: Sequence[tuple[Any, Any]], asked: Asked) -> list[Run]:
    """Run each network of `pairs` on its samples."""
    if asked.dask is None:
        for option, value in (("--shard", asked.shard), ("--resume-folder", asked.resume_folder)):
            if value is not None:
                raise InputError(f"{option} {value}: needs --dask ADDRESS or --dask local")
        check_timeout([backend], asked.timeout_s)
        return _one_process(backend, pairs, asked.timeout_s)
    from spikeport.sharding import SHARD, run_sweep

    with _io.progress("shards") as update:
        return run_sweep(
            pairs,
            backend=backend,
            address=None if asked.dask == "local" else asked.dask,
            shard=asked.shard or SHARD,
            folder=asked.resume_folder,
            timeout_s=asked.timeout_s,
            progress=lambda done, total: update(f"{done} of {total} samples", done, total),
        )


def check_timeout(backends: Sequence[str], timeout_s: float | None) -> None:
    """Refuse a --timeout that no backend would keep."""
    from spikeport.backends import backend, list_backends

    if timeout_s is not None and not any(backend(name).timed for name in backends):
        names = ", ".join(dict.fromkeys(backends))
        timed = [one.name for one in list_backends().values() if one.timed]
        raise InputError(
            f"--timeout {timeout_s:g}: {names}: takes none here, only {' and '.join(timed)} "
            f"{'does' if len(timed) == 1 else 'do'}"
        )


def _one_process(name: str, pairs: Sequence[tuple[Any, Any]], timeout_s: float | None) -> list[Run]:
    from spikeport.backends import run as run_backend
    from spikeport.backends import timed

    with _io.progress(name) as update:
        options = timed(name, timeout_s, partial(update, name))
        return [run_backend(name, network, x, **options) for network, x in pairs]
