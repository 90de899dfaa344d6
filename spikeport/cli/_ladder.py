"""`ladder`: take your own network through every stage."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikeport.cli import _io, _shards
from spikeport.cli._foreign import Foreign, origin_tables, takes_foreign
from spikeport.errors import BackendUnavailableError, CheckFailedError, OptionError
from spikeport.network import LOIHI, DeployedNetwork

if TYPE_CHECKING:
    from spikeport.ladder import Ladder
    from spikeport.ladder.stages import LadderNetwork
    from spikeport.trainer.data import Dataset


@takes_foreign
def ladder(
    network: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint (.safetensors), float network (.nir) or deployed network (.spikeport, "
            ".nir or .net)."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="Output folder; created if missing."),
    ] = Path("ladder"),
    data: _io.Data = _io.DEFAULT_DATA,
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
    bits: Annotated[
        int | None,
        typer.Option(
            "--bits",
            metavar="N",
            help="Number of bits per weight when quantizing, 2 to 8 (default: 8).",
        ),
    ] = None,
    target: _io.QuantizationTarget = None,
    input_coding: _io.InputCoding = None,
    calibration: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of training samples used to choose the scales when quantizing (default: "
            "256).",
        ),
    ] = None,
    ann: Annotated[
        Path | None,
        typer.Option(
            "--ann",
            metavar="FILE",
            help="Checkpoint (.safetensors) of the ANN that the network was converted from: the "
            "first stage.",
        ),
    ] = None,
    timeout: _shards.Timeout = None,
    *,
    foreign: Foreign,
    as_json: _io.Json = False,
) -> None:
    """Take a network through all stages up to Lava and compare them one by one.

    A checkpoint starts with training, any other float network with its graph, and a network of chip
    integers, whose spikes must all be equal, with native. With --ann, the ANN comes first. Of a
    network with too many synapses, the scalar reference recomputes sampled neurons. Writes the
    network's files, report.html, report.md and ladder.json. Exit code 1 if any stage fails, 3 if a
    backend breaks off.
    """
    from spikeport.export import QuantizeConfig
    from spikeport.ladder import LadderConfig, write_ladder
    from spikeport.ladder.ann import ann_of
    from spikeport.ladder.config import CALIBRATION
    from spikeport.ladder.folder import FILES
    from spikeport.trainer.chip import QATNetwork
    from spikeport.trainer.loop import load_checkpoint

    _io.check_out_folder(out, FILES, network, data, ann)
    config = LadderConfig(
        samples=samples,
        calibration=CALIBRATION if calibration is None else calibration,
        lava_samples=lava_samples,
        reference_samples=reference_samples,
        timeout_s=timeout,
        quantize=QuantizeConfig(
            weight_bits=LOIHI.weight_bits if bits is None else bits,
            target=target,
            input_coding=input_coding,
        ),
        profile=_profile(target),
    )
    before = None if ann is None else load_checkpoint(ann).model
    model, dataset = _opened(network, foreign, data, changes)
    origin = None if before is None else ann_of(model, before, f"--ann {ann}")
    given = {
        "--bits": bits,
        "--target": target,
        "--input-coding": input_coding,
        "--calibration": calibration,
    }
    words = [(name, str(value)) for name, value in given.items() if value is not None]
    if words and isinstance(model, QATNetwork | DeployedNetwork):
        raise OptionError(f"{' '.join(words[0])}: {network} already contains chip integers")
    command = ["spikeport", "ladder", str(network), "--data", data]
    command += (word for change in changes or () for word in ("--set", change))
    command += foreign.words()
    command += (word for pair in words for word in pair)
    command += () if samples is None else ("--samples", str(samples))
    command += ("--lava-samples", str(lava_samples))
    command += ("--reference-samples", str(reference_samples))
    command += () if ann is None else ("--ann", str(ann))
    command += () if timeout is None else ("--timeout", f"{timeout:g}")
    with _io.progress("ladder") as update:
        ladder_run = write_ladder(
            model, dataset, out, config, shlex.join(command), update, ann=origin
        )
    finish(ladder_run, out, as_json)


def _profile(target: str | None) -> str:
    """The prices of the chip that a network is quantized for, if it has any."""
    from spikeport.energy import DEFAULT_PROFILE, builtin_profiles

    return target if target in builtin_profiles() else DEFAULT_PROFILE


def _opened(
    path: Path, foreign: Foreign, data: str, changes: list[str] | None
) -> tuple[LadderNetwork, Dataset]:
    """The network, of a checkpoint as trained, and its data."""
    from spikeport.trainer.loop import load_checkpoint

    if path.suffix in _io.CHECKPOINT and not foreign.given():
        model = load_checkpoint(path).model
        return model, _io.open_data(data, model.steps, changes)
    opened = _io.open_network(path, foreign)
    dataset = _io.open_data(data, opened.steps, changes)
    _io.check_default(data, opened.inputs, dataset)
    if isinstance(opened, DeployedNetwork):
        return opened, dataset
    return _io.declared(opened, dataset), dataset


def finish(ladder_run: Ladder, out: Path, as_json: bool) -> None:
    """Show a ladder whose files are in `out`.

    Raises:
        CheckFailedError: a stage did not pass.
        BackendUnavailableError: a backend failed or took too long; all other stages are shown.
    """
    from spikeport.report.conversion import conversion_sections
    from spikeport.report.terminal import render_section, render_terminal

    if as_json:
        _io.echo_json(out / "ladder.json")
    else:
        _io.show(
            *origin_tables(ladder_run.network),
            *map(
                render_section,
                conversion_sections(ladder_run.report, ladder_run.network.provenance),
            ),
            render_terminal(
                ladder_run.report,
                ladder_run.shown_energy,
                ladder_run.chip.fit,
                ladder_run.chip.energy,
            ),
            f"Report: {out / 'report.html'}, report.md   data: {out / 'ladder.json'}",
        )
    if not ladder_run.report.passed:
        failed = [row.stage for row in ladder_run.report.rows if not row.passed]
        raise CheckFailedError(f"ladder: failed at {', '.join(failed)}")
    for stage in ladder_run.report.skipped:
        if stage.failed:
            raise BackendUnavailableError(f"ladder: {stage.stage} did not finish: {stage.reason}")
