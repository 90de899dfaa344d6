"""Run networks in this process, or in shards over Dask: the --dask options of `run`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from spikeport.cli import _io
from spikeport.errors import OptionError
from spikeport.runs import Run

Dask = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS",
        help="Run shards on the workers of this Dask scheduler; it, its workers and anyone who "
        "can connect to them can run code as you. `local` starts one private worker per core.",
    ),
]
ShardSize = Annotated[
    int | None,
    typer.Option("--shard", min=1, metavar="N", help="With --dask: number of samples per shard."),
]
ResumeFolder = Annotated[
    Path | None,
    typer.Option(
        "--resume-folder",
        metavar="FOLDER",
        help="With --dask: save finished shards here, and reuse them.",
    ),
]


Timeout = Annotated[
    float | None,
    typer.Option(
        min=0.001, metavar="SECONDS", help="Time limit of a backend that has one, such as lava."
    ),
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
    from spikeport.workflow import run_networks

    with running(backend, asked) as options:
        return run_networks(pairs, backend=backend, **options)


@contextmanager
def running(backend: str, asked: Asked) -> Iterator[dict[str, Any]]:
    """What was asked for as options of `run_networks`, with a progress bar."""
    if asked.dask is None:
        for option, value in (("--shard", asked.shard), ("--resume-folder", asked.resume_folder)):
            if value is not None:
                raise OptionError(f"{option} {value}: needs --dask ADDRESS or --dask local")
        check_timeout([backend], asked.timeout_s)
    with _io.progress(backend if asked.dask is None else "shards") as update:
        yield {
            "dask": asked.dask,
            "shard": asked.shard,
            "folder": asked.resume_folder,
            "timeout_s": asked.timeout_s,
            "progress": update,
        }


def check_timeout(backends: Sequence[str], timeout_s: float | None) -> None:
    """Refuse a --timeout that no backend would respect."""
    from spikeport.backends import backend, list_backends

    if timeout_s is not None and not any(backend(name).timed for name in backends):
        names = ", ".join(dict.fromkeys(backends))
        timed = [one.name for one in list_backends().values() if one.timed]
        raise OptionError(
            f"--timeout {timeout_s:g}: {names}: no time limit here, only {' and '.join(timed)} "
            f"{'has' if len(timed) == 1 else 'have'} one"
        )
