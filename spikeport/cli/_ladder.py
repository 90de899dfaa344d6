"""`ladder`: take your own network through every stage."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikeport.cli import _io, _shards
from spikeport.errors import CheckFailedError, InputError

if TYPE_CHECKING:
    from spikeport.ladder import Ladder


def ladder(
    network: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) written by `train`.")],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="Output folder; created if missing."),
    ] = Path("ladder"),
    data: _io.Data = "digits",
    changes: _io.DataChanges = None,
    samples: _io.Count = None,
    lava_samples: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Number of test samples that Lava runs, which is slow; 0 skips it.",
        ),
    ] = 32,
    reference_samples: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Number of test samples that the scalar reference runs; 0 skips it.",
        ),
    ] = 4,
    bits: _io.WeightBits = 8,
    timeout: _shards.Timeout = None,
    as_json: _io.Json = False,
) -> None:
    """Take a trained network through all stages up to Lava and compare them one by one.

    For a network trained in chip arithmetic, every spike must be equal, starting from training.
    Writes the network's files, report.html, report.md and ladder.json. Exit code 1 if any stage
    fails.
    """
    from spikeport.export.quantize import QuantizeConfig
    from spikeport.ladder import LadderConfig, write_ladder
    from spikeport.ladder.folder import FILES
    from spikeport.trainer.chip import QATNetwork
    from spikeport.trainer.loop import load_checkpoint

    if network.suffix != ".safetensors":
        raise InputError(f"{network}: must be a checkpoint (.safetensors) written by `train`")
    _io.check_out_folder(out, FILES, network, data)
    config = LadderConfig(
        samples=samples,
        lava_samples=lava_samples,
        reference_samples=reference_samples,
        timeout_s=timeout,
        quantize=QuantizeConfig(weight_bits=bits),
    )
    model = load_checkpoint(network).model
    dataset = _io.open_data(data, model.steps, changes)
    command = ["spikeport", "ladder", str(network), "--data", data]
    command += (word for change in changes or () for word in ("--set", change))
    command += () if isinstance(model, QATNetwork) else ("--bits", str(bits))
    command += () if samples is None else ("--samples", str(samples))
    command += ("--lava-samples", str(lava_samples))
    command += ("--reference-samples", str(reference_samples))
    command += () if timeout is None else ("--timeout", f"{timeout:g}")
    with _io.progress("ladder") as update:
        ladder_run = write_ladder(model, dataset, out, config, shlex.join(command), update)
    finish(ladder_run, out, as_json)


def finish(ladder_run: Ladder, out: Path, as_json: bool) -> None:
    """Show a ladder whose files are in `out`.

    Raises:
        CheckFailedError: a stage did not pass.
    """
    from spikeport.report.terminal import render_terminal

    if as_json:
        _io.echo_json(out / "ladder.json")
    else:
        _io.show(
            render_terminal(ladder_run.report, ladder_run.deployed_energy, ladder_run.fit),
            f"Report: {out / 'report.html'}, report.md   data: {out / 'ladder.json'}",
        )
    if not ladder_run.report.passed:
        failed = [row.stage for row in ladder_run.report.rows if not row.passed]
        raise CheckFailedError(f"ladder: failed at {', '.join(failed)}")
