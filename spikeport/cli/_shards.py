"""Running in this process, or in shards over Dask: what `run` does with its --dask options."""

from __future__ import annotations

from collections.abc import Sequence
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
        help="Run shards on the workers of this Dask scheduler, which is trusted like your own "
        "code; `local` starts one worker per core.",
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


def compute(
    backend: str,
    pairs: Sequence[tuple[Any, Any]],
    record: Sequence[str],
    dask: str | None,
    shard: int | None,
    resume_folder: Path | None,
) -> list[Run]:
    """Run each network of `pairs` on its samples."""
    from spikeport.backends.registry import run as run_backend
    from spikeport.sharding import SHARD, run_sweep

    if dask is None:
        for option, value in (("--shard", shard), ("--resume-folder", resume_folder)):
            if value is not None:
                raise InputError(f"{option} {value}: needs --dask ADDRESS or --dask local")
        return [run_backend(backend, network, x, record=record) for network, x in pairs]
    with _io.progress("shards") as update:
        return run_sweep(
            pairs,
            backend=backend,
            address=None if dask == "local" else dask,
            shard=shard or SHARD,
            record=record,
            folder=resume_folder,
            progress=lambda done, total: update(f"{done} of {total} samples", done, total),
        )
