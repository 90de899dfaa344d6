"""`diagnose`: how accurate rate-based gradients are, or a conversion from an ANN."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikeport.cli import _io
from spikeport.cli._conversion import conversion_tables, diagnose_conversions
from spikeport.cli._foreign import Foreign, takes_foreign
from spikeport.cli._numbers import numbers
from spikeport.errors import OptionError
from spikeport.report.screen import Table
from spikeport.runs import check_classes
from spikeport.version import __version__

if TYPE_CHECKING:
    from spikeport.trainer.diagnosis import Diagnosis


@takes_foreign
def diagnose(
    networks: Annotated[
        list[Path],
        typer.Argument(
            metavar="NETWORK",
            help="Checkpoint (.safetensors); with --conversion one or several converted networks, "
            "checkpoints or NIR graphs (.nir).",
        ),
    ],
    conversion: Annotated[
        bool,
        typer.Option(
            "--conversion",
            help="Measure the conversion errors of networks converted from ANNs instead, side by "
            "side.",
        ),
    ] = False,
    ann: Annotated[
        Path | None,
        typer.Option(
            metavar="CHECKPOINT",
            help="The ANN, as written by `spikeport convert --ann`: also measure the total error "
            "against it. Implies --conversion.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="HTML page to write.")
    ] = Path("diagnosis.html"),
    data: _io.Data = _io.DEFAULT_DATA,
    changes: _io.DataChanges = None,
    samples: _io.Count = 1000,
    steps: Annotated[
        str | None,
        typer.Option(
            "--steps",
            "-T",
            metavar="N,...",
            help="Values of T that are compared (default: 1,2,4,8 as far as the samples allow, "
            "with --conversion 4,8,16,32, and each network's T).",
        ),
    ] = None,
    *,
    foreign: Foreign,
    as_json: _io.Json = False,
) -> None:
    """Measure firing, gradients versus BPTT, independence and the time-shuffle test.

    With --conversion: quantization, deviation and total error of every layer of networks converted
    from ANNs, and their accuracy, after several numbers of steps; see docs/conversion.md.
    Accuracies are computed on all samples, everything else on the first 64. The page is
    self-contained.
    """
    from spikeport.report.conversion_errors import render_conversions
    from spikeport.report.diagnosis import render_diagnosis
    from spikeport.storage import write_text
    from spikeport.trainer.diagnosis import diagnose as run_diagnosis
    from spikeport.trainer.loop import load_checkpoint

    _io.check_out("--out", out, _io.PAGE, *networks, ann, data)
    counts = None if steps is None else numbers("--steps", steps)

    def facts(count: int, **more: str) -> dict[str, str]:
        command = ["spikeport", "diagnose", *map(str, networks), "--data", data]
        command += ("--samples", str(count), "--out", str(out))
        command += () if steps is None else ("--steps", steps)
        command += (word for change in changes or () for word in ("--set", change))
        command += ("--conversion",) if conversion and ann is None else ()
        command += () if ann is None else ("--ann", str(ann))
        command += foreign.words()
        versions = {"spikeport": __version__, "torch": version("torch")}
        return {"command": shlex.join(command), **more, "data": data, **versions}

    if conversion or ann is not None:
        found, origins = diagnose_conversions(
            networks, ann, data, changes, samples, counts, foreign
        )
        reference = {} if ann is None else {"ann": str(ann)}
        write_text(out, render_conversions(found, facts(found.samples, **reference), origins))
        result = {"page": str(out), **reference, "origins": origins, **found.as_dict()}
        _io.emit(as_json, result, *conversion_tables(found, origins), f"Page: {out}")
        return
    checkpoint = _one_checkpoint(networks, foreign)
    loaded = load_checkpoint(checkpoint)
    dataset = _io.open_data(data, loaded.model.steps, changes)
    check_classes(f"data set '{dataset.name}'", dataset.classes, loaded.model.classes)
    x, y = dataset.test_x[:samples], dataset.test_y[:samples]
    with _io.progress("diagnosis"):
        made = run_diagnosis(loaded.model, x, y, counts)
    trained = {"checkpoint": str(checkpoint), "epochs trained": str(len(loaded.history))}
    write_text(out, render_diagnosis(made, facts(len(y), **trained)))
    _io.emit(as_json, {"page": str(out), **made.as_dict()}, *_tables(made), f"Page: {out}")


def _one_checkpoint(networks: Sequence[Path], foreign: Foreign) -> Path:
    """The checkpoint whose gradients are diagnosed."""
    path, *more = networks
    rest = "add --conversion for the errors of networks converted from ANNs"
    if more:
        raise OptionError(
            f"diagnose: {len(networks)} networks, but gradients are those of one; {rest}"
        )
    if path.suffix in _io.NIR:
        raise OptionError(f"{path}: is a NIR file, but gradients need a checkpoint; {rest}")
    if words := foreign.words():
        raise OptionError(f"{words[0]}: describes NIR files, which need --conversion")
    return path


def _tables(found: Diagnosis) -> Iterator[Table]:
    shuffle = Table("Accuracy, with spikes shuffled over time")
    for name in ("", "accuracy", "95 %", "n"):
        shuffle.add_column(name, justify="left" if name == "" else "right")
    for name, reached in (
        ("unshuffled", found.shuffle.whole),
        ("shuffled by neuron", found.shuffle.by_neuron),
        ("shuffled by layer", found.shuffle.by_layer),
    ):
        spread = f"{100 * reached.low:.2f}..{100 * reached.high:.2f}"
        shuffle.add_row(name, f"{100 * reached.rate:.2f} %", spread, str(reached.n))
    yield shuffle
    firing = Table(f"Firing, {found.probed} samples")
    for name in ("layer", "spikes per neuron and step", "silent %"):
        firing.add_column(name, justify="left" if name == "layer" else "right")
    for entry in found.activity:
        firing.add_row(entry.layer, f"{entry.rate:.4f}", f"{100 * entry.silent:.1f}")
    yield firing
    steps = sorted({entry.steps for entry in found.agreement})
    cosines = Table("Cosine (ratio of norms) between rate-based and BPTT gradients")
    cosines.add_column("weights of")
    for count in steps:
        cosines.add_column(f"T = {count}", justify="right")
    at = {(entry.layer, entry.steps): entry for entry in found.agreement}
    for layer in dict.fromkeys(entry.layer for entry in found.agreement):
        row = [at[layer, count] for count in steps]
        cosines.add_row(layer, *(f"{entry.cosine:.4f} ({entry.ratio:.3f})" for entry in row))
    yield cosines
    errors = Table("Error of assuming independence over time")
    for name in ("layer", "assumption"):
        errors.add_column(name)
    for name in ("error", "cosine"):
        errors.add_column(name, justify="right")
    for part in found.independence:
        errors.add_row(part.layer, part.kind, f"{part.error:.4f}", f"{part.cosine:.4f}")
    yield errors
