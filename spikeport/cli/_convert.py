"""`convert`: from a trained ANN to integrate-and-fire neurons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikeport.checks import integer
from spikeport.cli import _io
from spikeport.cli._tables import facts_table, layers_table
from spikeport.errors import OptionError
from spikeport.report.screen import Table

if TYPE_CHECKING:
    from spikeport.trainer.conversion.result import ConversionResult


def convert(
    ann: Annotated[
        str,
        typer.Argument(
            help="Checkpoint (.safetensors) of an ANN, or FILE.py:CLASS, your own torch module, "
            "with --weights."
        ),
    ],
    out: _io.Out,
    data: _io.Data = _io.DEFAULT_DATA,
    changes: _io.DataChanges = None,
    steps: Annotated[
        int, typer.Option("--steps", "-T", metavar="N", help="Number of steps T per sample.")
    ] = 8,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="`tuned`, `qcfs`, `quantized-ann`, `data-based` or `initial-potential`; see "
            "docs/conversion.md.",
        ),
    ] = "tuned",
    levels: Annotated[
        int | None,
        typer.Option(metavar="N", help="Levels L of the activations while they are trained."),
    ] = None,
    search: Annotated[
        bool | None,
        typer.Option(
            "--search/--no-search",
            help="Search thresholds layer by layer on real spikes (the default of `tuned`).",
        ),
    ] = None,
    shortcuts: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What the shortcuts of residual blocks carry: `analog` sums as built, `activated` "
            "or `fired` spikes (default: `tuned` takes those of least input variance, if it pays).",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(metavar="N", help="Passes over the training samples to train thresholds."),
    ] = None,
    lr: Annotated[float | None, typer.Option(metavar="X", help="Initial learning rate.")] = None,
    percentile: Annotated[
        float | None,
        typer.Option(metavar="X", help="Percentile of activations that thresholds start from."),
    ] = None,
    calibration: Annotated[
        int | None,
        typer.Option(metavar="N", help="Training samples for percentiles and the search."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Weights of FILE.py:CLASS: its state_dict() as .safetensors."
        ),
    ] = None,
    trained: Annotated[
        Path | None,
        typer.Option(
            "--ann",
            metavar="FILE",
            help="Also write the ANN with its trained thresholds, after every epoch.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the training of thresholds from --ann.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of training.")] = 0,
    threads: Annotated[int, typer.Option(metavar="N", help="Number of torch threads.")] = 1,
    samples: _io.Count = None,
    as_json: _io.Json = False,
) -> None:
    """Convert a trained ANN to a spiking network; write its checkpoint.

    The ANN consists of convolutions, linear layers, batch norms, ReLUs, average pools and residual
    sums; train one with `spikeport train` and `training.activation`, or in plain torch. Training of
    thresholds augments samples as the recipe in --data does. The checkpoint is taken by all other
    verbs. `tuned` is TTRBR-style, reconstructed from the abstract of Meng et al. 2022.
    """
    from spikeport.trainer import checkpoint_of, save_checkpoint
    from spikeport.trainer.conversion import ConversionConfig, ConversionProgress
    from spikeport.trainer.conversion import convert as run_conversion
    from spikeport.trainer.conversion.result import measure_conversion
    from spikeport.trainer.conversion.source import open_ann
    from spikeport.trainer.recipe import load_recipe

    file = ann.rpartition(":")[0] or ann
    inputs = (file, data, weights)
    _io.check_out("--out", out, _io.CHECKPOINT, *inputs)
    if trained is not None:
        _io.check_out("--ann", trained, _io.CHECKPOINT, *inputs)
        if trained.resolve() == out.resolve():
            raise OptionError(f"--ann {trained}: is also --out, must be another file")
    elif resume:
        raise OptionError("--resume: needs --ann, the file to continue from")
    integer("--threads", threads, 1, 1024)
    given = {
        "levels": levels,
        "search": search,
        "shortcuts": shortcuts,
        "epochs": epochs,
        "lr": lr,
        "percentile": percentile,
        "calibration": calibration,
    }
    asked: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    config = ConversionConfig(method=method, steps=steps, **asked)  # type: ignore[arg-type]
    network = open_ann(ann, weights)  # what it refuses is refused before data are loaded
    dataset = _io.open_data(data, 1, changes)
    augment = load_recipe(data).training.augment if data.endswith(".toml") else None
    with _io.progress("converting") as update:
        made = run_conversion(
            network,
            dataset,
            config,
            augment=augment,
            threads=threads,
            seed=seed,
            checkpoint=trained,
            resume=resume,
            progress=ConversionProgress(part=lambda name: update(name, 0, 1)),
        )
    save_checkpoint(out, checkpoint_of(made.network, dataset))
    result = measure_conversion(made, dataset, samples)
    facts = {"checkpoint": str(out), **result.as_dict()}
    short = {
        key: value
        for key, value in facts.items()
        if key not in ("tuned", "errors", "seconds", "input_variance_by_shortcuts")
    }
    for name, seconds in made.seconds.items():
        short[f"seconds_{name}"] = round(seconds, 1)
    for kind, variance in made.variances.items():
        short[f"input_variance_{kind}"] = variance
    _io.emit(as_json, facts, facts_table("Converted", short), _layers(result))


def _layers(result: ConversionResult) -> Table:
    """Thresholds and errors, a row for each layer."""
    made = result.conversion
    title = f"Errors after {made.config.steps} steps, relative to the activation"
    return layers_table(title, result.errors, {each.layer: each.before for each in made.tuned})
