"""`demo`: the complete toolchain on real digits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spikeport.cli import _io, _shards
from spikeport.cli._ladder import finish


def demo(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="Output folder; created if missing."),
    ] = Path("demo"),
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Number of training epochs.")
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Random seed; the same seed gives the same result.")
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue training from the checkpoint in --out.")
    ] = False,
    timeout: _shards.Timeout = None,
    as_json: _io.Json = False,
) -> None:
    """Train on digits, quantize, exchange as NIR, run everywhere, compare and price.

    Ends with the parity ladder; report.html, report.md and ladder.json are written to the folder
    together with all network files. Exit code 1 if any stage fails.
    """
    from spikeport.ladder import LadderConfig, run_demo
    from spikeport.ladder.demo import CHIP
    from spikeport.trainer.config import TrainConfig

    training = TrainConfig(seed=seed) if epochs is None else TrainConfig(seed=seed, epochs=epochs)
    with _io.progress("demo") as update:
        ladder = run_demo(
            out,
            training=training,
            ladder=LadderConfig(timeout_s=timeout, profile=CHIP),
            resume=resume,
            progress=update,
        )
    finish(ladder, out, as_json)
