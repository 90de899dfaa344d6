"""`diagnose`: how accurate rate-based gradients are for a trained network."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spikeport.cli import _io
from spikeport.cli._numbers import numbers
from spikeport.report.screen import Table
from spikeport.runs import check_classes
from spikeport.version import __version__

if TYPE_CHECKING:
    from spikeport.trainer.diagnosis import Diagnosis


def diagnose(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors).")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="HTML page to write.")
    ] = Path("diagnosis.html"),
    data: _io.Data = "digits",
    changes: _io.DataChanges = None,
    samples: _io.Count = 1000,
    steps: Annotated[
        str | None,
        typer.Option(
            "--steps",
            "-T",
            metavar="N,...",
            help="Values of T for which gradients are compared (default: 1,2,4,8 as far as the "
            "samples allow, and the network's T).",
        ),
    ] = None,
    as_json: _io.Json = False,
) -> None:
    """Measure firing, gradients versus BPTT, independence and the time-shuffle test.

    Accuracies are computed on all samples, gradients and firing on the first 64. The page is
    self-contained.
    """
    from spikeport.report.diagnosis import render_diagnosis
    from spikeport.storage import write_text
    from spikeport.trainer.diagnosis import diagnose as run_diagnosis
    from spikeport.trainer.loop import load_checkpoint

    _io.check_out("--out", out, _io.PAGE, checkpoint, data)
    loaded = load_checkpoint(checkpoint)
    dataset = _io.open_data(data, loaded.model.steps, changes)
    check_classes(f"data set '{dataset.name}'", dataset.classes, loaded.model.classes)
    counts = None if steps is None else numbers("--steps", steps)
    x, y = dataset.test_x[:samples], dataset.test_y[:samples]
    with _io.progress("diagnosis"):
        found = run_diagnosis(loaded.model, x, y, counts)
    command = ["spikeport", "diagnose", str(checkpoint), "--data", data]
    command += ("--samples", str(len(y)), "--out", str(out))
    command += () if steps is None else ("--steps", steps)
    command += (word for change in changes or () for word in ("--set", change))
    facts = {
        "command": shlex.join(command),
        "checkpoint": str(checkpoint),
        "epochs trained": str(len(loaded.history)),
        "data": data,
        "spikeport": __version__,
        "torch": version("torch"),
    }
    write_text(out, render_diagnosis(found, facts))
    _io.emit(as_json, {"page": str(out), **found.as_dict()}, *_tables(found), f"Page: {out}")


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
