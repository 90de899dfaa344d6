"""`demo`: the whole chain on real digits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikeport.cli import _io, _shards
from spikeport.cli._ladder import finish


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for what it makes.")] = Path(
        "demo"
    ),
    epochs: Annotated[int | None, typer.Option(help="Training epochs.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same result.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's checkpoint.")
    ] = False,
    timeout: _shards.Timeout = None,
    as_json: _io.Json = False,
) -> None:
    """Train on digits, quantize, exchange as NIR, run everywhere, compare and price.

    Ends with the parity ladder; report.html and ladder.json lie in the folder beside every
    network file. Exit code 1 if any stage lost what it must keep.
    """
    from spikeport.ladder import LadderConfig, run_demo
    from spikeport.trainer.config import TrainConfig

    training = TrainConfig(seed=seed) if epochs is None else TrainConfig(seed=seed, epochs=epochs)
    with _io.progress("demo") as update:
        ladder = run_demo(
            out,
            training=training,
            ladder=LadderConfig(timeout_s=timeout),
            resume=resume,
            progress=update,
        )
    finish(ladder, out, as_json)
