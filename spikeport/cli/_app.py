"""The typer application and its verbs, each imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

from spikeport.text import one_line

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""The base class of typer's usage errors, which typer does not export."""
STYLE: dict[str, Any] = {
    "rich_markup_mode": None,  # so that help shows `out:v:0` and [...] literally
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 100},
}
"""Settings of the application and of each verb."""


class Verb(NamedTuple):
    """A verb of the command line.

    Attributes:
        place: module in this package and function, "module:function".
        summary: the first paragraph of the function's docstring, which the list of verbs shows
            without importing the function.
    """

    place: str
    summary: str

    def function(self) -> Callable[..., None]:
        """Import the verb's function."""
        module, _, name = self.place.partition(":")
        found: Callable[..., None] = getattr(
            importlib.import_module(f"{__package__}.{module}"), name
        )
        return found


VERBS = {
    "demo": Verb(
        "_demo:demo",
        "Train on digits, quantize, exchange as NIR, run everywhere, compare and price.",
    ),
    "train": Verb(
        "_make:train",
        "Train a spiking network by rate-based backpropagation; write a checkpoint.",
    ),
    "convert": Verb(
        "_convert:convert",
        "Convert a trained ANN to a spiking network; write its checkpoint.",
    ),
    "front": Verb(
        "_front:front",
        "Train one network per energy budget and plot accuracy against energy.",
    ),
    "diagnose": Verb(
        "_diagnose:diagnose",
        "Measure firing, gradients versus BPTT, independence and the time-shuffle test.",
    ),
    "quantize": Verb(
        "_make:quantize",
        "Quantize a float network to chip integers; write a .spikeport file.",
    ),
    "export": Verb(
        "_make:export",
        "Write a network as NIR (.nir) or, if it has chip integers, as .spikeport or .net (netx).",
    ),
    "run": Verb(
        "_run:run",
        "Run a network on a backend over test samples; show accuracy, spikes and events.",
    ),
    "compare": Verb(
        "_judge:compare",
        "Compare backends on a deployed network: all spikes, scores and counts must be equal.",
    ),
    "ladder": Verb(
        "_ladder:ladder",
        "Take a network through all stages up to Lava and compare them one by one.",
    ),
    "report": Verb(
        "_report:report",
        "Render the report of a ladder again, from its stored results; nothing is run.",
    ),
    "check": Verb(
        "_check:check",
        "List every limit of each target that a network exceeds, with its value and what to do.",
    ),
    "map": Verb(
        "_map:map_",
        "Map a deployed network onto the cores of a chip: how many, how full, how far spikes "
        "travel.",
    ),
    "energy": Verb(
        "_judge:energy",
        "Estimate energy and latency from event counts: low, nominal and high.",
    ),
    "inspect": Verb(
        "_show:inspect",
        "Show the contents of a network file, and what other readers of NIR make of it.",
    ),
    "backends": Verb(
        "_show:backends",
        "List backends, how to fix missing ones, and features that targets do not support.",
    ),
    "doctor": Verb(
        "_doctor:doctor",
        "Check the installation, and print what to paste into a bug report.",
    ),
}


class _Commands(Mapping[str, Any]):
    """The command of each verb, made when it is looked up."""

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)

    def __getitem__(self, name: str) -> Any:
        return _command(name)


@cache
def _command(name: str) -> Any:
    single = typer.Typer(add_completion=False, **STYLE)
    single.command(name)(VERBS[name].function())
    return get_command(single)


class _Verbs(TyperGroup):
    """The verbs, with usage errors printed as plain text on one line."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands: Any = _Commands()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except USAGE_ERROR as error:
            error.message = one_line(error.message)
            raise


app = typer.Typer(name="spikeport", cls=_Verbs, no_args_is_help=True, **STYLE)


def _version(wanted: bool) -> None:
    if wanted:
        from spikeport.version import __version__

        typer.echo(f"spikeport {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train a spiking network, quantize it, exchange it as NIR, run it exactly, price it."""
