"""What the verbs share: opening networks and data, printing tables or JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikeport.checks import choice
from spikeport.errors import InputError
from spikeport.network import DeployedNetwork, FloatNetwork, Input, Reset
from spikeport.runs import (
    SampleSet,
    check_classes,
    check_float_samples,
    encode_samples,
    float_range,
    output_count,
    same_range,
)
from spikeport.storage import check_output, parse_change

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from spikeport.report.screen import Renderable
    from spikeport.trainer.data import Dataset

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Data = Annotated[
    str,
    typer.Option(
        "--data", help="`digits`, `mnist`, ...; an .npz file; a folder of images; a recipe (.toml)."
    ),
]
DataChanges = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="data.KEY=VALUE", help="Change a data setting, such as data.full_scale=16."
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="File to write.")]
Dt = Annotated[
    float | None, typer.Option("--dt", help="Seconds per step of a NIR file from elsewhere.")
]
Steps = Annotated[
    int | None, typer.Option("--steps", "-T", help="T for a NIR file from elsewhere.")
]
ResetName = Annotated[
    str | None, typer.Option("--reset", help="`zero` or `subtract`, for a NIR file from elsewhere.")
]
Strict = Annotated[
    bool | None,
    typer.Option(
        "--strict/--no-strict",
        help="For a NIR file from another tool: neurons fire if v > threshold, as NIR documents, "
        "or also if v equals it (--no-strict).",
    ),
]
RecipeName = Annotated[
    str, typer.Argument(help="Name of a recipe that comes with Spikeport, or a .toml file.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value: training.steps=2."),
]
EnergyPrices = Annotated[
    str | None,
    typer.Option("--energy-profile", help="Whose prices: a built-in name, or a .toml file."),
]
Lines = Annotated[bool, typer.Option("--lines", help="Print a line per epoch on standard error.")]
Start = Annotated[
    Path | None,
    typer.Option("--from", metavar="CHECKPOINT", help="Start from the weights of this one."),
]
Teacher = Annotated[
    Path | None,
    typer.Option(
        "--teacher", metavar="CHECKPOINT", help="Whose answers `distillation` means; else --from."
    ),
]
WeightBits = Annotated[int, typer.Option("--bits", help="Bits per weight when quantizing, 2 to 8.")]
ChipBits = Annotated[
    int | None,
    typer.Option(
        "--bits", help="Train the --from network on in chip arithmetic, 2 to 8 bits per weight."
    ),
]
Count = Annotated[
    int | None, typer.Option("--samples", "-n", min=1, help="Use the first N test samples.")
]

Clip = Annotated[
    bool, typer.Option("--clip", help="Clip values beyond the range that the network declares.")
]


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a NIR file from elsewhere does not say; None where not given."""

    dt_s: float | None = None
    steps: int | None = None
    reset: str | None = None
    strict: bool | None = None

    def given(self) -> dict[str, Any]:
        """The arguments of `read_nir` that were given."""
        facts: dict[str, Any] = {"dt_s": self.dt_s, "steps": self.steps, "strict": self.strict}
        if self.reset is not None:
            facts["reset"] = choice("--reset", Reset, self.reset)
        return {name: value for name, value in facts.items() if value is not None}


CHIP, NIR, CHECKPOINT = (".spikeport",), (".nir",), (".safetensors",)
PAGE, TRACE = (".html", ".htm"), (".h5", ".hdf5")
"""Suffixes of each kind of output."""


def check_out(option: str, out: Path, suffixes: Iterable[str], *inputs: str | Path | None) -> None:
    """Refuse an output before anything is computed for it: see `files.check_output`.

    Args:
        inputs: every file that the verb reads; names that are not files are ignored.
    """
    try:
        check_output(out, suffixes=suffixes, inputs=[name for name in inputs if name is not None])
    except InputError as error:
        raise InputError(f"{option} {error}") from None


def check_out_folder(folder: Path, names: Iterable[str], *inputs: str | Path | None) -> None:
    """As `check_out`, for output files with these names in `folder`."""
    if folder.is_dir():
        for name in names:
            check_out("--out", folder / name, (), *inputs)


def open_network(path: Path, foreign: Foreign | None = None) -> DeployedNetwork | FloatNetwork:
    """A network from a .spikeport, .nir or checkpoint (.safetensors) file, told by its suffix."""
    match path.suffix:
        case ".spikeport":
            from spikeport.network import load_network

            return load_network(path)
        case ".nir":
            from spikeport.export.nir import read_nir

            return read_nir(path, **(foreign or Foreign()).given())
        case ".safetensors":
            from spikeport.export.float_graph import export_float
            from spikeport.trainer.chip import QATNetwork
            from spikeport.trainer.description import as_trained_model
            from spikeport.trainer.loop import load_checkpoint

            model = load_checkpoint(path).model
            if isinstance(model, QATNetwork):
                return model.deployed()
            return export_float(as_trained_model(model))
        case suffix:
            raise InputError(f"{path}: suffix '{suffix}', must be .spikeport, .nir or .safetensors")


def open_deployed(path: Path) -> DeployedNetwork:
    """As `open_network`, refusing a float graph."""
    network = open_network(path)
    if not isinstance(network, DeployedNetwork):
        raise InputError(f"{path}: is a float graph; `spikeport quantize` makes it a chip network")
    return network


def open_data(name: str, steps: int, changes: Sequence[str] | None = None) -> Dataset:
    """A data set by name or path, or as a recipe (.toml) describes it.

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
            raise InputError(f"--set {key}: must be a data setting, such as data.full_scale=16")
    options = {key.removeprefix("data."): value for key, value in asked.items()}
    return load_dataset(name, steps, **options)


def data_for(
    network: DeployedNetwork | FloatNetwork,
    name: str,
    changes: Sequence[str] | None,
    *,
    labels_used: bool = True,
) -> Dataset:
    """As `open_data`, and compare its classes with the network's outputs (`check_classes`)."""
    data = open_data(name, network.steps, changes)
    subject = f"data set '{data.name}'"
    check_classes(subject, data.classes, output_count(network), labels_used=labels_used)
    return data


def chip_samples(
    network: DeployedNetwork, data: Dataset, count: int | None = None, clip: bool = False
) -> SampleSet:
    """The first test samples, encoded as integers for the network."""
    _compare_ranges(network.inputs, data)
    return encode_samples(
        network.inputs, network.steps, data.test_x[:count], static=True, clip=clip
    )


def float_samples(
    network: FloatNetwork, data: Dataset, count: int | None = None, clip: bool = False
) -> SampleSet:
    """The first test samples in float units, checked against the network's inputs."""
    _compare_ranges(network.inputs, data)
    return check_float_samples(
        network.inputs, network.steps, data.test_x[:count], static=True, clip=clip
    )


def declared(network: FloatNetwork, data: Dataset) -> FloatNetwork:
    """The network, with the data set's input (and a warning) if its own was not declared."""
    if not network.inputs_assumed or len(network.inputs) != 1:
        _compare_ranges(network.inputs, data)
        return network
    (own,) = network.inputs
    taken = replace(data.input, name=own.name, shape=own.shape)
    if taken != own:
        _log.warning(
            "input '%s': the file does not declare its values; assumed to be those of data set "
            "'%s', %s values of %g..%g (integers %d..%d)",
            own.name, data.name, taken.coding, *float_range(taken), taken.low, taken.high,
        )  # fmt: skip
    return replace(network, inputs=(taken,), inputs_assumed=False)


def input_facts(samples: SampleSet) -> dict[str, str]:
    """What encoding changed in the samples, as rows of a table; empty for nothing."""
    changed = [change for change in samples.changes if change.clipped or change.rounded]
    return {f"input_{change.input}": str(change) for change in changed}


def _compare_ranges(inputs: Sequence[Input], data: Dataset) -> None:
    """Warn if the data set and the network's input declare different ranges of values."""
    if len(inputs) == 1 and not same_range(inputs[0], data.input):
        ranges = [f"{low:g}..{high:g}" for low, high in map(float_range, (inputs[0], data.input))]
        _log.warning(
            "input '%s': declares values of %s, data set '%s' has %s; was the network made for "
            "other data, or with other levels, mean and std (give its recipe as --data)?",
            inputs[0].name, ranges[0], data.name, ranges[1],
        )  # fmt: skip


def numbers(option: str, text: str) -> tuple[int, ...]:
    """The integers of an option like 24,48."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option} is '{text}', must be integers joined by commas") from None


def emit(as_json: bool, data: Mapping[str, Any], *parts: Renderable) -> None:
    """Print the result: JSON on one stream for programs, tables for people."""
    if as_json:
        typer.echo(json.dumps(data, indent=2))
    else:
        show(*parts)


def echo_json(path: Path) -> None:
    """Print a JSON file that was just written."""
    typer.echo(path.read_text("utf-8"), nl=False)


def show(*parts: Renderable) -> None:
    """Print tables and lines for people."""
    from spikeport.report import screen

    screen.show(*parts)


def progress(text: str) -> AbstractContextManager[Callable[[str, int, int], None]]:
    """A progress bar on standard error, on terminals only; gives `update(text, done, total)`."""
    from spikeport.report import screen

    return screen.progress(text)
