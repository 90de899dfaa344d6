"""Shared by the verbs: open networks and data, print tables or JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikeport.cli._foreign import Foreign
from spikeport.errors import InputError, OptionError
from spikeport.network import DeployedNetwork, Input
from spikeport.runs import (
    ResetSchedule,
    SampleSet,
    check_classes,
    check_float_samples,
    encode_samples,
    float_range,
    same_range,
)
from spikeport.storage import check_output, parse_change

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from spikeport.export.nir import FloatNetwork
    from spikeport.report.screen import Renderable
    from spikeport.trainer.data import Dataset

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
DEFAULT_DATA = "digits"
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="NAME",
        help="A data set such as `digits` or `mnist`, an .npz file, a folder of images, or a "
        "recipe (.toml).",
    ),
]
DataChanges = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="data.KEY=VALUE",
        help="Change a data setting, such as data.full_scale=16; repeatable.",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write.")]
RecipeName = Annotated[str, typer.Argument(help="Name of a built-in recipe, or a .toml file.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting of the recipe, such as training.steps=2; repeatable.",
    ),
]
EnergyPrices = Annotated[
    str | None,
    typer.Option(
        "--energy-profile",
        metavar="PROFILE",
        help="Energy prices: a built-in profile, or a .toml file.",
    ),
]
Lines = Annotated[bool, typer.Option("--lines", help="Print one line per epoch to standard error.")]
Start = Annotated[
    Path | None,
    typer.Option("--from", metavar="CHECKPOINT", help="Start from the weights of this checkpoint."),
]
Teacher = Annotated[
    Path | None,
    typer.Option(
        "--teacher",
        metavar="CHECKPOINT",
        help="Network whose outputs are the targets of distillation (default: the --from network).",
    ),
]
WeightBits = Annotated[
    int,
    typer.Option("--bits", metavar="N", help="Number of bits per weight when quantizing, 2 to 8."),
]
Calibration = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Number of training samples used to choose the scales."),
]
QuantizationTarget = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        metavar="NAME",
        help="Keep to what a target takes, and show what it costs: a chip such as loihi1, a "
        "backend, or `netx`, lava-dl's format.",
    ),
]
InputCoding = Annotated[
    str | None,
    typer.Option(
        "--input-coding",
        metavar="NAME",
        help="How graded inputs are sent: `graded`, `binary` (as spikes of binary digits, the "
        "default for targets whose spikes carry no value) or `rate` (as neurons of this rate).",
    ),
]
ConvertedFrom = Annotated[
    Path | None,
    typer.Option(
        "--ann",
        metavar="FILE",
        help="Checkpoint (.safetensors) of the ANN that the network was converted from: compare "
        "energies with it, not with an ANN of the network's own layers.",
    ),
]
ChipBits = Annotated[
    int | None,
    typer.Option(
        "--bits",
        metavar="N",
        help="Train the --from network in chip arithmetic, 2 to 8 bits per weight.",
    ),
]
Count = Annotated[
    int | None,
    typer.Option("--samples", "-n", min=1, metavar="N", help="Use only the first N test samples."),
]

ResetInterval = Annotated[
    int | None,
    typer.Option(
        "--reset-interval",
        metavar="N",
        help="Run all samples as one continuous stream, in which neurons start afresh every N "
        "steps only, as in lava-dl's netx.",
    ),
]
ResetOffset = Annotated[
    int,
    typer.Option(
        "--reset-offset",
        metavar="N",
        help="Step of the first such reset; 0 is the start of a sample, which netx counts as 1.",
    ),
]

Clip = Annotated[
    bool,
    typer.Option(
        "--clip",
        help="Clip sample values beyond the network's declared range instead of refusing them.",
    ),
]


CHIP, NIR, NETX, CHECKPOINT = (".spikeport",), (".nir",), (".net",), (".safetensors",)
PAGE, TRACE = (".html", ".htm"), (".h5", ".hdf5")
"""Suffixes for each kind of output."""


def resets(interval: int | None, offset: int) -> ResetSchedule | None:
    """The schedule of the options; None without an interval."""
    if interval is None:
        if offset:
            raise OptionError(f"--reset-offset {offset}: needs --reset-interval")
        return None
    return ResetSchedule(interval, offset)


def check_out(option: str, out: Path, suffixes: Iterable[str], *inputs: str | Path | None) -> None:
    """Refuse an output before anything is computed for it: see `files.check_output`.

    Args:
        inputs: every file that the verb reads; names that are not files are ignored.
    """
    try:
        check_output(out, suffixes=suffixes, inputs=[name for name in inputs if name is not None])
    except InputError as error:
        raise type(error)(f"{option} {error}") from None


def check_out_folder(folder: Path, names: Iterable[str], *inputs: str | Path | None) -> None:
    """Like `check_out`, for output files with these names in `folder`."""
    if folder.is_dir():
        for name in names:
            check_out("--out", folder / name, (), *inputs)


def open_network(path: Path, foreign: Foreign) -> DeployedNetwork | FloatNetwork:
    """Like `workflow.open_network`."""
    from spikeport.workflow import open_network as open_file

    return open_file(path, **foreign.given())


def open_deployed(path: Path, foreign: Foreign) -> DeployedNetwork:
    """Like `open_network`, refusing a float graph."""
    network = open_network(path, foreign)
    if not isinstance(network, DeployedNetwork):
        raise OptionError(f"{path}: is a float graph; use `spikeport quantize` to deploy it")
    return network


def open_data(name: str, steps: int, changes: Sequence[str] | None = None) -> Dataset:
    """Load a data set by name, by path, or as described by a recipe (.toml).

    Args:
        steps: T, for events.
        changes: settings to change, data.KEY=VALUE.
    """
    from spikeport.trainer.data import load_dataset

    asked = dict(parse_change(change) for change in changes or ())
    if name.endswith(".toml"):
        from spikeport.trainer.recipe import load_recipe

        return load_dataset(load_recipe(name, asked).data, steps)
    for key in asked:
        if not key.startswith("data."):
            raise OptionError(f"--set {key}: must be a data setting, such as data.full_scale=16")
    options = {key.removeprefix("data."): value for key, value in asked.items()}
    return load_dataset(name, steps, **options)


def data_for(
    network: DeployedNetwork | FloatNetwork,
    name: str,
    changes: Sequence[str] | None,
    *,
    labels_used: bool = True,
) -> Dataset:
    """Like `open_data`; also compares its classes with the network's outputs (`check_classes`)."""
    data = open_data(name, network.steps, changes)
    check_default(name, network.inputs, data)
    subject = f"data set '{data.name}'"
    check_classes(subject, data.classes, network.output_count, labels_used=labels_used)
    return data


def check_default(name: str, inputs: Sequence[Input], data: Dataset) -> None:
    """Refuse the default data set for a network of other samples, and say how to name another.

    Raises:
        InputError: no input takes a sample of it.
    """
    if name == DEFAULT_DATA and all(part.size != data.input.size for part in inputs):
        shapes = ", ".join(f"'{part.name}' takes {part.shape}" for part in inputs)
        raise OptionError(
            f"--data {name} (the default): samples have shape {data.input.shape}, input {shapes}; "
            "name data of this network by --data"
        )


def chip_samples(
    network: DeployedNetwork, data: Dataset, count: int | None = None, clip: bool = False
) -> SampleSet:
    """The first test samples, encoded as integers for the network."""
    compare_ranges(network.inputs, data)
    return encode_samples(
        network.inputs, network.steps, data.test_x[:count], static=True, clip=clip
    )


def float_samples(
    network: FloatNetwork, data: Dataset, count: int | None = None, clip: bool = False
) -> SampleSet:
    """The first test samples in float units, checked against the network's inputs."""
    compare_ranges(network.inputs, data)
    return check_float_samples(
        network.inputs, network.steps, data.test_x[:count], static=True, clip=clip
    )


def declared(network: FloatNetwork, data: Dataset) -> FloatNetwork:
    """The network, with the input of the data set (and a warning) if its own is not declared."""
    if not network.inputs_assumed or len(network.inputs) != 1:
        compare_ranges(network.inputs, data)
        return network
    (own,) = network.inputs
    taken = replace(data.input, name=own.name, shape=own.shape)
    if taken != own:
        _log.warning(
            "input '%s': the file does not declare its values; assumed to be those of data set "
            "'%s', %s values of %g..%g (integers %d..%d)",
            own.name, data.name, taken.coding, *float_range(taken), taken.low, taken.high,
        )  # fmt: skip
    provenance = {**network.provenance}
    if "assumed_inputs" in provenance:
        provenance["assumed_inputs"] = (
            f"those of data set '{data.name}', {taken.coding} {taken.low}..{taken.high}"
        )
    return replace(network, inputs=(taken,), inputs_assumed=False, provenance=provenance)


def input_facts(samples: SampleSet) -> dict[str, str]:
    """Changes made by encoding the samples, as table rows; empty if there are none."""
    changed = [change for change in samples.changes if change.clipped or change.rounded]
    return {f"input_{change.input}": str(change) for change in changed}


def compare_ranges(inputs: Sequence[Input], data: Dataset) -> None:
    """Warn if the data set and the network's input declare different ranges of values."""
    if len(inputs) == 1 and not same_range(inputs[0], data.input):
        ranges = [f"{low:g}..{high:g}" for low, high in map(float_range, (inputs[0], data.input))]
        _log.warning(
            "input '%s': declares values of %s, data set '%s' has %s; was the network trained on "
            "other data, or with other levels, mean and std (give its recipe as --data)?",
            inputs[0].name, ranges[0], data.name, ranges[1],
        )  # fmt: skip


def emit(as_json: bool, data: Mapping[str, Any], *parts: Renderable) -> None:
    """Print the result: as JSON, or as tables."""
    if as_json:
        typer.echo(json.dumps(data, indent=2))
    else:
        show(*parts)


def echo_json(path: Path) -> None:
    """Print a JSON file that was just written."""
    typer.echo(path.read_text("utf-8"), nl=False)


def show(*parts: Renderable) -> None:
    """Print tables and lines."""
    from spikeport.report import screen

    screen.show(*parts)


def progress(text: str) -> AbstractContextManager[Callable[[str, int, int], None]]:
    """A progress bar on standard error, on terminals only; yields `update(text, done, total)`."""
    from spikeport.report import screen

    return screen.progress(text)
